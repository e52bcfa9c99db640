//! Definitions of dynamic groups, as the catalog declares them.

use serde::{Deserialize, Serialize};

use super::advice::Warning;
use super::seen::GroupSeen;
use crate::failure::{Failure, Kind};
use crate::group::{Language, Parsed, Query, QueryError};
use crate::names::{CatalogName, GroupName, JobTemplateName};

/// A dynamic group: a query, and what follows from being found by it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Definition {
    /// Its name.
    pub name: GroupName,
    /// What it is for.
    #[serde(default)]
    pub description: String,
    /// Which devices are in it, in the language of fleet indexing.
    pub query: String,
    /// What AWS holds of it.
    #[serde(default)]
    pub materialize: Materialize,
    /// What follows when a device enters.
    #[serde(default)]
    pub on_enter: OnEnter,
    /// The dynamic group that its members have to be in too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<GroupName>,
    /// Whether the query may compare versions, which AWS's own cannot.
    #[serde(default)]
    pub semver: bool,
}

/// What AWS holds of a dynamic group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Materialize {
    /// Nothing.
    #[default]
    None,
    /// A static group with the same members.
    Static,
    /// AWS's own dynamic group with the same query.
    Native,
}

/// What follows when a device enters a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OnEnter {
    /// The job that it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobTemplateName>,
}

/// Whether a definition's members are all known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DefinitionStatus {
    /// Not every device has been asked yet.
    #[default]
    Building,
    /// They are.
    Active,
}

/// `DEFINITIONS / GROUP#name`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionRow {
    /// The definition.
    pub definition: Definition,
    /// Counts the changes of this one definition, from 1.
    pub revision: u64,
    /// The version of all definitions that began with its last change. Whether
    /// its members are all known follows from that
    /// ([`standing`](crate::building::standing)).
    #[serde(default)]
    pub since: u64,
}

impl Definition {
    /// Reads its query.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parsed(&self) -> Result<Parsed, QueryError> {
        let language = if self.semver {
            Language::Extended
        } else {
            Language::Aws
        };
        Query::parse(&self.query, language)
    }

    /// How AWS's group of it is described, and known again.
    pub fn group_description(&self) -> String {
        format!("Members of the dynamic group {} of Lamplighter", self.name)
    }

    /// Refuses a group of AWS's that has its name and is not its own. `before` is
    /// the definition that AWS's group stands for by now, `maker` the other
    /// catalog that made the group.
    ///
    /// # Errors
    /// `Conflict`.
    pub fn admit_group(
        &self,
        before: Option<&Self>,
        found: &GroupSeen,
        maker: Option<&CatalogName>,
    ) -> Result<(), Failure> {
        // What stood for it until now goes first, and leaves the name free.
        let was = before.map_or(Materialize::None, |before| before.materialize);
        let stands_for = match was {
            Materialize::None => self.materialize,
            was => was,
        };
        let native = stands_for == Materialize::Native;
        if found.dynamic == native && found.description == self.group_description() {
            return Ok(());
        }
        let name = &self.name;
        let (reason, remedy) = match maker {
            Some(maker) => (
                format!("the catalog {maker} made another group {name}"),
                "Choose another name, or remove the group from that catalog.",
            ),
            None => (
                format!("AWS IoT has another group {name}"),
                "Choose another name, or remove the group first.",
            ),
        };
        Err(Failure::conflict("name", reason, remedy))
    }

    /// Whether who is in it hangs on who is in other dynamic groups.
    pub fn nests(&self) -> bool {
        self.parent.is_some() || self.parsed().is_ok_and(|parsed| parsed.query.nests())
    }
}

/// Reads a definition's query; `path` leads to it. What it may not mean is
/// told.
pub(super) fn check_query(path: &str, definition: &Definition) -> Result<Vec<Warning>, Failure> {
    let parsed = definition.parsed();
    let parsed = parsed.map_err(|error| error.into_failure(path))?;
    let warnings = parsed.warnings.into_iter().map(|warning| Warning {
        field: path.to_owned(),
        text: warning.to_string(),
    });
    Ok(warnings.collect())
}

/// What it means when AWS refuses a dynamic group of its own: the query has been
/// checked, so what is missing is most likely the index that it is asked of.
pub fn native_refused(failure: Failure) -> Failure {
    if failure.kind != Kind::Invalid {
        return failure;
    }
    let remedy = "AWS's own dynamic groups need fleet indexing: turn it on in AWS IoT (aws iot \
                  update-indexing-configuration) for all that the query names, or materialise the \
                  group as static.";
    Failure {
        remedy: remedy.to_owned(),
        ..failure
    }
    .field("materialize")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn definition(materialize: &str) -> Definition {
        let fields = json!({"name": "old", "query": "x:1", "materialize": materialize});
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn a_group_of_its_name_has_to_be_its_own() {
        let own = definition("none").group_description();
        for (was, materialize, dynamic, description, admitted) in [
            // Cut off after the group was made, before the definition was written.
            ("none", "static", false, own.as_str(), true),
            ("none", "native", true, &own, true),
            ("none", "static", false, "somebody's", false),
            ("none", "native", false, &own, false),
            ("none", "static", true, &own, false),
            ("static", "native", false, &own, true),
            ("native", "static", true, &own, true),
            ("static", "native", false, "somebody's", false),
        ] {
            let found = GroupSeen {
                dynamic,
                description: description.to_owned(),
                ..GroupSeen::default()
            };
            let other = CatalogName::parse("street-lights").unwrap();
            for (maker, says) in [(None, "AWS IoT has"), (Some(&other), "street-lights made")] {
                let before = definition(was);
                let found = definition(materialize).admit_group(Some(&before), &found, maker);
                assert_eq!(found.is_ok(), admitted, "{was} {materialize} {dynamic}");
                if let Err(refused) = found {
                    assert!(refused.reason.contains(says), "{refused}");
                }
            }
        }
    }

    #[test]
    fn what_aws_refuses_of_its_own_groups_has_a_remedy() {
        for (failure, told) in [
            (
                Failure::invalid("", "AWS refused the request", "See the log."),
                true,
            ),
            (Failure::busy("throttled", 1), false),
            (Failure::conflict("", "it is there", "Look."), false),
        ] {
            let kind = failure.kind;
            let failure = native_refused(failure);
            assert_eq!(failure.remedy.contains("fleet indexing"), told, "{failure}");
            assert_eq!(failure.kind, kind);
        }
    }
}
