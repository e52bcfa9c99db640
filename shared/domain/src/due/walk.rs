//! The walk over the due index: day after day, the oldest first, each day's
//! shards one after the other, within a shard by due time.
//!
//! What is due is thus read in the order of its days. Every row is passed
//! once, and a place in the walk can be kept and gone on from.

use serde::{Deserialize, Serialize};

use crate::device::Issuer;
use crate::due::{SHARDS, shard};
use crate::names::{CertificateId, ThingName};
use crate::time::{Day, Moment};

/// One row of the index. The index lags behind the table, so that a decision
/// reads the table's rows first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// Whose certificate.
    pub thing_name: ThingName,
    /// Which.
    pub certificate_id: CertificateId,
    /// What issued it.
    pub issuer: Issuer,
    /// Since when, or from when on, it is due.
    pub due_at: Moment,
    /// When it ends.
    pub not_after: Moment,
}

/// One read of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where.
    pub position: Position,
    /// Only what is due by then.
    pub until: Moment,
    /// How many rows at most.
    pub limit: usize,
}

/// A row passed by: the place after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The row's thing.
    #[serde(rename = "n")]
    pub thing_name: ThingName,
    /// The row's certificate.
    #[serde(rename = "c")]
    pub certificate_id: CertificateId,
    /// The row's due time.
    #[serde(rename = "t")]
    pub due_at: Moment,
}

/// A place in the walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The day.
    #[serde(rename = "d")]
    pub day: Day,
    /// The shard of that day.
    #[serde(rename = "s")]
    pub shard: u32,
    /// The last row passed in that shard.
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Mark>,
}

impl Position {
    /// Where a day begins.
    pub const fn start_of(day: Day) -> Self {
        Self {
            day,
            shard: 0,
            after: None,
        }
    }

    /// The index's partition to read here.
    pub fn partition(&self) -> String {
        shard(self.day, self.shard)
    }

    /// Goes behind a row of this partition.
    pub fn pass(&mut self, row: &Row) {
        self.after = Some(Mark {
            thing_name: row.thing_name.clone(),
            certificate_id: row.certificate_id.clone(),
            due_at: row.due_at,
        });
    }

    /// Goes to the next partition.
    pub fn leave_partition(&mut self) {
        self.after = None;
        self.shard += 1;
        if self.shard >= SHARDS {
            *self = Self::start_of(self.day.plus(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shard_of_every_day_in_order() {
        let mut position = Position::start_of(Day::parse("2028-02-28").unwrap());
        let mut seen = Vec::new();
        for _ in 0..3 * SHARDS {
            seen.push(position.partition());
            position.leave_partition();
        }
        assert_eq!(seen[0], "DUE#2028-02-28#00");
        assert_eq!(seen[15], "DUE#2028-02-28#15");
        assert_eq!(seen[16], "DUE#2028-02-29#00");
        assert_eq!(seen[47], "DUE#2028-03-01#15");
        assert!(seen.is_sorted());
    }
}
