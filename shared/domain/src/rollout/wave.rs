//! The wave under way: how far its group, its job and its end have come.

use serde::{Deserialize, Serialize};

use super::limits::MOST_DIRECT;
use crate::time::Moment;

/// Where the walk over the targets stands: the key of the last one looked at.
/// Those who join later have greater keys than all who were there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cursor(pub String);

/// Why a wave ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum End {
    /// Nobody was left to take.
    Empty,
    /// All of its devices are accounted for.
    Complete,
    /// Its time is over.
    Deadline,
    /// Too many failed.
    TooManyFailed,
    /// An operator paused the rollout.
    Paused,
    /// The rollout is to stop, or its time is over.
    Stopped,
    /// Somebody cancelled or deleted its job in AWS.
    CanceledOutside,
    /// AWS would not have its group or its job.
    Refused,
}

impl End {
    /// Whether the wave was broken off, so that those who were cancelled have
    /// their turn again when the rollout goes on.
    pub(super) const fn interrupted(self) -> bool {
        matches!(
            self,
            Self::TooManyFailed | Self::Paused | Self::CanceledOutside | Self::Refused
        )
    }
}

/// What may exist in AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Made {
    /// Nothing.
    #[default]
    No,
    /// Perhaps: it was asked for.
    Maybe,
    /// It does.
    Yes,
    /// It is gone, or over.
    Gone,
}

impl Made {
    /// Whether it has to be ended.
    pub(super) const fn there(self) -> bool {
        matches!(self, Self::Maybe | Self::Yes)
    }
}

/// A wave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wave {
    /// Its number, from 1; never used twice in a rollout.
    pub number: u32,
    /// How many it takes at most.
    pub most: u64,
    /// Where its walk began; nothing stands for the first target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Cursor>,
    /// How many it has.
    pub taken: u64,
    /// How many of them joined the list later.
    #[serde(default)]
    pub late: u64,
    /// How many targets it has looked at.
    pub looked_at: u64,
    /// Whether it takes no more.
    pub full: bool,
    /// Its group; it has none when its devices are the job's own targets.
    pub group: Made,
    /// Its job.
    pub job: Made,
    /// When its job was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Moment>,
    /// Until when its devices may answer.
    pub deadline: Moment,
    /// When to look how its job stands in AWS.
    pub look_at: Moment,
    /// Whether its executions have to be read one by one.
    pub recheck: bool,
    /// Whether AWS says that its job is over.
    pub completed: bool,
    /// When the job was to be looked at because devices say that they were
    /// cancelled, which we did not do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubted_at: Option<Moment>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

impl Wave {
    /// A wave that begins to fill.
    pub(super) fn new(number: u32, most: u64, from: Option<Cursor>) -> Self {
        Self {
            number,
            most,
            from,
            taken: 0,
            late: 0,
            looked_at: 0,
            full: false,
            group: Made::No,
            job: Made::No,
            started_at: None,
            deadline: Moment(u64::MAX),
            look_at: Moment(u64::MAX),
            recheck: false,
            completed: false,
            doubted_at: None,
            end: None,
        }
    }

    /// Whether its devices are the job's own targets, without a group.
    pub const fn direct(&self) -> bool {
        self.most <= MOST_DIRECT
    }
}
