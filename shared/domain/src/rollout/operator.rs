//! What a person may do to a rollout.

use super::execution::Again;
use super::{Phase, Rollout};
use crate::failure::Failure;
use crate::time::Moment;

/// What a person may do to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Let the wave of this number begin.
    Approve(u32),
    /// Break the wave off, and begin none. AWS cannot pause a job: those that
    /// have not begun are cancelled, and have their turn again.
    Pause,
    /// Go on.
    Resume,
    /// End it; and cancel what has begun, if so.
    Stop {
        /// Whether executions that have begun are cancelled.
        running: bool,
    },
    /// Give it again to those that failed, to those that were not reached, and to
    /// those that still waited when it was stopped.
    Retry,
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It stands so already.
    None,
    /// It has changed, and whoever waits is to be woken.
    Changed,
    /// It has ended and begins again; a workflow has to be started.
    Begun,
}

impl Command {
    /// Whether another execution of the workflow goes on after it: the one before
    /// may have failed or been stopped, and one that waits is told that it was
    /// replaced. Who ends a job or has it go on is certain of that, also where it
    /// was asked before.
    pub fn replaces_workflow(self, change: Change) -> bool {
        change != Change::None || matches!(self, Self::Stop { .. } | Self::Resume)
    }
}

impl Rollout {
    /// Does what a person asks for; asked twice, it is done once.
    ///
    /// # Errors
    /// `Conflict`, where the rollout stands elsewhere.
    pub fn obey(&mut self, command: Command, now: Moment) -> Result<Change, Failure> {
        let paused = self.paused.is_some() || self.wants_pause;
        match command {
            Command::Approve(wave) if self.was_approved(wave) => Ok(Change::None),
            Command::Approve(wave) if wave == self.waves + 1 && self.awaits_approval() => {
                self.approved = wave;
                Ok(Change::Changed)
            }
            Command::Pause if !self.phase.ended() && paused => Ok(Change::None),
            Command::Pause if !self.phase.ended() => {
                self.wants_pause = true;
                Ok(Change::Changed)
            }
            Command::Resume if !self.phase.ended() && !paused => Ok(Change::None),
            // A wave that is being broken off is broken off first.
            Command::Resume if self.phase == Phase::Closing => {
                Err(Failure::busy("a wave is being broken off", 30))
            }
            Command::Resume if !self.phase.ended() => {
                self.go_on();
                Ok(Change::Changed)
            }
            Command::Stop { running } if !self.phase.ended() => {
                let same = self.wants_stop && (self.force || !running);
                self.wants_stop = true;
                self.force |= running;
                Ok(if same { Change::None } else { Change::Changed })
            }
            // Of a job that was stopped, devices that have begun go on.
            Command::Stop { running: true }
                if self.phase == Phase::Stopped && self.forced_up_to < self.waves =>
            {
                self.stop_again();
                Ok(Change::Begun)
            }
            Command::Stop { .. } if self.phase == Phase::Stopped => Ok(Change::None),
            Command::Retry if self.phase.ended() => {
                self.begin_again(now);
                Ok(Change::Begun)
            }
            Command::Retry
                if self.again.failed_up_to.is_some() && self.waves_since_retry() == 0 =>
            {
                Ok(Change::None)
            }
            command => Err(self.refuse(command)),
        }
    }

    /// Whether an approval that comes says nothing new. A job that has ended is
    /// not approved any more; that one of its waves once was, it still says.
    fn was_approved(&self, wave: u32) -> bool {
        let repeats = !self.phase.ended() || (self.spec.approval && wave > 1);
        repeats && wave <= self.approved
    }

    fn waves_since_retry(&self) -> u32 {
        self.waves - self.again.failed_up_to.unwrap_or_default()
    }

    /// Stops it once more, with what has begun.
    fn stop_again(&mut self) {
        self.phase = Phase::Between;
        self.stopped = None;
        self.ended_at = None;
        self.wants_stop = true;
        self.force = true;
    }

    /// The walk again from the first target, for those that failed or waited.
    fn begin_again(&mut self, now: Moment) {
        self.cursor = None;
        self.phase = Phase::Between;
        if self.listed_at.is_none() {
            self.phase = Phase::Listing;
            (self.targets, self.listed, self.left_out) = (0, 0, 0);
        }
        self.paused = None;
        self.stopped = None;
        self.force = false;
        self.ended_at = None;
        self.ends_at = now.plus_millis(self.spec.duration_millis());
        self.looked_at = 0;
        self.index = 0;
        self.not_before = self.not_before.max(now);
        self.last = None;
        self.again = Again {
            interrupted: None,
            failed_up_to: Some(self.waves),
        };
    }

    fn refuse(&self, command: Command) -> Failure {
        let verb = match command {
            Command::Approve(_) => "approved",
            Command::Pause => "paused",
            Command::Resume => "resumed",
            Command::Stop { .. } => "stopped",
            Command::Retry => "retried",
        };
        let (stands, remedy) = match self.phase {
            Phase::Done => ("is done", "Retry what failed, or start another job."),
            Phase::Stopped => ("was stopped", "Retry what failed, or start another job."),
            _ if self.paused.is_some() || self.wants_pause => {
                ("is paused", "Resume or cancel it first.")
            }
            _ if self.awaits_approval() => (
                "waits for the approval of another wave",
                "Approve the wave that it waits with, or stop it.",
            ),
            _ => ("is under way", "Pause or stop it, or wait for its end."),
        };
        let reason = format!("a job that {stands} cannot be {verb}");
        Failure::conflict("status", reason, remedy)
    }
}
