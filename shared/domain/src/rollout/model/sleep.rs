//! The workflow that waits, and what wakes it, unless that is lost.

use super::cloud::Act;
use super::{Flaw, MINUTE, World};
use crate::rollout::{Next, waiting};
use crate::time::Moment;

/// How many join while the rollout rests.
pub(super) const SPARE: usize = 4;

impl World {
    /// Waits until this moment, or until somebody wakes it.
    pub(super) fn sleep(&mut self, until: Moment) {
        let least = self.now.plus_millis(1);
        if self.rollout.phase.ended() {
            self.pass(until.max(least));
            return;
        }
        self.join_at_rest();
        let told = waiting::told(self.now, until).max(least);
        self.rollout = self.rollout.clone().release(Some(told));
        let mut earliest = told;
        while self.now < told && !self.woken() {
            earliest = earliest.min(self.next_moment().max(self.now));
            self.pass(told);
        }
        let late = self.now > earliest.plus_millis(MINUTE);
        self.overslept |= late && self.lost_wakes_percent == 0;
    }

    /// Somebody joins while no wave may begin, since one has just ended.
    fn join_at_rest(&mut self) {
        let rests = self.now < self.rollout.not_before && self.rollout.wave.is_none();
        if rests && self.chance.percent(20) {
            let at = self.now.plus_millis(MINUTE / 2);
            let joins = self.spare.pop().map(|thing| (at, Act::Join(thing)));
            self.cloud.agenda.extend(joins);
        }
    }

    /// When something is to be done, by what is known now.
    fn next_moment(&self) -> Moment {
        let (tally, joined) = (self.tally(), self.joined());
        let row = self.rollout.clone().settle(&tally, joined, self.now);
        match row.next(self.now) {
            Next::Wait(until) | Next::AwaitOperator(until) => until,
            Next::Do(_) | Next::Ended => self.now,
        }
    }

    fn woken(&mut self) -> bool {
        let due = match self.flaw {
            Flaw::SleepOn => self.next_moment() <= self.now,
            _ => self.rollout.due(&self.tally(), self.joined(), self.now),
        };
        due && !self.chance.percent(self.lost_wakes_percent)
    }
}
