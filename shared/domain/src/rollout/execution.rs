//! One device of a rollout: a row, and how what is heard of it changes the row
//! and is counted.
//!
//! Reports may come twice, late, in any order, or never. A row keeps the
//! greatest of them in one total order, so the order in which they come makes
//! no difference; and what is counted is a row's change, in the same
//! transaction, so nothing is counted twice (invariant 6).

use serde::{Deserialize, Serialize};

use super::limits::Retries;
use super::spec::Spec;
use crate::names::ThingName;
use crate::time::Moment;

/// How much of a device's reason is kept, in characters.
const LONGEST_REASON: usize = 200;

/// A job execution's status, as AWS IoT spells it (`JobExecutionState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// The device has not begun.
    Queued,
    /// It has begun.
    InProgress,
    /// The device says it is done.
    Succeeded,
    /// The device says it failed.
    Failed,
    /// It was `IN_PROGRESS` for too long.
    TimedOut,
    /// The device would not do it.
    Rejected,
    /// The device, or its place among the targets, is gone.
    Removed,
    /// Cancelled, by us or by hand.
    Canceled,
}

impl Status {
    /// Whether the execution has ended.
    pub const fn ended(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress)
    }

    /// Whether AWS makes another execution of it, if the job says so.
    const fn repeats(self) -> bool {
        matches!(self, Self::Failed | Self::TimedOut)
    }
}

/// What was heard of an execution. The order is that of what counts more:
/// success is final; else the later execution, then what is said after its job's
/// end, then the end over the beginning, then what gives a reason: a list of
/// executions gives none.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are what is compared, one after the other"
)]
pub struct Report {
    succeeded: bool,
    execution: u64,
    #[serde(default)]
    last: bool,
    ended: bool,
    begun: bool,
    status: Status,
    reason: String,
    at: Moment,
}

impl Report {
    /// A report. AWS numbers the executions of a job on a device from 1 and
    /// makes another for each retry; events do not say the number, and 0 stands
    /// for that.
    pub fn new(status: Status, execution: u64, at: Moment, reason: &str) -> Self {
        Self {
            succeeded: status == Status::Succeeded,
            execution: execution.max(1),
            last: false,
            ended: status.ended(),
            begun: status != Status::Queued,
            status,
            reason: reason.chars().take(LONGEST_REASON).collect(),
            at,
        }
    }

    /// The same, of a job that is over or cancelled: AWS repeats nothing of it.
    #[must_use]
    pub fn of_a_job_that_is_over(mut self) -> Self {
        self.last = self.status.repeats();
        self
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Why, in the device's words; may be empty.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// When it was so.
    pub fn at(&self) -> Moment {
        self.at
    }

    /// Whether an event that says this without an execution's number has to be
    /// looked up (`DescribeJobExecution`): AWS may be about to try again.
    pub fn wants_number(status: Status, retries: Retries) -> bool {
        retries > Retries::LEAST && status.repeats()
    }

    /// What is known once both were heard, in either order.
    fn and(&self, other: &Self) -> Self {
        let (less, more) = (self.min(other), self.max(other));
        let mut both = more.clone();
        if (less.execution, less.status) == (more.execution, more.status) {
            both.last |= less.last;
            both.reason = String::max(less.reason.clone(), both.reason);
            both.at = both.at.max(less.at);
        }
        both
    }

    /// Whether AWS makes another execution of it.
    fn retried(&self, retries: Retries) -> bool {
        self.status.repeats() && !self.last && self.execution <= u64::from(retries.get())
    }
}

/// As what a device is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Class {
    /// Nothing was heard yet.
    Queued,
    /// It has begun, or AWS tries again.
    InProgress,
    /// It says it is done, and its shadow does not say so yet.
    Unconfirmed,
    /// Done.
    Succeeded,
    /// Failed.
    Failed,
    /// Timed out.
    TimedOut,
    /// Rejected.
    Rejected,
    /// Gone.
    Removed,
    /// Cancelled.
    Canceled,
    /// Failed or cancelled here, and taken up again by a later wave.
    Retried,
    /// It was no target any more when a wave came to it; no wave has it.
    Left,
}

