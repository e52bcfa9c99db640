//! Membership of dynamic groups: what is stored of it, and what keeps it true.
//!
//! | row | what |
//! | --- | --- |
//! | `DEVICE#name / DOCUMENT` | what queries are asked about ([`DocumentRow`]) |
//! | `DEVICE#name / MEMBERSHIP` | the groups that the device is in ([`MembershipRow`]) |
//! | `GROUP#group#NN / MEMBER#name` | one member of a group ([`MemberRow`]), in one of 16 partitions |
//! | `GROUP#group#NN / COUNT` | how many members that partition has ([`CountRow`]) |
//! | `DEFINITIONS / GROUP#group` | a definition ([`DefinitionRow`](crate::catalog::DefinitionRow)) |
//! | `DEFINITIONS / VERSION` | counts the changes of all definitions |
//!
//! The membership is true of the document at every moment: both are written in
//! one transaction, on condition that the document is still the one that was
//! read, or the document alone if its groups are the same. So no crash leaves
//! anything untrue, and no order of writers lowers what is stored. Member rows,
//! counts and announcements follow from the membership's changes, in their
//! order, and may be derived twice (invariants 6 and 7).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::names::{GroupName, OperationId, ThingName};
use crate::time::Moment;

mod definitions;
mod document;
mod evaluate;
mod event;
mod listing;
mod presence;
mod step;
#[cfg(test)]
mod tests;

pub use definitions::Definitions;
pub use document::{DocumentRow, Observation, Shadow, Thing, Wanted};
pub use evaluate::{Evaluated, Moves, Stored, evaluate};
pub use event::{Event, Happened, Lifecycle, Message, ShadowEvent, ThingEvent};
pub use listing::{GroupView, NameQuery, no_group};
pub use presence::Presence;
pub use step::{Step, steps};

/// Over how many partitions the members of a group are spread.
pub const MEMBER_SHARDS: u32 = 16;

/// The partition of a group's members that a device is in; the same for ever.
pub fn member_shard(thing: &ThingName) -> u32 {
    crate::device::number_of(thing) % MEMBER_SHARDS
}

/// `DEVICE#name / MEMBERSHIP`: the dynamic groups that a device is in. Written
/// when they change, and when the device's document begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MembershipRow {
    /// The device.
    pub thing_name: ThingName,
    /// The creation that the device stems from.
    pub generation: OperationId,
    /// The version of the document that these groups were found by.
    pub document_version: u64,
    /// The version of the definitions that they were found by. What the
    /// document's row says of it is higher, if they were found again since.
    pub definitions_version: u64,
    /// When these groups were found, so that what was left since then has its
    /// moment; never before an earlier row's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    /// The groups, each with when it was entered.
    #[serde(default)]
    pub groups: BTreeMap<GroupName, Moment>,
    /// Of these, the ones whose static group in AWS has no room for the device:
    /// it is in as many as it may be in.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub saturated: BTreeSet<GroupName>,
}

/// `GROUP#group#NN / MEMBER#name`: one member of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberRow {
    /// The member.
    pub thing_name: ThingName,
    /// The group.
    pub group_name: GroupName,
    /// When it entered.
    pub entered_at: Moment,
}

/// `GROUP#group#NN / COUNT`: how many members one partition of a group has. It
/// changes in one transaction with each of their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CountRow {
    /// The members.
    pub members: u64,
}

/// `DEFINITIONS / VERSION`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DefinitionsVersion {
    /// Counts the changes of all definitions.
    pub version: u64,
    /// The version under which every device was asked last.
    #[serde(default)]
    pub swept: u64,
}
