//! What comes next in a rollout, decided to the last name.

use super::execution::Again;
use super::limits::{InProgressMinutes, PerMinute, Retries, UrlSeconds};
use super::spec::Rate;
use super::wave::{Cursor, End, Made, Wave};
use super::{FRESH_MILLIS, Phase, Rollout};
use crate::time::Moment;

/// One piece of work. Each is *ensured*: done twice is done once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// List the next page of targets; those that the spec does not admit are
    /// left out. [`listed`](Rollout::listed) records it.
    List(Option<Cursor>),
    /// Create the wave's group. [`group_made`](Rollout::group_made).
    CreateGroup(String),
    /// Take the next targets: for each what [`Execution::take`] says, after the
    /// shadow of one that was taken before has been heard, and AWS asked about one
    /// that [may have ended](super::execution::Execution::may_have_ended); and [`Take::without`] of
    /// one that is no target any more; then into the group, if there is one.
    /// [`took`](Rollout::took).
    ///
    /// [`Execution::take`]: super::execution::Execution::take
    /// [`Take::without`]: super::execution::Take::without
    Take(Taking),
    /// Record that the job may exist; nothing is called.
    /// [`job_intended`](Rollout::job_intended).
    Intend,
    /// Create the wave's job. [`job_made`](Rollout::job_made).
    CreateJob(JobPlan),
    /// See how the job stands. [`described`](Rollout::described).
    Describe(String),
    /// Read all executions of the job, and the shadows of those who say they
    /// are done, and have each heard.
    /// [`rechecked`](Rollout::rechecked).
    Recheck(String),
    /// Cancel the job; one that is over, or was never made, is so already. It is
    /// done when AWS says CANCELED, for until then AWS may tell devices.
    /// [`canceled`](Rollout::canceled).
    Cancel(String, Force),
    /// Cancel what has begun of waves that are over, from this one on.
    /// [`forced`](Rollout::forced).
    CancelBegun(u32),
    /// Remove the wave's group. [`group_removed`](Rollout::group_removed).
    RemoveGroup(String),
}

/// Whether executions that have begun are cancelled too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Force(pub bool);

/// Which targets to take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taking {
    /// The wave.
    pub wave: u32,
    /// The group that they join.
    pub group: Option<String>,
    /// After this key.
    pub after: Option<Cursor>,
    /// Of those who joined later, only those listed before this moment:
    /// another, with a smaller key, may still be on its way.
    pub listed_before: Moment,
    /// At most so many.
    pub most: u64,
    /// Whom.
    pub again: Again,
}

/// What came of taking.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// How many targets were looked at.
    pub looked_at: u64,
    /// How many of them the wave has.
    pub taken: u64,
    /// How many no wave has come to before, those that have left included.
    pub first: u64,
    /// How many of those that the wave has joined the list later.
    pub late: u64,
    /// The last one looked at.
    pub last: Option<Cursor>,
    /// Whether the list ends there.
    pub end: bool,
}

/// A job to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPlan {
    /// Its id.
    pub job_id: String,
    /// Its group; without one its targets are the wave's devices.
    pub group: Option<String>,
    /// How fast.
    pub rate: Rate,
    /// AWS's timer for an execution that has begun.
    pub in_progress_minutes: InProgressMinutes,
    /// How often AWS repeats what failed or timed out.
    pub retries: Retries,
    /// How long a presigned URL is valid.
    pub url_seconds: UrlSeconds,
}

/// A job as AWS describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// How it stands.
    pub standing: Standing,
    /// How many executions AWS counts as ended.
    pub ended: u64,
}

/// How a job stands in AWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// SCHEDULED or `IN_PROGRESS`.
    Open,
    /// COMPLETED.
    Completed,
    /// CANCELED, being deleted, or not there.
    Canceled,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Work to do now.
    Do(Work),
    /// Nothing, until this moment or news.
    Wait(Moment),
    /// Its operator's turn, until this moment.
    AwaitOperator(Moment),
    /// It has ended.
    Ended,
}

