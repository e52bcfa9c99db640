//! How a wave's devices are counted, and what the counts mean.

use std::collections::BTreeMap;

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
    /// Left before the wave came to them: they are no part of its size.
    pub left: u64,
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
    pub fn add_in_all(&mut self, delta: Delta) {
        self.add(delta.in_all());
    }

    /// What changes add to the counts of a wave, by the names of their fields.
    pub fn added(deltas: impl IntoIterator<Item = Delta>) -> BTreeMap<&'static str, i64> {
        let mut added = BTreeMap::new();
        for delta in deltas {
            for (class, by) in [(delta.from, -1), (delta.to, 1)] {
                if let Some(field) = field(class) {
                    *added.entry(field).or_default() += by;
                }
            }
        }
        added.retain(|_, by| *by != 0);
        added
    }

    /// The same for the counts in all.
    pub fn added_in_all(deltas: impl IntoIterator<Item = Delta>) -> BTreeMap<&'static str, i64> {
        Self::added(deltas.into_iter().map(Delta::in_all))
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
            Class::Left => Some(&mut self.left),
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

    /// Of a wave that has ended, those that never began: cancelled by us, or not
    /// heard of.
    pub const fn unreached(&self, size: u64) -> u64 {
        self.queued(size) + self.canceled
    }

    /// Of a wave that has ended, those that have not answered, be it that they
    /// have begun.
    const fn silent(&self, size: u64) -> u64 {
        self.unreached(size) + self.in_progress
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
        } else {
            self.silence(size, spec)
        }
    }

    /// What is wrong with how many of a wave have not answered, if anything.
    pub fn silence(&self, size: u64, spec: &Spec) -> Option<Fault> {
        let too_many = spec.most_unreached.exceeded_by(self.silent(size), size);
        too_many.then_some(Fault::TooManyUnreached)
    }
}

impl Fault {
    /// The counts of a wave of this size that say so, and what they may be.
    pub fn figures(self, tally: &Tally, size: u64, spec: &Spec) -> String {
        let answered = tally.succeeded + tally.failing() + tally.unconfirmed;
        match self {
            Self::TooManyFailed => {
                let unconfirmed = match tally.unconfirmed {
                    0 => String::new(),
                    count => format!(" and {count} were not confirmed"),
                };
                let (failed, most) = (tally.failing(), spec.most_failed.get());
                format!("{failed} of {size} failed{unconfirmed}, at most {most}% may")
            }
            Self::TooFewSucceeded => {
                let (succeeded, least) = (tally.succeeded, spec.least_succeeded.get());
                format!("{succeeded} of {answered} did, at least {least}% must")
            }
            Self::TooManyUnreached => {
                let begun = match tally.in_progress {
                    0 => String::new(),
                    count => format!(" and {count} have only begun"),
                };
                let (unreached, most) = (tally.unreached(size), spec.most_unreached.get());
                format!("{unreached} of {size} were not{begun}, at most {most}% may")
            }
            Self::NobodyAnswered => format!("0 of {size} did"),
        }
    }
}

impl Delta {
    /// As it is counted in all: what a later wave takes up is QUEUED again.
    fn in_all(mut self) -> Self {
        if self.to == Class::Retried {
            self.to = Class::Queued;
        }
        self
    }
}

/// The field that counts a class; those that are QUEUED are what remains.
const fn field(class: Class) -> Option<&'static str> {
    Some(match class {
        Class::Queued => return None,
        Class::InProgress => "inProgress",
        Class::Unconfirmed => "unconfirmed",
        Class::Succeeded => "succeeded",
        Class::Failed => "failed",
        Class::TimedOut => "timedOut",
        Class::Rejected => "rejected",
        Class::Removed => "removed",
        Class::Canceled => "canceled",
        Class::Retried => "retried",
        Class::Left => "left",
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_stored_is_what_is_counted() {
        let all = [
            Class::Queued,
            Class::InProgress,
            Class::Unconfirmed,
            Class::Succeeded,
            Class::Failed,
            Class::TimedOut,
            Class::Rejected,
            Class::Removed,
            Class::Canceled,
            Class::Retried,
            Class::Left,
        ];
        let check = |stored: BTreeMap<&str, i64>, counted: Tally| {
            assert_eq!(
                serde_json::from_value::<Tally>(json!(stored)).unwrap(),
                counted
            );
        };
        for to in all {
            let delta = Delta {
                wave: 1,
                from: Class::Queued,
                to,
            };
            let (mut tally, mut totals) = (Tally::default(), Tally::default());
            tally.add(delta);
            totals.add_in_all(delta);
            check(Tally::added([delta]), tally);
            check(Tally::added_in_all([delta]), totals);
            let back = Delta {
                from: to,
                to: Class::Queued,
                ..delta
            };
            assert!(Tally::added([delta, back]).is_empty(), "{to:?}");
        }
    }
}
