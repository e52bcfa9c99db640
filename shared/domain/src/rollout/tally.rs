//! How a wave's devices are counted, and what the counts mean.

use serde::{Deserialize, Serialize};

use super::execution::{Class, Delta};
use super::spec::Spec;

/// `ROLLOUT#id / WAVE#n`, and `ROLLOUT#id / TOTALS` for all waves: changed only
/// by adding deltas. Those that are QUEUED are what remains of the size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Tally {
    /// Begun.
    pub in_progress: u64,
    /// Done by their own word, and not by their shadow's.
    pub unconfirmed: u64,
    /// Done.
    pub succeeded: u64,
    /// Failed.
    pub failed: u64,
    /// Timed out.
    pub timed_out: u64,
    /// Rejected.
    pub rejected: u64,
    /// Gone.
    pub removed: u64,
    /// Cancelled.
    pub canceled: u64,
    /// Taken up again by a later wave.
    pub retried: u64,
}

/// Why a wave does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Fault {
    /// More failed than may.
    TooManyFailed,
    /// Of those that answered, fewer succeeded than must.
    TooFewSucceeded,
    /// More were not reached than may.
    TooManyUnreached,
    /// Nobody answered, so nothing is known.
    NobodyAnswered,
}

impl Tally {
    /// Counts a change with its wave.
    pub fn add(&mut self, delta: Delta) {
        if let Some(slot) = self.slot(delta.from) {
            *slot = slot.saturating_sub(1);
        }
        if let Some(slot) = self.slot(delta.to) {
            *slot += 1;
        }
    }

    /// Counts a change in all: one that a later wave takes up is QUEUED again.
    pub fn add_in_all(&mut self, mut delta: Delta) {
        if delta.to == Class::Retried {
            delta.to = Class::Queued;
        }
        self.add(delta);
    }

    fn slot(&mut self, class: Class) -> Option<&mut u64> {
        match class {
            Class::Queued => None,
            Class::InProgress => Some(&mut self.in_progress),
            Class::Unconfirmed => Some(&mut self.unconfirmed),
            Class::Succeeded => Some(&mut self.succeeded),
            Class::Failed => Some(&mut self.failed),
            Class::TimedOut => Some(&mut self.timed_out),
            Class::Rejected => Some(&mut self.rejected),
            Class::Removed => Some(&mut self.removed),
            Class::Canceled => Some(&mut self.canceled),
            Class::Retried => Some(&mut self.retried),
        }
    }

    /// Those of whom nothing more is awaited.
    pub const fn settled(&self) -> u64 {
        self.succeeded + self.failing() + self.removed + self.canceled + self.retried
    }

    /// Those that failed.
    pub const fn failing(&self) -> u64 {
        self.failed + self.timed_out + self.rejected
    }

    /// Those, of so many, that have not begun.
    pub const fn queued(&self, size: u64) -> u64 {
        size.saturating_sub(self.settled() + self.in_progress + self.unconfirmed)
    }

    /// Of a wave that has ended, those that never answered: cancelled by us at
    /// the deadline, or not heard of.
    pub const fn unreached(&self, size: u64) -> u64 {
        self.queued(size) + self.in_progress + self.canceled
    }

    /// Whether a wave of this size has to be broken off. Failures are counted
    /// against the whole wave, not against those heard of so far: so it does not
    /// depend on who is heard first.
    pub fn too_many_failed(&self, size: u64, spec: &Spec) -> bool {
        spec.most_failed.exceeded_by(self.failing(), size)
    }

    /// What is wrong with a wave that has ended, if anything.
    pub fn fault(&self, size: u64, spec: &Spec) -> Option<Fault> {
        let failing = self.failing() + self.unconfirmed;
        let answered = self.succeeded + failing;
        if size == 0 {
            None
        } else if spec.most_failed.exceeded_by(failing, size) {
            Some(Fault::TooManyFailed)
        } else if answered == 0 {
            Some(Fault::NobodyAnswered)
        } else if self.succeeded * 100 < u64::from(spec.least_succeeded.get()) * answered {
            Some(Fault::TooFewSucceeded)
        } else if spec.most_unreached.exceeded_by(self.unreached(size), size) {
            Some(Fault::TooManyUnreached)
        } else {
            None
        }
    }
}