impl Class {
    /// Whether nothing more is awaited.
    pub const fn settled(self) -> bool {
        !matches!(self, Self::Queued | Self::InProgress | Self::Unconfirmed)
    }

    /// Whether people are told why.
    pub const fn told_of(self) -> bool {
        self.failing() || matches!(self, Self::Left)
    }

    /// Whether it ended, and not as it should.
    pub const fn failing(self) -> bool {
        matches!(
            self,
            Self::Failed | Self::TimedOut | Self::Rejected | Self::Unconfirmed
        )
    }
}

/// `ROLLOUT#id / DEVICE#thing`: a device that a wave has taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is heard by itself, whatever the others say"
)]
pub struct Execution {
    /// The device.
    pub thing_name: ThingName,
    /// The wave that has it.
    pub wave: u32,
    /// How many waves have had it.
    pub tries: u32,
    /// The greatest of what was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<Report>,
    /// Whether its shadow has reported the firmware.
    #[serde(default)]
    pub confirmed: bool,
    /// Whether the newest shadow reports another one.
    #[serde(default)]
    pub fell_back: bool,
    /// That shadow's version.
    #[serde(default)]
    pub shadow_version: u64,
    /// Whether the thing was deleted.
    #[serde(default)]
    pub gone: bool,
    /// Whether it had left the targets when the wave came to it.
    #[serde(default)]
    pub left: bool,
}

/// What is heard of a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// A report of this wave's job.
    Report(u32, Report),
    /// Its shadow reports this firmware, in this version.
    Firmware(String, u64),
    /// The thing was deleted.
    Gone,
}

/// A change to be counted: with the wave, and in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The wave.
    pub wave: u32,
    /// As what it was counted.
    pub from: Class,
    /// As what it is counted now.
    pub to: Class,
}

/// Whom a wave takes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Again {
    /// From this wave on waves were broken off; those who had no turn in them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<u32>,
    /// Those that failed, were not reached or had left, in waves up to this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_up_to: Option<u32>,
}

impl Again {
    /// Whether some of those of an earlier wave may be taken.
    fn comes_to(&self, wave: u32) -> bool {
        self.interrupted.is_some_and(|first| wave >= first)
            || self.failed_up_to.is_some_and(|last| wave <= last)
    }
}

/// What a wave does with a target that it comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Take {
    /// Takes it: writes the row, on condition that it still is as it was read,
    /// and counts the change.
    New(Execution, Option<Delta>),
    /// Has it already: the same page was taken before.
    Mine,
    /// Would take it, but it has left the targets: writes the row, as for `New`,
    /// and counts the changes.
    Left(Execution, Vec<Delta>),
    /// Has found already that it had left.
    Known,
    /// Leaves it.
    Not,
}

impl Execution {
    /// As what the device is counted.
    pub fn class(&self, spec: &Spec) -> Class {
        let needs = spec.confirms.is_some();
        if self.left {
            return Class::Left;
        }
        if needs && self.confirmed && !self.fell_back {
            return Class::Succeeded;
        }
        let Some(report) = &self.report else {
            return if self.gone {
                Class::Removed
            } else {
                Class::Queued
            };
        };
        match report.status {
            // What it has been given since is another job's.
            Status::Succeeded if needs && self.confirmed => Class::Succeeded,
            Status::Succeeded if needs && self.gone => Class::Removed,
            Status::Succeeded if needs => Class::Unconfirmed,
            Status::Succeeded => Class::Succeeded,
            // Whoever deletes a device cancels its executions first.
            Status::Canceled if self.gone => Class::Removed,
            _ if self.gone && (!report.ended || report.retried(spec.retries)) => Class::Removed,
            _ if report.retried(spec.retries) => Class::InProgress,
            Status::Queued if report.execution > 1 => Class::InProgress,
            Status::Queued => Class::Queued,
            Status::InProgress => Class::InProgress,
            Status::Failed => Class::Failed,
            Status::TimedOut => Class::TimedOut,
            Status::Rejected => Class::Rejected,
            Status::Removed => Class::Removed,
            Status::Canceled => Class::Canceled,
        }
    }

