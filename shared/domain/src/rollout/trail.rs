//! The trail of a rollout: who asked for it and told it what, how its waves
//! began and ended, and why it paused.
//!
//! An event is what a change of the row has changed, and is stored in the same
//! transaction with it: so none is told twice, and none is lost. What is heard
//! of devices is none of its own; it counts where a wave ends.

use serde::{Deserialize, Serialize};

use super::tally::Tally;
use super::view::{Counts, is_zero};
use super::wave::{End, Made};
use super::{Command, Reason, Rollout};
use crate::time::Moment;

/// How many events a rollout has at most. What is over is counted.
pub const MOST_EVENTS: u32 = 500;
/// So many of them may be told by waves: the rest is for what people do, and
/// for how it ends.
const MOST_OF_WAVES: u32 = 400;
/// Who did what nobody told it.
const ITSELF: &str = "the job";

/// `ROLLOUT#id / TRAIL#number`: something that happened to a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// When.
    pub at: Moment,
    /// What.
    #[serde(flatten)]
    pub what: What,
    /// Who: a caller's ARN, or what did it.
    pub by: String,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    rename_all = "camelCase",
    rename_all_fields = "camelCase",
    tag = "what"
)]
pub enum What {
    /// Somebody asked for it.
    Asked,
    /// A wave's job was given to its devices.
    WaveBegan {
        /// Its number.
        wave: u32,
        /// How many it has.
        devices: u64,
        /// How many of them joined later.
        late: u64,
    },
    /// A wave's job is over or cancelled, and its executions were read.
    WaveEnded {
        /// Its number.
        wave: u32,
        /// Why.
        end: End,
        /// How its devices stood.
        counts: Counts,
    },
    /// It waits for somebody's approval.
    AwaitsApproval {
        /// Of this wave.
        wave: u32,
    },
    /// Somebody let a wave begin.
    Approved {
        /// Its number.
        wave: u32,
    },
    /// It begins no wave, because somebody wants that or for a reason.
    Paused {
        /// The reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// Somebody had it go on.
    Resumed,
    /// Somebody wants it to end.
    Cancelled {
        /// Whether on devices that have begun, too.
        running: bool,
    },
    /// Somebody gives it again to those that failed or had no turn.
    Retried,
    /// All who should have had it have.
    Done,
    /// It ended before that.
    Stopped {
        /// Why.
        reason: String,
    },
}

impl What {
    const fn of_a_wave(&self) -> bool {
        matches!(
            self,
            Self::WaveBegan { .. } | Self::WaveEnded { .. } | Self::AwaitsApproval { .. }
        )
    }
}

/// How many events there are, in the rollout's row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Trail {
    /// How many were stored: the number of the last one.
    pub told: u32,
    /// How many were too many.
    #[serde(skip_serializing_if = "is_zero")]
    pub untold: u32,
}

impl Trail {
    /// Takes events in; those that are to be stored, with their numbers.
    fn add(&mut self, events: Vec<Event>) -> Vec<(u32, Event)> {
        let mut told = Vec::new();
        for event in events {
            let most = if event.what.of_a_wave() {
                MOST_OF_WAVES
            } else {
                MOST_EVENTS
            };
            if self.told < most {
                self.told += 1;
                told.push((self.told, event));
            } else {
                self.untold = self.untold.saturating_add(1);
            }
        }
        told
    }
}

