//! How many devices stand where.

use serde::{Deserialize, Serialize};

use crate::rollout::tally::Tally;

/// Who stands where. Together they are all targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub(super) targets: u64,
    /// No wave has come to them.
    pub(super) waiting: u64,
    pub(super) queued: u64,
    /// As far as it was read: AWS tells how an execution ends, not that it began.
    pub(super) in_progress: u64,
    pub(super) unconfirmed: u64,
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) timed_out: u64,
    pub(super) rejected: u64,
    pub(super) removed: u64,
    /// They had left the targets when a wave came to them.
    pub(super) left: u64,
    /// Their wave has ended, and they never began.
    pub(super) unreached: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) retried: u64,
}

/// Whether a number need not be written.
pub(in crate::rollout) fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

impl Counts {
    /// Of devices that waves have had; those of `ended` waves are awaited no
    /// more.
    pub(super) fn new(all: &Tally, size: u64, open: &Tally, open_size: u64) -> Self {
        let unreached = all.unreached(size) - open.unreached(open_size).min(all.unreached(size));
        Self {
            targets: size,
            waiting: 0,
            queued: open.queued(open_size) + open.canceled,
            in_progress: all.in_progress,
            unconfirmed: all.unconfirmed,
            succeeded: all.succeeded,
            failed: all.failed,
            timed_out: all.timed_out,
            rejected: all.rejected,
            removed: all.removed,
            left: all.left,
            unreached,
            retried: all.retried,
        }
    }

    /// Of a wave that has ended.
    pub fn ended(tally: &Tally, size: u64) -> Self {
        Self::new(tally, size, &Tally::default(), 0)
    }
}
