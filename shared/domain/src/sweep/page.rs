//! One page of a sweep: which rotations to start now, and when each.
//!
//! A sweep is planned in pages of some hundred starts. Each is a task of its
//! own, so that a pause, an abort or too many failures stop the next one, and
//! what was planned lies in no file: a page fits into a workflow's state.

use serde::{Serialize, Serializer};

use crate::due::walk::{Read, Row};
use crate::names::{CertificateId, OperationId, SweepId, ThingName};
use crate::operation::OperationStatus;
use crate::sweep::{Progress, Sweep};
use crate::time::{Day, Moment};

/// A page reaches this far ahead.
const WINDOW_MILLIS: u64 = 100_000;
/// What a page has at most: 500 starts of at most 400 bytes, within the
/// 256 KiB that Step Functions passes from state to state.
const MOST_STARTS: u64 = 500;
/// A page looks at this many rows at most before it ends, however few of them
/// can be started, so that one invocation keeps to its time.
const MOST_LOOKED_AT: usize = 2000;
/// Starts missed by no more than this, while the page was planned, are made up
/// for at once: at half the quotas, as many as a second of the quotas has.
const CATCH_UP_MILLIS: u64 = 2000;

/// What the table says of a row of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Due, and not begun: this attempt would be its first.
    Due,
    /// Due, and this attempt at it has ended without success.
    Failed(u32),
    /// A rotation of it is under way.
    InFlight,
    /// One that this sweep has begun: a page was at work when the sweep was
    /// paused, and its execution gave way to the one that goes on.
    Begun,
    /// It could not be undone; a person is needed, no sweep.
    Stuck,
    /// Nothing to do: renewed, no longer the device's, or the device is not
    /// ACTIVE.
    Settled,
}

/// Where a rotation's attempt stands, as far as a sweep minds; `mine`, whether it
/// counts for that sweep.
pub fn standing(attempt: u32, operation: Option<OperationStatus>, mine: bool) -> Standing {
    match operation {
        None if attempt == 0 => Standing::Due,
        // The attempt before is the last there was.
        None => Standing::Failed(attempt - 1),
        Some(OperationStatus::Running | OperationStatus::Undoing) if mine => Standing::Begun,
        Some(OperationStatus::Running | OperationStatus::Undoing) => Standing::InFlight,
        Some(OperationStatus::Done) => Standing::Settled,
        Some(OperationStatus::Compensated | OperationStatus::Failed) => Standing::Failed(attempt),
        Some(OperationStatus::Stuck) => Standing::Stuck,
    }
}

/// One rotation to start, as the workflow reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Start {
    /// The rotation, and its execution's name.
    pub rotation_id: OperationId,
    /// The device.
    pub thing_name: ThingName,
    /// The certificate to renew.
    pub certificate_id: CertificateId,
    /// The sweep that it counts for.
    pub sweep_id: SweepId,
    /// When to start it.
    pub start_at: Slot,
}

/// A moment that the workflow waits for; written as RFC 3339.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub Moment);

impl Serialize for Slot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.rfc3339_millis())
    }
}

/// A page as it is filled.
#[derive(Debug)]
pub struct Page<'a> {
    sweep: &'a Sweep,
    progress: Progress,
    now: Moment,
    first_slot: Moment,
    room: u64,
    looked_at: usize,
    starts: Vec<Start>,
}

/// A page, full.
#[derive(Debug)]
pub struct Planned {
    /// What it starts.
    pub starts: Vec<Start>,
    /// How far the sweep will have come when these have been started. It is
    /// recorded then, and not before: a page whose answer is lost is planned
    /// again, and a rotation that it names again is the same one.
    pub progress: Progress,
    /// What follows a page that starts nothing.
    pub otherwise: Otherwise,
}

/// What follows a page that starts nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// The sweep has ended.
    Over,
    /// Another page, after this many seconds.
    Again(u64),
}

