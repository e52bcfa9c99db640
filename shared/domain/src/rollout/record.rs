//! What is recorded when a work is done.

use super::execution::Again;
use super::tally::Tally;
use super::wave::{Cursor, End, Made};
use super::{Described, LOOK_MILLIS, Phase, Reason, Rollout, Standing, Taken};
use crate::time::Moment;

impl Rollout {
    /// A page of targets was listed: so many, up to this key.
    #[must_use]
    pub fn listed(mut self, count: u64, last: Option<Cursor>, end: bool, now: Moment) -> Self {
        self.targets += count;
        self.listed += count;
        self.cursor = last.or(self.cursor);
        if end {
            self.cursor = None;
            self.listed_at = Some(now);
            self.phase = Phase::Between;
            self.not_before = now;
            self.again = Again::default();
        }
        self
    }

    /// So many of that page were left out.
    #[must_use]
    pub fn leaving_out(mut self, count: u64) -> Self {
        self.left_out += count;
        self
    }

    /// The wave's group is there.
    #[must_use]
    pub fn group_made(mut self) -> Self {
        if let Some(wave) = &mut self.wave {
            wave.group = Made::Yes;
        }
        self
    }

    /// Targets were taken.
    #[must_use]
    pub fn took(mut self, taken: &Taken) -> Self {
        if let Some(wave) = &mut self.wave {
            wave.taken += taken.taken;
            wave.late += taken.late;
            wave.looked_at += taken.looked_at;
            wave.full = taken.end || wave.taken >= wave.most;
            self.taken += taken.first;
            self.looked_at += taken.looked_at;
            self.cursor = taken.last.clone().or(self.cursor);
        }
        self
    }

    /// From here on the job may exist.
    #[must_use]
    pub fn job_intended(mut self) -> Self {
        if let Some(wave) = &mut self.wave {
            wave.job = Made::Maybe;
        }
        self
    }

    /// The job is there; its devices' time runs.
    #[must_use]
    pub fn job_made(mut self, now: Moment) -> Self {
        let deadline = now.plus_millis(self.spec.deadline_millis());
        if let Some(wave) = &mut self.wave {
            wave.job = Made::Yes;
            wave.started_at = Some(now);
            wave.deadline = deadline;
            wave.look_at = now.plus_millis(LOOK_MILLIS);
            self.phase = Phase::Running;
        }
        self
    }

    /// The job was looked at. Where AWS counts otherwise than we do, events
    /// were lost, and the executions are read.
    #[must_use]
    pub fn described(mut self, seen: Described, tally: &Tally, now: Moment) -> Self {
        let phase = self.phase;
        let Some(wave) = &mut self.wave else {
            return self;
        };
        wave.look_at = now.plus_millis(LOOK_MILLIS);
        if phase != Phase::Running {
            return self;
        }
        let settled = tally.settled() + tally.unconfirmed;
        match seen.standing {
            Standing::Canceled => self.close(End::CanceledOutside),
            // Who is done and not confirmed may have said so since.
            Standing::Completed => {
                wave.completed = true;
                wave.recheck = tally.settled() < wave.taken;
            }
            Standing::Open => wave.recheck = seen.ended > settled,
        }
        self
    }

    /// AWS says that something became of a wave's job: it is looked at now.
    #[must_use]
    pub fn look_at_job(mut self, number: u32, now: Moment) -> Self {
        if let Some(wave) = self.wave.as_mut().filter(|wave| wave.number == number) {
            wave.look_at = wave.look_at.min(now);
        }
        self
    }

    /// All executions of the job were read and heard.
    #[must_use]
    pub fn rechecked(mut self) -> Self {
        if let Some(wave) = &mut self.wave {
            wave.recheck = false;
        }
        self
    }

    /// Whether a reading of executions that was begun before, where the row stood
    /// like that, goes on. When a wave is closed and its job cancelled, all are
    /// read anew.
    pub fn reads_on(&self, before: &Self) -> bool {
        let at = |row: &Self| {
            let wave = row.wave.as_ref();
            (row.phase, wave.map(|wave| (wave.number, wave.job)))
        };
        at(self) == at(before)
    }

    /// The job is cancelled, or over.
    #[must_use]
    pub fn canceled(mut self) -> Self {
        if let Some(wave) = &mut self.wave {
            wave.job = Made::Gone;
        }
        self
    }

    /// What has begun of waves up to this one is cancelled.
    #[must_use]
    pub fn forced(mut self, wave: u32) -> Self {
        self.forced_up_to = self.forced_up_to.max(wave);
        self
    }

    /// The wave's group is gone.
    #[must_use]
    pub fn group_removed(mut self) -> Self {
        if let Some(wave) = &mut self.wave {
            wave.group = Made::Gone;
        }
        self
    }

    /// AWS would not have the wave's group or job, or the group was deleted by
    /// hand: the wave is undone, and somebody has to look.
    #[must_use]
    pub fn refused(mut self, why: &str) -> Self {
        if matches!(self.phase, Phase::Filling | Phase::Starting) {
            self.paused.get_or_insert(Reason::Refused(why.to_owned()));
            self.close(End::Refused);
        }
        self
    }
}
