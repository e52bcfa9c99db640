//! One piece of work, done and recorded.

use lamplighter_domain::rollout::{JobPlan, Rollout, RolloutId, Standing, Work};
use lamplighter_domain::{Failure, Kind};

use super::Jobs;
use super::effects::Refused;
use crate::clock;
use crate::job_views::{self, Kept};

/// What came of a work.
pub(super) enum Worked {
    /// It is done and recorded.
    Done,
    /// It needs so many seconds, in AWS or elsewhere.
    Later(u64),
}

/// When a group is looked at again whose definition has changed after the job
/// began.
const BUILDING_SECONDS: u64 = 10;
/// How long AWS is given between two looks at a job that is being cancelled.
const CANCELING_SECONDS: u64 = 2;

impl Jobs {
    /// Does one work and records that it is done.
    pub(super) async fn perform(&self, kept: &Kept, work: &Work) -> Result<Worked, Failure> {
        let rollout = &kept.rollout;
        let id = &rollout.rollout_id;
        match work {
            Work::List(after) => {
                let Some(listed) = self.list(rollout, after.as_ref()).await? else {
                    return Ok(Worked::Later(BUILDING_SECONDS));
                };
                self.record(id, |r| {
                    let last = listed.next.clone();
                    let end = listed.next.is_none();
                    r.listed(listed.count, last, end, clock::now())
                        .leaving_out(listed.left_out)
                })
                .await?;
            }
            Work::CreateGroup(name) => {
                let made = self.create_group(name, id).await?;
                self.recorded(id, made, Rollout::group_made).await?;
            }
            Work::Take(taking) => match self.take(rollout, taking).await? {
                Ok(taken) => self.record(id, |r| r.took(&taken)).await?,
                Err(Refused(why)) => self.record(id, |r| r.refused(&why)).await?,
            },
            Work::Intend => self.record(id, Rollout::job_intended).await?,
            Work::CreateJob(plan) => self.make_job(rollout, plan).await?,
            Work::Describe(job) => {
                let seen = self.describe(job).await?;
                let tally = job_views::tally(&self.table, rollout).await?;
                self.record(id, |r| r.described(seen.described, &tally, clock::now()))
                    .await?;
            }
            Work::Recheck(job) => self.recheck(kept, job).await?,
            Work::Cancel(job, force) => {
                let mut seen = self.describe(job).await?;
                if seen.described.standing == Standing::Open {
                    self.cancel(job, *force).await?;
                    seen = self.describe(job).await?;
                }
                // Until AWS has cancelled all, it may tell devices.
                if seen.busy || seen.described.standing == Standing::Open {
                    return Ok(Worked::Later(CANCELING_SECONDS));
                }
                self.record(id, Rollout::canceled).await?;
            }
            Work::CancelBegun(from) => match self.cancel_begun(rollout, *from).await? {
                Some(wave) => self.record(id, |r| r.forced(wave)).await?,
                None => return Ok(Worked::Later(CANCELING_SECONDS)),
            },
            Work::RemoveGroup(name) => {
                self.remove_group(name, id).await?;
                self.record(id, Rollout::group_removed).await?;
            }
        }
        Ok(Worked::Done)
    }

    async fn make_job(&self, rollout: &Rollout, plan: &JobPlan) -> Result<(), Failure> {
        let made = self.create_job(rollout, plan).await?;
        let now = clock::now();
        self.recorded(&rollout.rollout_id, made, |r| r.job_made(now))
            .await
    }

    /// Reads a page of a job's executions and has each heard; what is left is
    /// read by the next call.
    async fn recheck(&self, kept: &Kept, job: &str) -> Result<(), Failure> {
        let rollout = &kept.rollout;
        let token = kept.read_on.clone();
        let (next, read) = match self.read_executions(rollout, job, token).await {
            Ok(next) => (next.clone(), next.is_none()),
            // It begins anew, where AWS does not take its own token.
            Err(failure) if failure.kind == Kind::Invalid && kept.read_on.is_some() => {
                (None, false)
            }
            Err(failure) => return Err(failure),
        };
        self.change(&rollout.rollout_id, |mut now| {
            if now.rollout.reads_on(rollout) {
                now.read_on.clone_from(&next);
                if read {
                    now.rollout = now.rollout.rechecked();
                }
            }
            Ok(now)
        })
        .await
        .map(drop)
    }

    async fn recorded(
        &self,
        id: &RolloutId,
        made: Result<(), Refused>,
        to: impl Fn(Rollout) -> Rollout,
    ) -> Result<(), Failure> {
        match made {
            Ok(()) => self.record(id, to).await,
            Err(Refused(why)) => self.record(id, |r| r.refused(&why)).await,
        }
    }

    async fn record(&self, id: &RolloutId, to: impl Fn(Rollout) -> Rollout) -> Result<(), Failure> {
        let changed = self.change(id, |mut kept| {
            kept.rollout = to(kept.rollout);
            Ok(kept)
        });
        changed.await.map(drop)
    }
}