impl<'a> Page<'a> {
    /// An empty page of a running sweep.
    pub fn new(sweep: &'a Sweep, now: Moment) -> Self {
        let progress = sweep.progress.clone();
        let first_slot = progress.next_slot.max(now.minus_millis(CATCH_UP_MILLIS));
        let ahead = first_slot.until(now.plus_millis(WINDOW_MILLIS));
        let slots = ahead * 1000 / sweep.budget.interval_micros + u64::from(ahead > 0);
        let room = if sweep.out_of_time(now) {
            0
        } else {
            sweep.budget_left().min(slots).min(MOST_STARTS)
        };
        Self {
            sweep,
            progress,
            now,
            first_slot,
            room,
            looked_at: 0,
            starts: Vec::new(),
        }
    }

    /// What to read next; nothing when the page is full or nothing more is due.
    pub fn next_read(&self) -> Option<Read> {
        let wanted = usize::try_from(self.room).unwrap_or(usize::MAX) - self.starts.len();
        let left = MOST_LOOKED_AT.saturating_sub(self.looked_at);
        let limit = wanted.min(left);
        (limit > 0 && !self.walked()).then(|| Read {
            position: self.progress.position.clone(),
            until: self.now,
            limit,
        })
    }

    /// Takes what a read brought, at most as many rows as it asked for; `more`
    /// is whether the partition has more.
    pub fn take(&mut self, found: Vec<(Row, Standing)>, more: bool) {
        for (row, standing) in found {
            self.looked_at += 1;
            self.progress.looked_at += 1;
            self.progress.oldest_left.get_or_insert(Day::of(row.due_at));
            self.progress.position.pass(&row);
            if let Some(attempt) = self.attempt(standing) {
                self.start(row, attempt);
            }
        }
        if !more {
            self.progress.position.leave_partition();
        }
    }

    /// Which attempt to start, if one.
    fn attempt(&mut self, standing: Standing) -> Option<u32> {
        match standing {
            Standing::Due if !self.sweep.only_failed => Some(0),
            Standing::Failed(last) => Some(last + 1),
            // In a retry it may be one that was counted before the retry began.
            Standing::Begun if !self.sweep.only_failed => {
                self.progress.started += 1;
                self.progress.started_in_run += 1;
                self.room = self.room.saturating_sub(1);
                None
            }
            Standing::InFlight | Standing::Begun => {
                self.progress.found_in_flight += 1;
                None
            }
            Standing::Due | Standing::Stuck | Standing::Settled => None,
        }
    }

    fn start(&mut self, row: Row, attempt: u32) {
        let slot = self.slot(self.starts.len());
        self.starts.push(Start {
            rotation_id: OperationId::of_rotation(&row.thing_name, &row.certificate_id, attempt),
            thing_name: row.thing_name,
            certificate_id: row.certificate_id,
            sweep_id: self.sweep.sweep_id.clone(),
            start_at: Slot(slot),
        });
    }

    fn slot(&self, number: usize) -> Moment {
        let after = number as u64 * self.sweep.budget.interval_micros;
        self.first_slot.plus_millis(after.div_ceil(1000))
    }

    /// Whether the walk has passed all that is due.
    fn walked(&self) -> bool {
        self.progress.position.day > Day::of(self.now)
    }

    /// Ends the page.
    pub fn finish(mut self) -> Planned {
        let over =
            self.walked() || self.sweep.budget_left() == 0 || self.sweep.out_of_time(self.now);
        if !self.starts.is_empty() {
            self.progress.next_slot = self.slot(self.starts.len());
        }
        self.progress.started += self.starts.len() as u64;
        self.progress.started_in_run += self.starts.len() as u64;
        self.progress.pages += 1;
        let wait = self.now.until(self.progress.next_slot).div_ceil(1000);
        Planned {
            starts: self.starts,
            progress: self.progress,
            otherwise: if over {
                Otherwise::Over
            } else if self.room == 0 {
                Otherwise::Again(wait.max(1))
            } else {
                Otherwise::Again(1)
            },
        }
    }
}
