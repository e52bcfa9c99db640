//! Versions of a policy, of which AWS keeps five: four for catalogs, and one to
//! stop every device by.

use serde_json::Value;

use crate::stop::{self, MOST_VERSIONS, Versions};

/// How a document becomes a policy's default version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextVersion {
    /// It is.
    Default,
    /// A version has it, and has to be made the default.
    There(String),
    /// A version has to be made, and these deleted first to make room.
    Missing {
        /// The ones to delete, the oldest first.
        prune: Vec<String>,
    },
}

/// Decides by a policy's versions. The oldest make room, but neither the
/// default nor the version that is reserved for a mass stop; as long as there is
/// none, its place is kept free, so that the policy can be stopped at any time.
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
    let stop = stop::document();
    let (stopping, others): (Vec<_>, Vec<_>) = ids
        .into_iter()
        .partition(|id| versions.documents[*id] == stop);
    let places = MOST_VERSIONS - stopping.len().max(1);
    let too_many = (others.len() + 1).saturating_sub(places);
    let prune = others.into_iter().filter(|id| **id != versions.default);
    NextVersion::Missing {
        prune: prune.take(too_many).cloned().collect(),
    }
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
    fn the_oldest_make_room_and_never_the_one_that_stops() {
        let missing = |prune: &[&str]| NextVersion::Missing {
            prune: prune.iter().map(ToString::to_string).collect(),
        };
        check("1", &[("1", "new")], NextVersion::Default);
        check(
            "2",
            &[("1", "new"), ("2", "b")],
            NextVersion::There("1".into()),
        );
        check("1", &[("1", "a")], missing(&[]));
        let four = [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d")];
        check("3", &four[..3], missing(&[]));
        // The fifth place is the stop's, be it there or not.
        check("4", &four, missing(&["1"]));
        check("1", &four, missing(&["2"]));
        let five = [("1", "a"), ("2", "b"), ("3", "c"), ("4", "d"), ("5", "e")];
        check("5", &five, missing(&["1", "2"]));
        check("1", &five, missing(&["2", "3"]));
        let stops = [
            ("8", "!"),
            ("9", "b"),
            ("10", "c"),
            ("11", "d"),
            ("12", "e"),
        ];
        check("9", &stops, missing(&["10"]));
        check("12", &stops, missing(&["9"]));
        check("12", &stops[..4], missing(&[]));
        // Stopped by hand: what stops is the default, and stays.
        check("8", &stops, missing(&["9"]));
    }
}
