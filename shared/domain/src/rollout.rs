//! A rollout: one job given to many devices, wave after wave.
//!
//! The whole is one small row, whatever the size of the fleet, changed by
//! compare-and-swap on its version: [`settle`](Rollout::settle) decides what
//! needs no work, [`next`](Rollout::next) says what comes then, and a function
//! for each work records that it is done. The devices stand in rows of their own
//! ([`execution`]), the counts in others ([`tally`]), and the targets in a list
//! that waves walk along in its order.
//!
//! What holds whatever is lost, repeated or late:
//!
//! - no device has two jobs of a rollout at once, and none that succeeded gets
//!   another;
//! - devices are told no faster than the rate says, those that come later
//!   included: at most one job of a rollout is open, and a minute passes from
//!   the end of one to the beginning of the next;
//! - every wave ends by its deadline, every rollout by its own.

pub mod event;
pub mod execution;
pub mod forecast;
mod judging;
pub mod limits;
pub mod of_device;
pub mod on_enter;
mod operator;
pub mod order;
mod plan;
mod record;
pub mod spec;
pub mod tally;
pub mod target;
pub mod trail;
pub mod view;
pub mod waiting;
pub mod wave;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::quote::quoted;
use crate::time::Moment;
use execution::{Again, Heard};
use judging::Last;
use spec::Spec;
use tally::{Fault, Tally};
use wave::{Cursor, End, Made, Wave};

pub use operator::{Change, Command};
pub use plan::{Described, Force, JobPlan, Next, Standing, Taken, Taking, Work};

/// From the end of one job to the beginning of the next: AWS's rates are a
/// minute's.
const REST_MILLIS: u64 = 60_000;
/// How often a job is looked at in AWS, because events can be lost.
const LOOK_MILLIS: u64 = 15 * 60_000;
/// For so long one who has just joined is left for later.
const FRESH_MILLIS: u64 = 60_000;

/// A rollout's id. Callers treat it as opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RolloutId(String);

impl RolloutId {
    /// The id that a caller's idempotency key always leads to.
    pub fn from_key(key: &str) -> Self {
        let digest = crate::csr::sha256_hex(format!("rollout\0{key}").as_bytes());
        Self(format!("job-{}", &digest[..24]))
    }

    /// Checks an id that a caller sent.
    ///
    /// # Errors
    /// `Invalid` for `jobId`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let hex = text.strip_prefix("job-").unwrap_or_default();
        if hex.len() == 24 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text.to_owned()));
        }
        Err(Failure::invalid(
            "jobId",
            format!("{} is not a job's id", quoted(text)),
            "Use the jobId that the job's start answered with.",
        ))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a wave's job in AWS is called, and its group.
    pub fn of_wave(&self, wave: u32) -> String {
        format!("{}-w{wave}", self.0)
    }

    /// The rollout and the wave of a job in AWS; nothing of a job of others.
    pub fn wave_of(job_id: &str) -> Option<(Self, u32)> {
        let (rollout, wave) = job_id.rsplit_once("-w")?;
        Some((Self::parse(rollout).ok()?, wave.parse().ok()?))
    }
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// The targets are being listed.
    Listing,
    /// Between waves.
    Between,
    /// A wave takes its devices.
    Filling,
    /// A wave's job is to be created, when it may.
    Starting,
    /// A wave's job runs.
    Running,
    /// A wave's job and group are being ended.
    Closing,
    /// All who should have had it have.
    Done,
    /// Ended before that.
    Stopped,
}

impl Phase {
    /// Whether nothing more will happen unless somebody asks for it.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Done | Self::Stopped)
    }
}

/// Why a rollout waits for its operator, or was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind", content = "detail")]
pub enum Reason {
    /// An operator wanted it.
    Operator,
    /// A wave did not pass.
    Wave(u32, Fault),
    /// Somebody cancelled or deleted a wave's job in AWS.
    CanceledOutside(u32),
    /// AWS would not have a wave's group or job.
    Refused(String),
    /// Its time was over.
    OutOfTime,
}

