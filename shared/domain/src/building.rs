//! Building: from a changed definition of a dynamic group to all of its members.
//!
//! Each change of a definition makes a new version of all of them. A sweep then
//! asks every device again, shard by shard of the registry's listing, while
//! events go on. That a definition is ACTIVE is in no row: it follows from the
//! version of its own last change and the version of the last sweep that came to
//! its end, both read together. So none is shown as complete before it is,
//! wherever a sweep breaks off, and one that was changed again meanwhile waits
//! for the sweep of its newest version.
//!
//! | row | what |
//! | --- | --- |
//! | `DEFINITIONS / VERSION` | the newest version, and the one that was swept last ([`DefinitionsVersion`]) |
//! | `DEFINITIONS / SWEEP#NN` | how far the sweep is in one shard ([`ShardRow`]) |
//! | `DEFINITIONS / REMOVED#group` | a group whose members are leaving ([`RemovedRow`]) |

use serde::{Deserialize, Serialize};

use crate::catalog::{DefinitionRow, DefinitionStatus};
use crate::device::{LISTING_SHARDS, listing_shard};
use crate::listing::Read;
use crate::membership::DefinitionsVersion;
use crate::names::{GroupName, ThingName};
use crate::time::Moment;

mod asked;
mod change;
mod trial;

pub use asked::{PutQuery, read_definition, refuse_owned};
pub use change::{Change, ChangeQuery, ChangeRow, KEPT_SECONDS};
pub use trial::{Movers, Others, Trial, TrialView};

/// How many devices a sweep reads at once.
const PAGE: usize = 100;
/// An execution that has written nothing for so long has ended.
const SILENT_MILLIS: u64 = 15 * 60 * 1000;
/// As far as one is shown that has not ended.
const ALMOST: u64 = 99;

/// `DEFINITIONS / SWEEP#NN`: how far a sweep has come in one shard of the
/// listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardRow {
    /// The version of the definitions that devices are asked about.
    pub version: u64,
    /// The shard.
    pub shard: u32,
    /// How many devices the shard had when the sweep began.
    pub devices: u64,
    /// How many of them have been asked.
    pub asked: u64,
    /// The last of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ThingName>,
    /// Whether all have been.
    pub ended: bool,
    /// When this was last written.
    pub at: Moment,
}

/// `DEFINITIONS / REMOVED#group`: its counts are to go once its members have
/// left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemovedRow {
    /// The group.
    pub group: GroupName,
    /// The version of the definitions that it is not in any more.
    pub since: u64,
}

impl ShardRow {
    /// A shard before its first page.
    pub fn new(version: u64, shard: u32, devices: u64, now: Moment) -> Self {
        Self {
            version,
            shard,
            devices,
            asked: 0,
            after: None,
            ended: false,
            at: now,
        }
    }

    /// What to read next of the listing; nothing once it has ended.
    pub fn next_read(&self) -> Option<Read> {
        (!self.ended).then(|| Read {
            shard: listing_shard(self.shard),
            after: self.after.clone(),
            limit: PAGE,
        })
    }

    /// The row once these, read in order, have been asked; `more` is whether the
    /// shard has more.
    #[must_use]
    pub fn after_page(&self, page: &[ThingName], more: bool, now: Moment) -> Self {
        Self {
            asked: self.asked + u64::try_from(page.len()).unwrap_or_default(),
            after: page.last().or(self.after.as_ref()).cloned(),
            ended: !more,
            at: now,
            ..self.clone()
        }
    }
}

/// What a sweep does first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// Nothing: a sweep of this version, or a later one, has ended.
    Swept,
    /// Nothing: there is a newer version, whose sweep asks all devices too.
    Superseded,
    /// Nothing: somebody is at it.
    UnderWay,
    /// To go on where an earlier execution broke off.
    Sweep {
        /// The version.
        version: u64,
        /// The shards of which nothing has been done; they are counted first.
        fresh: Vec<u32>,
        /// Those with devices left to ask; the fresh ones are among them.
        open: Vec<u32>,
    },
}

/// Decides what a sweep does first, by the rows that earlier ones left. One that
/// is of no certain version looks for a start that was lost, or came to nothing.
pub fn begin(
    sweep: Option<u64>,
    versions: DefinitionsVersion,
    rows: &[ShardRow],
    now: Moment,
) -> Beginning {
    let version = sweep.unwrap_or(versions.version);
    if versions.swept >= version {
        return Beginning::Swept;
    }
    if versions.version > version {
        return Beginning::Superseded;
    }
    let of_it = || rows.iter().filter(|row| row.version == version);
    if sweep.is_none() && of_it().any(|row| row.at.until(now) < SILENT_MILLIS) {
        return Beginning::UnderWay;
    }
    let (mut fresh, mut open) = (Vec::new(), Vec::new());
    for shard in 0..LISTING_SHARDS {
        match of_it().find(|row| row.shard == shard) {
            Some(row) if row.ended => {}
            Some(_) => open.push(shard),
            None => {
                fresh.push(shard);
                open.push(shard);
            }
        }
    }
    Beginning::Sweep {
        version,
        fresh,
        open,
    }
}

/// Whether a sweep has asked every device.
pub fn is_complete(sweep: u64, rows: &[ShardRow]) -> bool {
    (0..LISTING_SHARDS).all(|shard| {
        let mut of_it = rows.iter().filter(|row| row.shard == shard);
        of_it.any(|row| row.version == sweep && row.ended)
    })
}

/// How far the newest version's sweep has come, in percent. 100 is never shown:
/// then the group is ACTIVE.
pub fn percent(versions: DefinitionsVersion, rows: &[ShardRow]) -> u64 {
    let of_it = || rows.iter().filter(|row| row.version == versions.version);
    let devices: u64 = of_it().map(|row| row.devices).sum();
    let asked: u64 = of_it().map(|row| row.asked.min(row.devices)).sum();
    (asked * 100)
        .checked_div(devices)
        .unwrap_or_default()
        .min(ALMOST)
}

/// Whether all members of a group are known. One that asks for other dynamic
/// groups waits for whatever sweep is open, since its members hang on theirs.
pub fn standing(row: &DefinitionRow, versions: DefinitionsVersion) -> DefinitionStatus {
    let wanted = if row.definition.nests() {
        versions.version
    } else {
        row.since
    };
    if versions.swept >= wanted {
        DefinitionStatus::Active
    } else {
        DefinitionStatus::Building
    }
}

/// Where a group stands, as callers see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Whether all of its members are known.
    pub status: DefinitionStatus,
    /// How far it has come, in percent, while they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<u64>,
}

impl Standing {
    /// This status, with how far the newest sweep has come.
    pub fn new(status: DefinitionStatus, versions: DefinitionsVersion, rows: &[ShardRow]) -> Self {
        let is_building = status == DefinitionStatus::Building;
        Self {
            status,
            progress: is_building.then(|| percent(versions, rows)),
        }
    }
}

/// The status that holds for all that was read between two looks.
pub fn throughout(
    before: (&DefinitionRow, DefinitionsVersion),
    after: Option<(&DefinitionRow, DefinitionsVersion)>,
) -> DefinitionStatus {
    let still = after.is_some_and(|(row, versions)| {
        row.since == before.0.since && standing(row, versions) == DefinitionStatus::Active
    });
    if still {
        standing(before.0, before.1)
    } else {
        DefinitionStatus::Building
    }
}

#[cfg(test)]
mod tests;
