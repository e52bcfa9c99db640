//! What a change of a membership row says: groups entered, and groups left.

use serde::Serialize;

use super::MembershipRow;
use crate::csr::sha256_hex;
use crate::names::{GroupName, JobTemplateName, ThingName};
use crate::time::Moment;

/// One group entered or left by one device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The same each time this one step is announced, and no other's.
    pub id: String,
    /// The device.
    pub thing_name: ThingName,
    /// The group.
    pub group: GroupName,
    /// When.
    pub at: Moment,
    /// The version of the device's document that decided, or the next one if the
    /// device was deleted: it grows from change to change of one device.
    pub document_version: u64,
    /// The version of the definitions that decided.
    pub definitions_version: u64,
    /// The template of the job that follows from entering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<JobTemplateName>,
    /// Whether it was entered.
    #[serde(skip)]
    pub entered: bool,
}

/// The steps from one membership to the next, those that leave first. A row that
/// goes leaves all of its groups. `heard` is when the stream says that the row
/// changed: to the second, so it counts only where the row says nothing.
pub fn steps(
    before: Option<&MembershipRow>,
    after: Option<&MembershipRow>,
    heard: Moment,
) -> Vec<Step> {
    let groups = |row: Option<&MembershipRow>| row.map(|row| row.groups.clone());
    let (old, new) = (
        groups(before).unwrap_or_default(),
        groups(after).unwrap_or_default(),
    );
    let Some(row) = after.or(before) else {
        return Vec::new();
    };
    let found = after.and_then(|row| row.at);
    let last = before.and_then(|row| row.at.max(row.groups.values().max().copied()));
    let at = found.unwrap_or(heard).max(last.unwrap_or_default());
    // A row that goes has no version of its own.
    let version = row.document_version + u64::from(after.is_none());
    let step = |group: &GroupName, at: Moment, entered: bool| {
        let what = if entered { "entered" } else { "left" };
        let key = [
            row.thing_name.as_str(),
            row.generation.as_str(),
            &version.to_string(),
            &row.definitions_version.to_string(),
            group.as_str(),
            what,
        ]
        .join("\0");
        Step {
            id: sha256_hex(key.as_bytes())[..32].to_owned(),
            thing_name: row.thing_name.clone(),
            group: group.clone(),
            at,
            document_version: version,
            definitions_version: row.definitions_version,
            job: None,
            entered,
        }
    };
    let left = old.keys().filter(|group| !new.contains_key(group));
    let entered = new.iter().filter(|(group, _)| !old.contains_key(group));
    left.map(|group| step(group, at, false))
        .chain(entered.map(|(group, since)| step(group, *since, true)))
        .collect()
}
