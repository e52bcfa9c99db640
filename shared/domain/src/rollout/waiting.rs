//! Who works on a rollout, and until when its workflow waits.

use super::tally::Tally;
use super::{Next, Rollout};
use crate::failure::Failure;
use crate::time::{DAY_MILLIS, Moment};

/// No wait is longer: then the rollout is asked again. AWS Step Functions takes
/// no more than 99,999,999 seconds ("Amazon States Language"), and what is lost
/// costs a day at most.
const LONGEST_MILLIS: u64 = DAY_MILLIS;
/// So often one execution of the workflow asks, then another goes on. With a day
/// between two times it ends before it is a year old, which is as old as one may
/// become, and long before its history is full ("Step Functions service quotas").
pub const MOST_STEPS: u32 = 300;

/// Until when a workflow waits that is told to wait until a moment.
pub fn told(now: Moment, until: Moment) -> Moment {
    until.min(now.plus_millis(LONGEST_MILLIS))
}

/// From now to a moment in seconds, as a workflow may be told: 1 at least, and a
/// day at most.
pub fn seconds(now: Moment, until: Moment) -> u64 {
    now.until(told(now, until)).div_ceil(1000).max(1)
}

impl Rollout {
    /// Takes it up, so that nobody else works on it until the lease ends.
    ///
    /// # Errors
    /// `Busy` while another invocation may be alive.
    pub fn lease(mut self, now: Moment, until: Moment) -> Result<Self, Failure> {
        if now < self.lease_until {
            return Err(Failure::busy(
                "another invocation works on this job",
                1 + now.until(self.lease_until) / 1000,
            ));
        }
        self.lease_until = until;
        self.task_token = None;
        self.waits_until = None;
        Ok(self)
    }

    /// Gives the lease back, and keeps until when the workflow was told to wait,
    /// if it was.
    #[must_use]
    pub fn release(mut self, waits_until: Option<Moment>) -> Self {
        self.lease_until = Moment(0);
        self.waits_until = waits_until;
        self
    }

    /// Whether a workflow that waits has to be woken: something is to be done now,
    /// or earlier than it was told. `tally` and `joined` as for
    /// [`settle`](Self::settle).
    pub fn due(&self, tally: &Tally, joined: u64, now: Moment) -> bool {
        let next = self.clone().settle(tally, joined, now);
        let until = match next.next(now) {
            Next::Wait(until) | Next::AwaitOperator(until) if now < until => until,
            _ => return true,
        };
        let earlier = self.waits_until.is_none_or(|told| until < told);
        earlier || next.phase != self.phase || next.paused != self.paused
    }
}
