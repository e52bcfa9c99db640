//! Mass stop: every device under a shared policy stopped by one switch.
//!
//! A policy keeps one version that denies everything, reserved for this. Making
//! it the default stops all devices whose groups share the policy; making the
//! earlier version the default again lets them go on. While it is stopped a lock
//! keeps the catalog off the policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::names::PolicyName;
use crate::time::Moment;

/// A policy has at most this many versions ("AWS IoT Core endpoints and
/// quotas").
pub const MOST_VERSIONS: usize = 5;
/// The longest reason, in characters.
const LONGEST_REASON: usize = 500;

/// What a caller asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Asked {
    /// Only show what would be stopped.
    #[serde(default)]
    pub dry_run: bool,
    /// Why, for whoever finds the lights dark.
    #[serde(default)]
    pub reason: String,
}

/// `POLICY#name / LOCK`: the incident that stopped a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lock {
    /// The policy.
    pub policy_name: PolicyName,
    /// Why it was stopped.
    pub reason: String,
    /// By whom: a caller's ARN.
    pub stopped_by: String,
    /// When.
    pub stopped_at: Moment,
    /// The version that denies everything.
    pub stop_version: String,
    /// The version that was the default, and will be again.
    pub resumes: String,
}

/// A policy's versions, as one look found them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The default one.
    pub default: String,
    /// The documents of all.
    pub documents: BTreeMap<String, Value>,
}

/// Where the version that stops comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It is there.
    Reserved(String),
    /// It is to be made, not as the default.
    Missing,
}

/// The document of the version that stops.
pub fn document() -> Value {
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Action": "iot:*", "Resource": "*"}],
    })
}

impl Asked {
    /// Reads a request's body.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let asked: Self = serde_json::from_slice(body).map_err(|error| {
            Failure::invalid(
                "body",
                format!("the body is not understood: {error}"),
                "Send JSON: {\"dryRun\": true} or {\"reason\": …}.",
            )
        })?;
        let length = asked.reason.trim().chars().count();
        if length > LONGEST_REASON || (length == 0 && !asked.dry_run) {
            return Err(Failure::invalid(
                "reason",
                format!("a stop needs a reason of 1 to {LONGEST_REASON} characters"),
                "Say in a sentence why every device under the policy is to stop.",
            ));
        }
        Ok(asked)
    }
}

/// Finds the version that stops, for a policy that nobody has stopped.
///
/// # Errors
/// `Conflict` if it is the default already, or there is no room for it.
pub fn source(policy: &PolicyName, versions: &Versions) -> Result<Source, Failure> {
    let stop = document();
    if versions.documents.get(&versions.default) == Some(&stop) {
        return Err(Failure::conflict(
            "policyName",
            format!("the policy {policy} denies everything already"),
            "Nothing here stopped it; make another version its default by hand.",
        ));
    }
    let reserved = versions.documents.iter().find(|(_, found)| **found == stop);
    match reserved {
        Some((version, _)) => Ok(Source::Reserved(version.clone())),
        None if versions.documents.len() < MOST_VERSIONS => Ok(Source::Missing),
        None => Err(Failure::conflict(
            "policyName",
            format!("the policy {policy} has {MOST_VERSIONS} versions, and none that stops"),
            "Delete a version that is not in use, and stop it again.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(default: &str, documents: &[(&str, bool)], wanted: Result<Source, ()>) {
        let versions = Versions {
            default: default.to_owned(),
            documents: documents
                .iter()
                .map(|(version, stops)| {
                    let document = if *stops { document() } else { json!({}) };
                    ((*version).to_owned(), document)
                })
                .collect(),
        };
        let found = source(&PolicyName::parse("lights").unwrap(), &versions);
        assert_eq!(found.map_err(drop), wanted, "{default} {documents:?}");
    }

    #[test]
    fn the_version_that_stops_is_kept_for_the_next_time() {
        let reserved = |version: &str| Ok(Source::Reserved(version.to_owned()));
        let five = |last| {
            [
                ("1", false),
                ("2", false),
                ("3", false),
                ("4", false),
                ("5", last),
            ]
        };
        check("1", &[("1", false)], Ok(Source::Missing));
        check("2", &[("1", false), ("2", false)], Ok(Source::Missing));
        check("1", &[("1", false), ("2", true)], reserved("2"));
        check("2", &[("1", false), ("2", true)], Err(()));
        check("1", &five(false), Err(()));
        check("1", &five(true), reserved("5"));
    }

    #[test]
    fn a_stop_needs_a_reason_and_a_look_at_it_none() {
        for (body, accepted) in [
            (r#"{"dryRun": true}"#, true),
            (r#"{"reason": "x"}"#, true),
            (r#"{"reason": " "}"#, false),
            ("{}", false),
            (r#"{"dryRun": "yes"}"#, false),
            ("", false),
        ] {
            assert_eq!(Asked::parse(body.as_bytes()).is_ok(), accepted, "{body}");
        }
    }
}
