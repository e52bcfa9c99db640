//! Sweeps: the renewal of what is due, a day's worth at a time.
//!
//! A sweep walks the due index from the oldest day on, and starts rotations
//! inside its budget. What does not fit stays due, and is the first that the
//! next sweep comes to. At most one sweep is open at a time, so that two never
//! share a budget.

pub mod budget;
pub mod page;
mod view;

use serde::{Deserialize, Serialize};

use crate::due::walk::Position;
use crate::failure::Failure;
use crate::names::SweepId;
use crate::sweep::budget::{Budget, SWEEP_MILLIS};
use crate::time::{Day, Moment};

pub use view::SweepView;

/// Where a sweep stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SweepStatus {
    /// Planned; somebody has to approve it.
    AwaitingApproval,
    /// Rotations are being started.
    Running,
    /// Nothing more is started until it is resumed.
    Paused,
    /// Ended before its time, by a person or by its own failures.
    Aborted,
    /// All that it could start has been started.
    Done,
}

impl SweepStatus {
    /// The status as the API spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwaitingApproval => "AWAITING_APPROVAL",
            Self::Running => "RUNNING",
            Self::Paused => "PAUSED",
            Self::Aborted => "ABORTED",
            Self::Done => "DONE",
        }
    }

    /// Whether it holds back any other sweep.
    pub const fn open(self) -> bool {
        matches!(self, Self::AwaitingApproval | Self::Running | Self::Paused)
    }
}

/// `SWEEP#id / SWEEP`: written whole, under `version`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sweep {
    /// Its id.
    pub sweep_id: SweepId,
    /// Counts its changes; each change names the version it was made from.
    pub version: u64,
    /// Where it stands.
    pub status: SweepStatus,
    /// Who started it: a caller's ARN, or `schedule`.
    pub started_by: String,
    /// When it was planned.
    pub planned_at: Moment,
    /// When its newest execution began.
    pub started_at: Moment,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// Why it was aborted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Counts the executions that have worked on it; with the id it names the
    /// newest, which alone goes on.
    pub run: u32,
    /// What it may spend.
    pub budget: Budget,
    /// How many were due when it was planned, or begun again.
    pub due: u64,
    /// How many due ones it left to the next sweep.
    pub carried: u64,
    /// Whether it takes up only what has failed.
    pub only_failed: bool,
    /// What had ended when it began, or began again.
    pub before: Counts,
    /// How far it has come.
    #[serde(flatten)]
    pub progress: Progress,
}

/// How far a sweep has come: what only its own pages change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// How many of the due ones it has looked at.
    pub looked_at: u64,
    /// How many rotations it has started.
    pub started: u64,
    /// How many of them since it began, or began again.
    pub started_in_run: u64,
    /// How many it found under way already.
    pub found_in_flight: u64,
    /// How many pages it has planned since its newest execution began.
    pub pages: u32,
    /// Where its walk over the due index stands.
    pub position: Position,
    /// The first day of which it saw a row: the next sweep begins there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_left: Option<Day>,
    /// When the next rotation may be started.
    pub next_slot: Moment,
}

impl Progress {
    fn new(from: Day, started: u64, now: Moment) -> Self {
        Self {
            looked_at: 0,
            started,
            started_in_run: 0,
            found_in_flight: 0,
            pages: 0,
            position: Position::start_of(from),
            oldest_left: None,
            next_slot: now,
        }
    }
}

/// `SWEEP#id / COUNTS`: how the started rotations have ended. Each rotation
/// adds itself, in the same transaction that ends it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Counts {
    /// Ended with a new certificate proven.
    pub renewed: u64,
    /// Ended without.
    pub failed: u64,
    /// Ended without a word of the device, which may be offline: that is no
    /// failure, and it is asked again when it connects.
    pub silent: u64,
}

impl Counts {
    /// All that have ended.
    pub const fn ended(self) -> u64 {
        self.renewed + self.failed + self.silent
    }
}

/// How one of a sweep's rotations has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a new certificate proven.
    Renewed,
    /// Without.
    Failed,
    /// Without a word of the device.
    Silent,
}

impl Ended {
    /// The count that it adds to.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Renewed => "renewed",
            Self::Failed => "failed",
            Self::Silent => "silent",
        }
    }
}

/// When a sweep aborts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureRule {
    /// When more than this share of what has ended failed, in percent.
    pub percent: u64,
    /// But not before this many have ended.
    pub at_least: u64,
}

impl Default for FailureRule {
    fn default() -> Self {
        Self {
            percent: 10,
            at_least: 20,
        }
    }
}

impl FailureRule {
    /// Whether too many failed.
    pub fn broken_by(&self, counts: Counts) -> bool {
        let ended = counts.renewed + counts.failed;
        ended >= self.at_least && counts.failed * 100 > self.percent * ended
    }
}

/// A sweep's workflow holds 25,000 events at most ("Service quotas" of Step
/// Functions); a page takes about a dozen.
const MOST_PAGES: u32 = 1800;

/// What a person may do to a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let it begin.
    Approve,
    /// Start nothing more for now.
    Pause,
    /// Go on.
    Resume,
    /// End it.
    Abort,
    /// Begin again with what has failed.
    Retry,
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The sweep stands so already.
    None,
    /// It has changed.
    Changed,
    /// It has changed, and an execution named by its new run goes on with it.
    StartRun,
}

