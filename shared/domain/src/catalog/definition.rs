//! Definitions of dynamic groups, as the catalog declares them.

use serde::{Deserialize, Serialize};

use super::advice::Warning;
use crate::failure::Failure;
use crate::group::{Language, Parsed, Query, QueryError};
use crate::names::{GroupName, JobTemplateName};

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
