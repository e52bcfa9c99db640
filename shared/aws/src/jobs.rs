//! Jobs: given to many devices, wave after wave.
//!
//! The workflow calls [`step`](Jobs::step), which does what the rollout's row
//! says comes next until nothing is to be done but to wait. What is heard of
//! devices comes by [`receive`](Jobs::receive), what people want by
//! [`obey`](Jobs::obey); both end the workflow's wait when they change what
//! comes next. All change the one row by compare-and-swap.

mod begun;
mod counts;
mod document;
mod effects;
mod events;
mod existing;
mod joiners;
mod leaving;
mod listing;
mod on_enter;
mod rows;
mod start;
mod taking;
mod targets;
mod work;

use std::time::Duration;

use aws_config::SdkConfig;
use lamplighter_domain::Failure;
use lamplighter_domain::rollout::trail::Cause;
use lamplighter_domain::rollout::waiting::{self, MOST_STEPS};
use lamplighter_domain::rollout::{Command, Next, Phase, RolloutId};
use lamplighter_domain::time::Moment;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::job_views::{self, Kept};
use crate::table::Table;
use crate::{clock, setup, telemetry, workflows};

pub use events::{Batch, Failed, Failures};
use work::Worked;

/// No work begins with less time than this left to the invocation.
const WORK_MILLIS: u64 = 20_000;
/// What an invocation needs to answer.
const ANSWER_MILLIS: u64 = 500;

/// The clients and settings that jobs need.
pub struct Jobs {
    /// The registry.
    pub table: Table,
    /// Jobs, groups and things.
    pub iot: aws_sdk_iot::Client,
    /// Shadows.
    pub data: aws_sdk_iotdataplane::Client,
    /// What jobs have devices download.
    pub s3: aws_sdk_s3::Client,
    /// Workflows.
    pub sfn: aws_sdk_sfn::Client,
    /// Where those objects are.
    pub settings: Settings,
}

/// What the stack says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The workflow `rollout`.
    pub workflow_arn: String,
    /// The bucket whose objects devices may be sent to.
    pub bucket: String,
    /// The role by which AWS IoT makes URLs of them.
    pub presign_role_arn: String,
    /// The Region of all this.
    pub region: String,
    /// What precedes a thing's or a group's kind in its ARN.
    pub arn_prefix: String,
}

/// What the workflow asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The job.
    pub rollout_id: RolloutId,
    /// Which of its executions asks.
    pub run: u32,
    /// Set when the workflow is about to wait: what wakes it.
    #[serde(default)]
    pub task_token: Option<String>,
}

/// What the workflow is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Answer {
    /// Wait for news, so many seconds at most, then call again.
    Await {
        /// At least 1.
        seconds: u64,
    },
    /// Call again after so many seconds.
    Again {
        /// At least 1.
        seconds: u64,
    },
    /// Nothing more is to be done by this execution.
    Ended {
        /// Where the job stands.
        phase: Phase,
    },
}

