//! What follows from how a wave went: at its end, and again before the next
//! begins.
//!
//! Whoever has begun when a wave ends goes on, and may fail after it. So the last
//! wave is judged once more by what has come since, until somebody who was told of
//! its fault has the rollout go on.

use serde::{Deserialize, Serialize};

use super::spec::{OnFailure, Spec};
use super::tally::{Fault, Tally};
use super::wave::{End, Made, Wave};
use super::{Phase, REST_MILLIS, Reason, Rollout};
use crate::time::Moment;

/// What has to be known of a wave that has ended to judge it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Last {
    /// Its number.
    pub number: u32,
    /// How many it had.
    pub taken: u64,
    /// Whether all of them joined the list later.
    late: bool,
    /// Whether it was broken off.
    interrupted: bool,
    /// How many were not confirmed at its end, and counted as failed.
    unconfirmed: u64,
}

impl Last {
    /// The counts by which it is judged. Who said since its end that it is done
    /// has time for its shadow to say so too, like one that is still at it.
    pub(super) fn counts(&self, tally: &Tally) -> Tally {
        let unconfirmed = tally.unconfirmed.min(self.unconfirmed);
        Tally {
            unconfirmed,
            in_progress: tally.in_progress + tally.unconfirmed - unconfirmed,
            ..*tally
        }
    }

    /// What is wrong with it, if anything. Of a wave that was broken off nothing
    /// counts but who failed, as while it ran.
    fn fault(&self, tally: &Tally, spec: &Spec) -> Option<Fault> {
        let tally = self.counts(tally);
        if self.interrupted {
            let failed = tally.too_many_failed(self.taken, spec);
            return failed.then_some(Fault::TooManyFailed);
        }
        match tally.fault(self.taken, spec) {
            // Those that join later are few; that they are silent says nothing
            // of the job.
            Some(Fault::NobodyAnswered) if self.late => tally.silence(self.taken, spec),
            fault => fault,
        }
    }
}

impl Rollout {
    /// The wave whose tally counts: the one under way, else the last one.
    pub fn counted(&self) -> Option<u32> {
        let last = self.last.as_ref().map(|last| last.number);
        self.wave.as_ref().map(|wave| wave.number).or(last)
    }

    /// A wave has ended; whether the rollout goes on.
    pub(super) fn conclude(&mut self, tally: &Tally, now: Moment) {
        let Some(wave) = self.wave.take() else {
            return;
        };
        self.phase = Phase::Between;
        if wave.job != Made::No {
            self.not_before = now.plus_millis(REST_MILLIS);
        }
        let end = wave.end.unwrap_or(End::Stopped);
        let last = self.last_of(&wave, end, tally);
        if wave.job != Made::No && end != End::Refused {
            self.last = Some(last);
        }
        self.approve_again(&wave, end, tally);
        if end.interrupted() {
            self.cursor.clone_from(&wave.from);
            self.looked_at -= wave.looked_at;
            self.again.interrupted.get_or_insert(wave.number);
        } else if end != End::Empty {
            self.again.interrupted = None;
            self.index += 1;
        }
        let number = wave.number;
        match end {
            End::Stopped if self.still_begun().is_some() => {}
            End::Stopped => self.stop(now),
            End::Paused => self.pause(Reason::Operator),
            End::CanceledOutside => self.pause(Reason::CanceledOutside(number)),
            // The reason is there already.
            End::Refused | End::Empty => {}
            End::TooManyFailed => self.faulty(number, Fault::TooManyFailed, now),
            End::Complete | End::Deadline => {
                if let Some(fault) = last.fault(tally, &self.spec) {
                    self.faulty(number, fault, now);
                }
            }
        }
    }

    fn last_of(&self, wave: &Wave, end: End, tally: &Tally) -> Last {
        let interrupted = end.interrupted();
        Last {
            number: wave.number,
            taken: wave.taken,
            late: self.all_late(wave),
            interrupted,
            unconfirmed: if interrupted { 0 } else { tally.unconfirmed },
        }
    }

    /// An approval holds for the wave that takes another's place: of one in which
    /// nobody was, or of one that was broken off, but not by failures, while
    /// some had had no turn. Whatever else a wave comes to, the next is another.
    fn approve_again(&mut self, wave: &Wave, end: End, tally: &Tally) {
        let broken_off = end.interrupted() && end != End::TooManyFailed;
        let unreached = wave.job == Made::No || tally.unreached(wave.taken) > 0;
        if end == End::Empty || (broken_off && unreached) {
            self.approved += u32::from(self.approved == wave.number);
        }
    }

    /// Judges the last wave by what has come since it ended.
    pub(super) fn judge_again(&mut self, tally: &Tally, now: Moment) {
        let waits = self.paused.is_some() || self.wants_pause || self.wants_stop;
        let begins = self.phase == Phase::Between && !waits && !self.walked();
        if let Some(last) = self.last.filter(|_| begins && now < self.ends_at)
            && let Some(fault) = last.fault(tally, &self.spec)
        {
            self.faulty(last.number, fault, now);
        }
    }

    /// Somebody has it go on. Who was told of the last wave's fault has seen it.
    pub(super) fn go_on(&mut self) {
        if matches!(self.paused, Some(Reason::Wave(..))) {
            self.last = None;
        }
        self.paused = None;
        self.wants_pause = false;
    }

    /// Whether all of a wave's targets have joined the list later.
    pub(super) fn all_late(&self, wave: &Wave) -> bool {
        self.spec.late_joiners.is_some() && self.looked_at - wave.looked_at >= self.targets
    }

    fn faulty(&mut self, wave: u32, fault: Fault, now: Moment) {
        let reason = Reason::Wave(wave, fault);
        match self.spec.on_failure {
            OnFailure::Pause => self.pause(reason),
            OnFailure::Stop => {
                self.finish(now);
                self.phase = Phase::Stopped;
                self.stopped = Some(reason);
            }
        }
    }
}