impl Sweep {
    /// A sweep of what is due, the oldest day first.
    pub fn new(
        sweep_id: SweepId,
        started_by: &str,
        needs_approval: bool,
        budget: Budget,
        forecast: &Forecast,
        now: Moment,
    ) -> Self {
        Self {
            sweep_id,
            version: 0,
            status: if needs_approval {
                SweepStatus::AwaitingApproval
            } else {
                SweepStatus::Running
            },
            started_by: started_by.to_owned(),
            planned_at: now,
            started_at: now,
            ended_at: None,
            reason: None,
            run: 0,
            budget,
            due: forecast.due,
            carried: 0,
            only_failed: false,
            before: Counts::default(),
            progress: Progress::new(forecast.oldest, 0, now),
        }
    }

    /// Does what a person asks for; asked twice, it is done once.
    ///
    /// # Errors
    /// `Conflict`, where the sweep stands elsewhere.
    pub fn obey(
        &mut self,
        command: Command,
        counts: Counts,
        forecast: &Forecast,
        now: Moment,
    ) -> Result<Change, Failure> {
        use SweepStatus::{Aborted, AwaitingApproval, Done, Paused, Running};
        match (command, self.status) {
            (Command::Approve | Command::Resume, Running)
            | (Command::Pause, Paused)
            | (Command::Abort, Aborted) => Ok(Change::None),
            (Command::Retry, Running) if self.only_failed => Ok(Change::None),
            (Command::Approve, AwaitingApproval) | (Command::Resume, Paused) => {
                Ok(self.begin_run(now))
            }
            (Command::Pause, Running) => {
                self.status = Paused;
                Ok(Change::Changed)
            }
            (Command::Abort, AwaitingApproval | Running | Paused) => {
                self.abort("an operator aborted it", now);
                Ok(Change::Changed)
            }
            (Command::Retry, Done | Aborted) => {
                self.begin_again(counts, forecast, now);
                Ok(self.begin_run(now))
            }
            (command, status) => Err(refused(command, status)),
        }
    }

    fn begin_run(&mut self, now: Moment) -> Change {
        self.status = SweepStatus::Running;
        self.started_at = now;
        self.run += 1;
        self.progress.pages = 0;
        self.progress.next_slot = self.progress.next_slot.max(now);
        Change::StartRun
    }

    /// The walk again from the oldest day, for what has failed.
    fn begin_again(&mut self, counts: Counts, forecast: &Forecast, now: Moment) {
        self.only_failed = true;
        self.before = counts;
        self.ended_at = None;
        self.reason = None;
        self.due = forecast.due;
        self.carried = 0;
        self.progress = Progress::new(forecast.oldest, self.progress.started, now);
    }

    /// Records how far the page before has taken it. An older word, or the
    /// same again, changes nothing.
    pub fn advance(&mut self, progress: Progress) {
        if progress.pages > self.progress.pages {
            self.progress = progress;
        }
    }

    /// Aborts the sweep when too many have failed since it began.
    pub fn check(&mut self, counts: Counts, rule: FailureRule, now: Moment) -> bool {
        let of_run = Counts {
            renewed: counts.renewed.saturating_sub(self.before.renewed),
            failed: counts.failed.saturating_sub(self.before.failed),
            silent: counts.silent.saturating_sub(self.before.silent),
        };
        let broken = self.status == SweepStatus::Running && rule.broken_by(of_run);
        if broken {
            let ended = of_run.renewed + of_run.failed;
            let reason = format!(
                "{} of {ended} rotations failed, more than {}%",
                of_run.failed, rule.percent
            );
            self.abort(&reason, now);
        }
        broken
    }

    /// Ends the sweep before its time.
    pub fn abort(&mut self, reason: &str, now: Moment) {
        self.close(now);
        self.status = SweepStatus::Aborted;
        self.reason = Some(reason.to_owned());
    }

    /// Ends it; what it has not looked at is left to the next one.
    pub fn close(&mut self, now: Moment) {
        self.status = SweepStatus::Done;
        self.ended_at = Some(now);
        self.carried = self.due.saturating_sub(self.progress.looked_at);
    }

    fn out_of_time(&self, now: Moment) -> bool {
        self.started_at.until(now) >= SWEEP_MILLIS || self.progress.pages >= MOST_PAGES
    }

    /// How many more it may start.
    fn budget_left(&self) -> u64 {
        let spent = self.progress.started_in_run;
        self.budget.per_day.saturating_sub(spent)
    }

    /// The day from which the next sweep's walk begins.
    pub fn oldest_day(&self) -> Day {
        let progress = &self.progress;
        progress
            .oldest_left
            .map_or(progress.position.day, |day| day.min(progress.position.day))
    }
}

fn refused(command: Command, status: SweepStatus) -> Failure {
    let verb = match command {
        Command::Approve => "approved",
        Command::Pause => "paused",
        Command::Resume => "resumed",
        Command::Abort => "aborted",
        Command::Retry => "retried",
    };
    let remedy = match status {
        SweepStatus::AwaitingApproval => "Approve or abort it.",
        SweepStatus::Running => "Pause or abort it, or wait for its end.",
        SweepStatus::Paused => "Resume or abort it.",
        SweepStatus::Aborted | SweepStatus::Done => "Retry what failed, or start another sweep.",
    };
    let reason = format!("a sweep that is {} cannot be {verb}", status.name());
    Failure::conflict("status", reason, remedy)
}

/// What a sweep would find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// How many certificates are due.
    pub due: u64,
    /// The day on which the first of them was due, or today.
    pub oldest: Day,
}

#[cfg(test)]
mod tests;