impl Jobs {
    /// What the stack gives its jobs.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            table: Table::from_env(sdk)?,
            iot: aws_sdk_iot::Client::new(sdk),
            data: aws_sdk_iotdataplane::Client::new(sdk),
            s3: setup::s3(sdk),
            sfn: aws_sdk_sfn::Client::new(sdk),
            settings: Settings {
                workflow_arn: setup::required("ROLLOUT_WORKFLOW_ARN")?,
                bucket: setup::required("JOB_BUCKET")?,
                presign_role_arn: setup::required("PRESIGN_ROLE_ARN")?,
                region: setup::required("AWS_REGION")?,
                arn_prefix: setup::required("IOT_ARN_PREFIX")?,
            },
        })
    }

    /// One call by the workflow: works until nothing is left to do but to wait.
    /// `deadline` is when this invocation is certain to have ended.
    pub async fn step(&self, step: &Step, deadline: Moment) -> Result<Answer, Failure> {
        let id = &step.rollout_id;
        let seen = self.named(id).await?;
        // A later execution has taken over, or it has ended.
        if seen.run != step.run || seen.rollout.phase.ended() {
            if let Some(token) = &step.task_token {
                workflows::wake(&self.sfn, token).await?;
            }
            let phase = seen.rollout.phase;
            return Ok(Answer::Ended { phase });
        }
        if let Some(token) = &step.task_token {
            return self.wait(id, token).await;
        }
        if seen.steps >= MOST_STEPS {
            let next = self.hand_over(id).await?;
            let phase = next.rollout.phase;
            return Ok(Answer::Ended { phase });
        }
        self.change(id, |mut kept| {
            kept.rollout = kept.rollout.lease(clock::now(), deadline)?;
            kept.steps += 1;
            Ok(kept)
        })
        .await?;
        let worked = self.work(id, deadline).await;
        let waits_until = match &worked {
            Ok((_, waits_until)) => *waits_until,
            Err(_) => None,
        };
        self.give_back(id, waits_until, deadline).await;
        worked.map(|(answer, _)| answer)
    }

    /// What the workflow is told, and until when it waits, if it does.
    async fn work(
        &self,
        id: &RolloutId,
        deadline: Moment,
    ) -> Result<(Answer, Option<Moment>), Failure> {
        loop {
            let kept = self.settled(id).await?;
            let now = clock::now();
            let work = match kept.rollout.next(now) {
                Next::Ended => {
                    let phase = kept.rollout.phase;
                    return Ok((Answer::Ended { phase }, None));
                }
                Next::Wait(until) | Next::AwaitOperator(until) => {
                    let seconds = waiting::seconds(now, until);
                    let answer = Answer::Await { seconds };
                    return Ok((answer, Some(waiting::told(now, until))));
                }
                Next::Do(work) => work,
            };
            if now.until(deadline) < WORK_MILLIS {
                return Ok((Answer::Again { seconds: 1 }, None));
            }
            if let Worked::Later(seconds) = self.perform(&kept, &work).await? {
                return Ok((Answer::Again { seconds }, None));
            }
        }
    }

    /// The row after what needs no work was decided.
    async fn settled(&self, id: &RolloutId) -> Result<Kept, Failure> {
        let kept = self.named(id).await?;
        let tally = job_views::tally(&self.table, &kept.rollout).await?;
        let joined = self.joined(&kept.rollout).await?;
        self.change_by(Cause::Course(&tally), id, |mut kept| {
            kept.rollout = kept.rollout.settle(&tally, joined, clock::now());
            Ok(kept)
        })
        .await
    }

    /// Gives the lease back; where there is no time for it or it fails, the lease
    /// ends with this invocation.
    async fn give_back(&self, id: &RolloutId, waits_until: Option<Moment>, deadline: Moment) {
        let left = clock::now().until(deadline).saturating_sub(ANSWER_MILLIS);
        let released = self.change(id, |mut kept| {
            kept.rollout = kept.rollout.release(waits_until);
            Ok(kept)
        });
        let released = tokio::time::timeout(Duration::from_millis(left), released);
        if let Ok(Err(failure)) = released.await {
            telemetry::failed(&failure);
        }
    }

    /// The workflow is about to wait. Should something have come meanwhile, it
    /// is woken at once.
    async fn wait(&self, id: &RolloutId, token: &str) -> Result<Answer, Failure> {
        let kept = self
            .change(id, |mut kept| {
                kept.rollout.task_token = Some(token.to_owned());
                Ok(kept)
            })
            .await?;
        self.wake_if_due(&kept).await?;
        Ok(Answer::Await { seconds: 1 })
    }

    /// Ends the workflow's wait, if something is to be done now, or earlier than
    /// the workflow knows.
    async fn wake_if_due(&self, kept: &Kept) -> Result<(), Failure> {
        let Some(token) = &kept.rollout.task_token else {
            return Ok(());
        };
        let tally = job_views::tally(&self.table, &kept.rollout).await?;
        let joined = self.joined(&kept.rollout).await?;
        if kept.rollout.due(&tally, joined, clock::now()) {
            workflows::wake(&self.sfn, token).await?;
        }
        Ok(())
    }

    /// Does what somebody asks for, whom its trail names; asked twice, it is done
    /// once.
    pub async fn obey(&self, id: &RolloutId, command: Command, by: &str) -> Result<Value, Failure> {
        let now = clock::now();
        let kept = self
            .change_by(Cause::Told(command, by), id, |mut kept| {
                let change = kept.rollout.obey(command, now)?;
                if command.replaces_workflow(change) && !kept.rollout.phase.ended() {
                    kept.run += 1;
                    kept.steps = 0;
                }
                Ok(kept)
            })
            .await?;
        if command == Command::Retry {
            // Those who join are heard of as long as it goes on, which is longer now.
            let order = self.order(id).await?;
            self.follow(&kept.rollout, &order).await?;
        }
        if !kept.rollout.phase.ended() {
            self.run(&kept).await?;
        }
        // Whoever begins to wait after this change sees it.
        if let Some(token) = &kept.rollout.task_token {
            workflows::wake(&self.sfn, token).await?;
        }
        job_views::job(&self.table, id, clock::now()).await
    }

    /// Starts the execution of the job's newest run. Repeated, it is the same.
    async fn run(&self, kept: &Kept) -> Result<(), Failure> {
        let (id, run) = (kept.rollout.rollout_id.as_str(), kept.run);
        let input = json!({ "rolloutId": id, "run": run }).to_string();
        let names = [format!("{id}-{run}")];
        workflows::start(&self.sfn, &self.settings.workflow_arn, names, &input).await
    }

    async fn hand_over(&self, id: &RolloutId) -> Result<Kept, Failure> {
        let next = self
            .change(id, |mut kept| {
                kept.run += 1;
                kept.steps = 0;
                Ok(kept)
            })
            .await?;
        self.run(&next).await?;
        Ok(next)
    }
}
