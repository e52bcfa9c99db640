//! What was stored of a rollout's trail, which alone has to tell how it stands.

use std::collections::{BTreeMap, BTreeSet};

use super::{Flaw, World};
use crate::failure::Failure;
use crate::rollout::trail::{Cause, Event, Trail, What, changed};
use crate::rollout::{Change, Command, Rollout};

/// How a rollout stands, as its trail tells it.
#[derive(Debug, Default)]
pub(super) struct Standing {
    paused: bool,
    ended: bool,
    /// The wave that has begun and not ended.
    open: Option<u32>,
    begun: BTreeMap<u32, (u64, u64)>,
    over: BTreeSet<u32>,
    untrue: bool,
}

impl Standing {
    fn hear(&mut self, event: &Event) {
        let fits = match &event.what {
            What::Asked => true,
            What::WaveBegan {
                wave,
                devices,
                late,
            } => {
                self.open.replace(*wave).is_none()
                    && !self.over.contains(wave)
                    && self.begun.insert(*wave, (*devices, *late)).is_none()
            }
            // Whoever made its job may have died before it was said.
            What::WaveEnded { wave, .. } => {
                let open = self.open.take();
                open.is_none_or(|open| open == *wave) && self.over.insert(*wave)
            }
            What::AwaitsApproval { .. } => !self.ended && !self.paused,
            What::Approved { .. } => !self.ended,
            What::Paused { reason } => {
                let again = std::mem::replace(&mut self.paused, true);
                !self.ended && (!again || reason.is_some())
            }
            What::Resumed => std::mem::take(&mut self.paused),
            // What was stopped before is stopped again, with what has begun.
            What::Cancelled { running } => !std::mem::take(&mut self.ended) || *running,
            What::Retried => std::mem::take(&mut self.ended),
            What::Done | What::Stopped { .. } => {
                self.paused = false;
                !std::mem::replace(&mut self.ended, true)
            }
        };
        self.untrue |= !fits;
    }

    fn is_of(&self, rollout: &Rollout) -> bool {
        let paused = rollout.paused.is_some() || rollout.wants_pause;
        let begun = rollout.wave.as_ref().filter(|w| w.started_at.is_some());
        let begun = begun.map(|wave| wave.number);
        self.paused == paused && self.ended == rollout.phase.ended() && self.open == begun
    }
}

impl World {
    /// Stores what the change to this row has brought about.
    pub(super) fn tell(&mut self, row: &Rollout) -> Trail {
        let tally = self.tally();
        self.store(row, Cause::Course(&tally))
    }

    pub(super) fn told(&mut self, command: Command) -> Result<Change, Failure> {
        let mut row = self.rollout.clone();
        let change = row.obey(command, self.now)?;
        match command {
            Command::Approve(wave) => self.judged.approved = wave,
            Command::Retry => self.forgive(),
            Command::Resume if self.flaw == Flaw::ResumeApproves => row.approved = row.waves + 1,
            _ => {}
        }
        row.trail = self.store(&row, Cause::Told(command, "somebody"));
        self.rollout = row;
        Ok(change)
    }

    fn store(&mut self, row: &Rollout, cause: Cause<'_>) -> Trail {
        let mut row = row.clone();
        row.trail = self.rollout.trail;
        let told = changed(&self.rollout, &mut row, cause, self.now);
        if self.flaw == Flaw::TellLast && self.chance.percent(self.crash_percent) {
            return row.trail;
        }
        for (_, event) in told {
            self.standing.hear(&event);
            self.trail.push(event);
        }
        self.standing.untrue |= self.flaw == Flaw::None && !self.standing.is_of(&row);
        row.trail
    }

    /// What is wrong with the trail of a rollout that has ended, if anything.
    pub(super) fn untrue_trail(&self) -> Option<&'static str> {
        let stored = usize::try_from(self.rollout.trail.told).unwrap();
        if self.flaw == Flaw::None && stored != self.trail.len() {
            return Some("the trail has other numbers");
        }
        let standing = &self.standing;
        let told = self.cloud.told.iter().map(|(_, wave, _)| *wave);
        let given: BTreeSet<u32> = told.collect();
        let late = |(_, late): &&(u64, u64)| *late > 0;
        let told_late = standing.begun.values().filter(late).count() > 0;
        let untrue = standing.untrue
            || !standing.is_of(&self.rollout)
            || !given.is_subset(&standing.over)
            || (told_late && self.rollout.spec.late_joiners.is_none());
        untrue.then_some("the trail tells otherwise")
    }
}
