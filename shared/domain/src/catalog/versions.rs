//! Versions of a policy, of which AWS keeps five.

use serde_json::Value;

use crate::stop::{self, MOST_VERSIONS, Versions};

/// How a document becomes a policy's default version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextVersion {
    /// It is.
    Default,
    /// A version has it, and has to be made the default.
    There(String),
    /// A version has to be made, and this one deleted first to make room.
    Missing {
        /// The one to delete.
        prune: Option<String>,
    },
}

/// Decides by a policy's versions. The oldest makes room, but neither the
/// default nor the version that is reserved for a mass stop.
pub fn next_version(document: &Value, versions: &Versions) -> NextVersion {
    let of_default = versions.documents.get(&versions.default);
    if of_default == Some(document) {
        return NextVersion::Default;
    }
    let mut ids: Vec<_> = versions.documents.keys().collect();
    ids.sort_by_key(|id| id.parse::<u64>().unwrap_or(u64::MAX));
    if let Some(id) = ids
        .iter()
        .rev()
        .find(|id| versions.documents[**id] == *document)
    {
        return NextVersion::There((*id).clone());
    }
    let reserved = stop::document();
    let prune = (ids.len() >= MOST_VERSIONS)
        .then(|| {
            ids.into_iter()
                .find(|id| **id != versions.default && versions.documents[*id] != reserved)
                .cloned()
        })
        .flatten();
    NextVersion::Missing { prune }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// Versions by id, each with a letter for its document; `!` denies everything.
    fn check(default: &str, documents: &[(&str, &str)], wanted: NextVersion) {
        let document = |letter: &str| match letter {
            "!" => stop::document(),
            letter => json!(letter),
        };
        let versions = Versions {
            default: default.to_owned(),
            documents: documents
                .iter()
                .map(|(id, letter)| ((*id).to_owned(), document(letter)))
                .collect(),
        };
        assert_eq!(
            next_version(&json!("new"), &versions),
            wanted,
            "{documents:?}"
        );
    }

    #[test]
    fn the_oldest_makes_room_and_never_the_one_that_stops() {
        let missing = |prune: Option<&str>| NextVersion::Missing {
            prune: prune.map(str::to_owned),
        };
        check("1", &[("1", "new")], NextVersion::Default);
        check(
            "2",
            &[("1", "new"), ("2", "b")],
            NextVersion::There("1".into()),
        );
        check("1", &[("1", "a")], missing(None));
        let five = [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"), ("5", "e")];
        check("5", &five, missing(Some("1")));
        check("1", &five, missing(Some("2")));
        let stops = [
            ("8", "!"),
            ("9", "b"),
            ("10", "c"),
            ("11", "d"),
            ("12", "e"),
        ];
        check("9", &stops, missing(Some("10")));
        check("12", &stops, missing(Some("9")));
    }
}