/// What changes a rollout.
#[derive(Clone, Copy, Debug)]
pub enum Cause<'a> {
    /// Its own course; with the counts of the wave that was counted.
    Course(&'a Tally),
    /// What somebody told it.
    Told(Command, &'a str),
}

/// The first event of a rollout, with its number.
pub fn asked(rollout: &mut Rollout, by: &str) -> Vec<(u32, Event)> {
    let event = Event {
        at: rollout.started_at,
        what: What::Asked,
        by: by.to_owned(),
    };
    rollout.trail.add(vec![event])
}

/// What a change has brought about, with the numbers under which it is stored
/// together with the row `after` it.
pub fn changed(
    before: &Rollout,
    after: &mut Rollout,
    cause: Cause<'_>,
    now: Moment,
) -> Vec<(u32, Event)> {
    let mut events = Vec::new();
    let mut note = |what, by: &str| {
        events.push(Event {
            at: now,
            what,
            by: by.to_owned(),
        });
    };
    match cause {
        Cause::Told(command, by) if before != after => {
            note(of_command(command, after), by);
            if let Some(what) = waits(before, after) {
                note(what, ITSELF);
            }
        }
        Cause::Told(..) => {}
        Cause::Course(tally) => {
            for (what, by) in of_course(before, after, tally) {
                note(what, by);
            }
        }
    }
    after.trail.add(events)
}

fn of_command(command: Command, after: &Rollout) -> What {
    match command {
        Command::Approve(wave) => What::Approved { wave },
        Command::Pause => What::Paused { reason: None },
        Command::Resume => What::Resumed,
        Command::Stop { .. } => What::Cancelled {
            running: after.force,
        },
        Command::Retry => What::Retried,
    }
}

fn of_course(
    before: &Rollout,
    after: &Rollout,
    tally: &Tally,
) -> impl Iterator<Item = (What, &'static str)> {
    let why = || {
        let why = after.reason().unwrap_or_default();
        match after.stopped.as_ref().or(after.paused.as_ref()) {
            Some(Reason::Wave(_, fault)) => {
                let (tally, size) = judged(before, tally);
                format!("{why}: {}", fault.figures(&tally, size, &after.spec))
            }
            _ => why,
        }
    };
    // Whom somebody told to pause or to stop has that in its trail already.
    let paused = after.paused.as_ref().filter(|reason| {
        before.paused.as_ref() != Some(reason) && !matches!(reason, Reason::Operator)
    });
    let paused = paused.map(|reason| {
        let what = What::Paused {
            reason: Some(why()),
        };
        (what, whose(reason))
    });
    let waits = waits(before, after).map(|what| (what, ITSELF));
    let ended = !before.phase.ended() && after.phase.ended();
    let ended = ended.then(|| match &after.stopped {
        Some(reason) => (What::Stopped { reason: why() }, whose(reason)),
        None => (What::Done, ITSELF),
    });
    let events = [
        began(before, after),
        wave_ended(before, after, tally),
        paused,
        waits,
        ended,
    ];
    events.into_iter().flatten()
}

/// That it waits for approval, if it did not before.
fn waits(before: &Rollout, after: &Rollout) -> Option<What> {
    let wave = after.waves + 1;
    let waits = !before.waits_for_approval() && after.waits_for_approval();
    waits.then_some(What::AwaitsApproval { wave })
}

/// The counts by which a wave was judged, at its end or after it, and its size.
fn judged(before: &Rollout, tally: &Tally) -> (Tally, u64) {
    match (&before.wave, &before.last) {
        (Some(wave), _) => (*tally, wave.taken),
        (None, Some(last)) => (last.counts(tally), last.taken),
        (None, None) => (*tally, 0),
    }
}

fn began(before: &Rollout, after: &Rollout) -> Option<(What, &'static str)> {
    let wave = after.wave.as_ref()?;
    let same = before.wave.as_ref().filter(|old| old.number == wave.number);
    let known = same.is_some_and(|old| old.started_at.is_some());
    (wave.started_at.is_some() && !known).then(|| {
        let what = What::WaveBegan {
            wave: wave.number,
            devices: wave.taken,
            late: wave.late,
        };
        (what, ITSELF)
    })
}

/// A wave has ended to which a job may have been given.
fn wave_ended(before: &Rollout, after: &Rollout, tally: &Tally) -> Option<(What, &'static str)> {
    let wave = before.wave.as_ref().filter(|wave| wave.job != Made::No)?;
    if after.wave.as_ref().map(|wave| wave.number) == Some(wave.number) {
        return None;
    }
    let end = wave.end.unwrap_or(End::Stopped);
    let what = What::WaveEnded {
        wave: wave.number,
        end,
        counts: Counts::ended(tally, wave.taken),
    };
    let by = match end {
        End::Deadline => "time",
        End::CanceledOutside | End::Refused => "AWS",
        _ => ITSELF,
    };
    Some((what, by))
}

const fn whose(reason: &Reason) -> &'static str {
    match reason {
        Reason::OutOfTime => "time",
        Reason::CanceledOutside(_) | Reason::Refused(_) => "AWS",
        Reason::Operator | Reason::Wave(..) => ITSELF,
    }
}

impl Rollout {
    /// Whether nothing but somebody's approval is missing.
    fn waits_for_approval(&self) -> bool {
        let free = self.paused.is_none() && !self.wants_pause && !self.wants_stop;
        free && self.awaits_approval()
    }
}

/// An event as a caller sees it.
#[derive(Clone, Debug, Serialize)]
pub struct EventView<'a> {
    at: String,
    #[serde(flatten)]
    what: &'a What,
    by: &'a str,
}

impl<'a> From<&'a Event> for EventView<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            at: event.at.rfc3339(),
            what: &event.what,
            by: &event.by,
        }
    }
}