impl Rollout {
    /// What comes next, after [`settle`](Self::settle).
    pub fn next(&self, now: Moment) -> Next {
        let waits = self.paused.is_some() || self.wants_pause;
        match (self.phase, &self.wave) {
            (Phase::Done | Phase::Stopped, _) => Next::Ended,
            (Phase::Listing, _) => Next::Do(Work::List(self.cursor.clone())),
            (Phase::Filling, Some(wave)) => Next::Do(self.fill(wave, now)),
            (Phase::Starting, Some(_)) if waits => Next::AwaitOperator(self.ends_at),
            (Phase::Starting, Some(wave)) => self.begin(wave, now),
            (Phase::Running, Some(wave)) => self.watch(wave, now),
            (Phase::Closing, Some(wave)) => self.end_work(wave),
            (Phase::Between, _) if self.wants_stop => {
                Next::Do(Work::CancelBegun(self.forced_up_to + 1))
            }
            (Phase::Between, _) if waits || self.awaits_approval() => {
                Next::AwaitOperator(self.ends_at)
            }
            _ if self.walked() => Next::Wait(self.ends_at),
            _ => Next::Wait(self.fills_at(now).min(self.ends_at)),
        }
    }

    fn fill(&self, wave: &Wave, now: Moment) -> Work {
        let name = self.rollout_id.of_wave(wave.number);
        let group = (!wave.direct()).then_some(name);
        match group {
            Some(name) if wave.group != Made::Yes => Work::CreateGroup(name),
            group => Work::Take(Taking {
                wave: wave.number,
                group,
                after: self.cursor.clone(),
                listed_before: now.minus_millis(FRESH_MILLIS),
                most: wave.most - wave.taken,
                again: self.again.clone(),
            }),
        }
    }

    fn begin(&self, wave: &Wave, now: Moment) -> Next {
        let begins = self.fills_at(now);
        if wave.job == Made::Maybe || now >= begins {
            Next::Do(match wave.job {
                Made::No => Work::Intend,
                _ => Work::CreateJob(self.job(wave)),
            })
        } else {
            Next::Wait(begins.min(self.ends_at))
        }
    }

    fn job(&self, wave: &Wave) -> JobPlan {
        let name = self.rollout_id.of_wave(wave.number);
        JobPlan {
            group: (!wave.direct()).then(|| name.clone()),
            job_id: name,
            rate: self.rate(wave),
            in_progress_minutes: self.spec.in_progress_minutes,
            retries: self.spec.retries,
            url_seconds: self.spec.url_seconds,
        }
    }

    /// The rate of a wave; those who join later have their own.
    fn rate(&self, wave: &Wave) -> Rate {
        let usual = self.spec.rate;
        let late = self.looked_at > self.targets || self.all_late(wave);
        match self.spec.late_joiners {
            Some(rate) if late => Rate {
                per_minute: PerMinute::min(rate, usual.per_minute),
                growing: None,
            },
            _ => usual,
        }
    }

    fn watch(&self, wave: &Wave, now: Moment) -> Next {
        let job = self.rollout_id.of_wave(wave.number);
        if wave.recheck {
            Next::Do(Work::Recheck(job))
        } else if now >= wave.look_at {
            Next::Do(Work::Describe(job))
        } else {
            Next::Wait(wave.deadline.min(wave.look_at).min(self.ends_at))
        }
    }

    fn end_work(&self, wave: &Wave) -> Next {
        let name = self.rollout_id.of_wave(wave.number);
        if wave.job.there() {
            let force = self.force && wave.end == Some(End::Stopped);
            Next::Do(Work::Cancel(name, Force(force)))
        } else if wave.recheck {
            Next::Do(Work::Recheck(name))
        } else if wave.group.there() {
            Next::Do(Work::RemoveGroup(name))
        } else {
            // `settle` concludes it.
            Next::Wait(Moment(0))
        }
    }
}