/// `ROLLOUT#id / ROLLOUT`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Its id.
    pub rollout_id: RolloutId,
    /// Counts the row's changes; each names the version it was made from.
    pub version: u64,
    /// What it is to do.
    pub spec: Spec,
    /// How far it has come.
    pub phase: Phase,
    /// Why it waits for its operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Reason>,
    /// Why it was stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Reason>,
    /// Whether an operator wants it paused.
    #[serde(default)]
    pub wants_pause: bool,
    /// Whether an operator wants it stopped.
    #[serde(default)]
    pub wants_stop: bool,
    /// Whether executions that have begun are cancelled too when it stops.
    #[serde(default)]
    pub force: bool,
    /// Up to which wave they were.
    #[serde(default)]
    pub forced_up_to: u32,
    /// When all targets were listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_at: Option<Moment>,
    /// How many were left out of the targets, since they may not get it.
    #[serde(default)]
    pub left_out: u64,
    /// How many targets were there at the start.
    pub targets: u64,
    /// How many have a place in the list, late ones included.
    pub listed: u64,
    /// How many devices waves have come to.
    pub taken: u64,
    /// How many targets the walk has passed.
    pub looked_at: u64,
    /// Where the walk stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Cursor>,
    /// Whom it takes.
    #[serde(default)]
    pub again: Again,
    /// Which size the next wave has.
    pub index: usize,
    /// The last wave's number.
    pub waves: u32,
    /// Up to which wave it is approved.
    pub approved: u32,
    /// The wave under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<Wave>,
    /// The last wave that ended, which is judged again before the next begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Last>,
    /// Before this no job may begin.
    pub not_before: Moment,
    /// When it began.
    pub started_at: Moment,
    /// When it ends, whatever has become of it.
    pub ends_at: Moment,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// Until when the invocation that works on it may be alive.
    pub lease_until: Moment,
    /// What wakes the workflow that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_token: Option<String>,
    /// The moment until which the workflow was told to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_until: Option<Moment>,
    /// How many events its trail has.
    #[serde(default)]
    pub trail: trail::Trail,
}

impl Rollout {
    /// A rollout that begins to list its targets.
    pub fn start(rollout_id: RolloutId, spec: Spec, now: Moment) -> Self {
        let begins = now.max(spec.start_at.unwrap_or_default());
        Self {
            rollout_id,
            version: 0,
            ends_at: begins.plus_millis(spec.duration_millis()),
            spec,
            phase: Phase::Listing,
            paused: None,
            stopped: None,
            wants_pause: false,
            wants_stop: false,
            force: false,
            forced_up_to: 0,
            listed_at: None,
            left_out: 0,
            targets: 0,
            listed: 0,
            taken: 0,
            looked_at: 0,
            cursor: None,
            again: Again::default(),
            index: 0,
            waves: 0,
            approved: 1,
            wave: None,
            last: None,
            not_before: now,
            started_at: now,
            ended_at: None,
            lease_until: Moment(0),
            task_token: None,
            waits_until: None,
            trail: trail::Trail::default(),
        }
    }

    /// A rollout to nobody who is there, but to those that come.
    pub fn following(rollout_id: RolloutId, spec: Spec, now: Moment) -> Self {
        Self::start(rollout_id, spec, now).listed(0, None, true, now)
    }

    /// Decides what needs no work. `tally` is that of the wave that is
    /// [`counted`](Self::counted), and `joined` how many targets have joined the
    /// list since the start.
    #[must_use]
    pub fn settle(mut self, tally: &Tally, joined: u64, now: Moment) -> Self {
        self.listed = self.listed.max(self.targets + joined);
        self.judge_again(tally, now);
        loop {
            let before = self.phase;
            self.settle_once(tally, now);
            if self.phase == before {
                return self;
            }
        }
    }

    fn settle_once(&mut self, tally: &Tally, now: Moment) {
        let stops = self.wants_stop || now >= self.ends_at;
        match self.phase {
            Phase::Between if stops && self.idle() => self.finish(now),
            Phase::Between if self.still_begun().is_some() => {}
            Phase::Listing | Phase::Between if stops => self.stop(now),
            Phase::Between if self.wants_pause => self.pause(Reason::Operator),
            Phase::Between => self.between(now),
            Phase::Filling | Phase::Starting if stops => self.close(End::Stopped),
            Phase::Filling if self.wave.as_ref().is_some_and(|wave| wave.full) => self.filled(now),
            Phase::Starting if self.wants_pause && self.job_meant() => self.close(End::Paused),
            Phase::Starting if self.wants_pause => self.pause(Reason::Operator),
            Phase::Running => match self.end_of_wave(tally, stops, now) {
                Some(end) => self.close(end),
                None => self.doubt(tally, now),
            },
            Phase::Closing if self.closed() => self.conclude(tally, now),
            _ => {}
        }
    }

    /// What is heard of a device, as it counts.
    pub fn as_it_counts(&self, heard: Heard) -> Heard {
        match heard {
            Heard::Report(wave, report) if self.is_over(wave) => {
                Heard::Report(wave, report.of_a_job_that_is_over())
            }
            heard => heard,
        }
    }

    /// Whether a wave's job is over or cancelled.
    fn is_over(&self, number: u32) -> bool {
        let wave = self.wave.as_ref().filter(|wave| wave.number == number);
        wave.is_none_or(|wave| wave.completed || wave.job == Made::Gone)
    }