    /// The row after something was heard, and what is to be counted; nothing
    /// where it says nothing new.
    pub fn hear(&self, heard: &Heard, spec: &Spec) -> Option<(Self, Option<Delta>)> {
        let mut next = self.clone();
        match heard {
            Heard::Report(wave, report) => {
                if *wave != self.wave {
                    return None;
                }
                next.report = Some(match &self.report {
                    Some(known) => known.and(report),
                    None => report.clone(),
                });
            }
            Heard::Firmware(firmware, version) => {
                let runs = spec.confirms.as_ref() == Some(firmware);
                next.confirmed |= runs;
                if *version >= next.shadow_version {
                    next.shadow_version = *version;
                    next.fell_back = !runs;
                }
            }
            Heard::Gone => next.gone = true,
        }
        if next == *self {
            return None;
        }
        let (from, to) = (self.class(spec), next.class(spec));
        let wave = self.wave;
        Some((next, (from != to).then_some(Delta { wave, from, to })))
    }

    /// Whether a wave takes a target, of which there is this row, if any. A
    /// device is taken again only when its execution has ended or it never had
    /// one, and never from the wave under way: so it never has two jobs of a
    /// rollout at once.
    pub fn take(
        row: Option<&Self>,
        thing: &ThingName,
        wave: u32,
        again: &Again,
        spec: &Spec,
    ) -> Take {
        // Who has no row had no turn, be it that the rollout was stopped before.
        let Some(row) = row else {
            return Take::New(Self::new(thing, wave, 1), None);
        };
        if row.wave == wave {
            return if row.left { Take::Known } else { Take::Mine };
        }
        let from = row.class(spec);
        // A wave ends with its job cancelled and its executions read; that one is
        // still said to wait is of a job that somebody deleted.
        let no_turn = matches!(from, Class::Canceled | Class::Queued);
        let interrupted = again.interrupted.is_some_and(|first| row.wave >= first);
        let failed = again.failed_up_to.is_some_and(|last| row.wave <= last);
        let failing = from.failing() || from == Class::Left;
        if !(interrupted && no_turn || failed && (no_turn || failing)) {
            return Take::Not;
        }
        let delta = Delta {
            wave: row.wave,
            from,
            to: Class::Retried,
        };
        Take::New(Self::new(thing, wave, row.tries + 1), Some(delta))
    }

    /// Whether AWS has to be asked what became of a device before a wave comes to
    /// it: it had begun, and the word of its end may have been lost.
    pub fn may_have_ended(&self, wave: u32, again: &Again, spec: &Spec) -> bool {
        let comes = self.wave != wave && again.comes_to(self.wave);
        comes && self.class(spec) == Class::InProgress
    }

    /// What is heard of a device of whose execution AWS has nothing any more: it
    /// was cancelled with its job, which somebody deleted.
    pub fn is_not_there(&self, now: Moment) -> Heard {
        let number = self.report.as_ref().map_or(0, |report| report.execution);
        Heard::Report(self.wave, Report::new(Status::Canceled, number, now, ""))
    }

    pub(super) fn new(thing: &ThingName, wave: u32, tries: u32) -> Self {
        Self {
            thing_name: thing.clone(),
            wave,
            tries,
            report: None,
            confirmed: false,
            fell_back: false,
            shadow_version: 0,
            gone: false,
            left: false,
        }
    }
}

impl Take {
    /// What becomes of a target that is none any more.
    #[must_use]
    pub fn without(self) -> Self {
        let Self::New(mut row, retried) = self else {
            return self;
        };
        row.left = true;
        let left = Delta {
            wave: row.wave,
            from: Class::Queued,
            to: Class::Left,
        };
        Self::Left(row, retried.into_iter().chain([left]).collect())
    }
}