    /// From which wave on executions that have begun are to be cancelled.
    pub(super) fn still_begun(&self) -> Option<u32> {
        let stops = self.wants_stop && self.force && self.forced_up_to < self.waves;
        stops.then_some(self.forced_up_to + 1)
    }

    /// Whether the next wave waits for somebody's approval.
    pub fn awaits_approval(&self) -> bool {
        let open = self.phase == Phase::Between && !self.walked();
        open && self.spec.approval && self.waves + 1 > self.approved
    }

    /// Whether the walk has passed every target there is.
    fn walked(&self) -> bool {
        self.looked_at >= self.listed
    }

    fn job_meant(&self) -> bool {
        self.wave.as_ref().is_some_and(|wave| wave.job.there())
    }

    /// Whether all who are listed have had their turn, and nobody has to decide
    /// anything.
    fn idle(&self) -> bool {
        self.walked() && self.paused.is_none() && !self.wants_pause && !self.wants_stop
    }

    /// When the next wave may take its devices, and its job begin: who leaves the
    /// targets before that is not told.
    fn fills_at(&self, now: Moment) -> Moment {
        self.spec.may_begin(now.max(self.not_before))
    }

    fn between(&mut self, now: Moment) {
        if self.idle() && self.spec.late_joiners.is_none() {
            self.finish(now);
        } else if self.paused.is_none()
            && !self.walked()
            && !self.awaits_approval()
            && now >= self.fills_at(now)
        {
            let most = self.spec.wave_size(self.index, self.targets);
            // Those who join later come in such a number that they are told
            // in ten minutes, whatever the last wave's size.
            let most = match self.spec.late_joiners {
                Some(rate) if self.looked_at >= self.targets => {
                    most.min(u64::from(rate.get()) * 10)
                }
                _ => most,
            };
            self.waves += 1;
            self.wave = Some(Wave::new(self.waves, most, self.cursor.clone()));
            self.phase = Phase::Filling;
        }
    }

    fn filled(&mut self, now: Moment) {
        let empty = self.wave.as_ref().is_none_or(|wave| wave.taken == 0);
        if empty {
            self.not_before = self.not_before.max(now.plus_millis(FRESH_MILLIS));
            self.close(End::Empty);
        } else {
            self.phase = Phase::Starting;
        }
    }

    fn end_of_wave(&self, tally: &Tally, stops: bool, now: Moment) -> Option<End> {
        let wave = self.wave.as_ref()?;
        let over = wave.completed && !wave.recheck && tally.unconfirmed == 0;
        let all = tally.settled() >= wave.taken && tally.canceled == 0;
        if stops {
            Some(End::Stopped)
        } else if tally.too_many_failed(wave.taken, &self.spec) {
            Some(End::TooManyFailed)
        } else if all || over {
            Some(End::Complete)
        } else if self.wants_pause {
            Some(End::Paused)
        } else {
            (now >= wave.deadline).then_some(End::Deadline)
        }
    }

    /// While a wave runs, we cancel nothing: where all are accounted for and
    /// some were cancelled, the job is looked at before the wave is judged.
    fn doubt(&mut self, tally: &Tally, now: Moment) {
        if let Some(wave) = &mut self.wave
            && tally.settled() >= wave.taken
            && wave.doubted_at.is_none()
        {
            wave.doubted_at = Some(now);
            wave.look_at = wave.look_at.min(now);
        }
    }

    fn close(&mut self, end: End) {
        self.phase = Phase::Closing;
        if let Some(wave) = &mut self.wave {
            wave.end = Some(end);
            // What the cancelling brings about is read, not awaited: who has
            // no execution then has no job.
            wave.recheck = wave.job.there() && end != End::Complete;
            // It may have been created, and whoever did it died.
            if !wave.direct() && wave.group == Made::No {
                wave.group = Made::Maybe;
            }
        }
    }

    fn closed(&self) -> bool {
        let wave = self.wave.as_ref();
        wave.is_none_or(|wave| !wave.job.there() && !wave.group.there() && !wave.recheck)
    }

    fn pause(&mut self, reason: Reason) {
        self.wants_pause = false;
        self.paused.get_or_insert(reason);
    }

    fn stop(&mut self, now: Moment) {
        let operator = self.wants_stop;
        self.finish(now);
        self.phase = Phase::Stopped;
        self.stopped = Some(if operator {
            Reason::Operator
        } else {
            Reason::OutOfTime
        });
    }

    fn finish(&mut self, now: Moment) {
        self.phase = Phase::Done;
        self.wants_stop = false;
        self.wants_pause = false;
        self.paused = None;
        self.ended_at = Some(now);
    }
}
