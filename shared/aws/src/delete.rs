//! Deletion: look at everything, do what the domain says, look again.
//!
//! An invocation works for a few rounds and then answers PENDING; the workflow
//! waits and calls again. At most one invocation works at a time, by a lease;
//! no effect starts so late that it could end after the lease. So whatever a
//! killed or frozen invocation had under way is over before the next one looks,
//! and nothing of an old deletion can hit a device made anew under the name.

use std::time::Duration;

use lamplighter_domain::Failure;
use lamplighter_domain::delete::{self as plan, DeleteProgress, ProofLine};
use lamplighter_domain::names::{OperationId, ThingName};
use lamplighter_domain::operation::{Operation, OperationKind, OperationStatus};
use lamplighter_domain::time::Moment;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::links::Links;
use crate::table::Table;
use crate::{clock, setup};

mod certificates;
mod claim;
mod effects;
mod observe;
mod registry;

pub use claim::Claimed;
use registry::Held;

/// For how long an invocation holds the operation.
const LEASE_MILLIS: u64 = 16_000;
/// No effect starts later than this after the lease was taken. An AWS call ends
/// within 9 s, retries included (`setup`), so all have ended with the lease.
const EFFECTS_MILLIS: u64 = 6_000;
/// How many times an invocation acts before it leaves AWS in peace.
const ROUNDS: u32 = 3;
/// An invocation that has worked for this long answers PENDING: the function
/// has 60 s, and a look takes some.
const BUDGET: Duration = Duration::from_secs(30);
/// Between rounds, while AWS settles.
const PAUSE: Duration = Duration::from_millis(700);

/// The clients and names that a deletion works with.
#[derive(Clone)]
pub struct Deletion {
    /// The registry.
    pub table: Table,
    /// What leads to all that is to go.
    pub links: Links,
    /// Workflows.
    pub sfn: aws_sdk_sfn::Client,
    /// The workflow that calls until AWS has settled.
    pub workflow_arn: String,
}

/// What the workflow asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The deletion.
    pub operation_id: OperationId,
    /// The device.
    pub thing_name: ThingName,
    /// Set when the workflow gives up: the name of the error that ended it.
    #[serde(default)]
    pub failed: Option<String>,
}

/// What the workflow is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "UPPERCASE")]
pub enum Answer {
    /// Nothing is left, and that is proven.
    Done,
    /// Given up, as asked; what is left stands in the proof.
    Failed,
    /// Call again.
    Pending {
        /// After how many seconds.
        #[serde(rename = "retryAfterSeconds")]
        retry_after_seconds: u64,
    },
}

impl Deletion {
    /// Builds the clients, and reads the names from the environment.
    pub async fn from_env() -> Result<Self, Failure> {
        let sdk = setup::sdk().await;
        Ok(Self {
            table: Table::from_env(&sdk)?,
            links: Links::from_env(&sdk)?,
            sfn: aws_sdk_sfn::Client::new(&sdk),
            workflow_arn: setup::required("DELETE_WORKFLOW_ARN")?,
        })
    }

    /// One call by the workflow. It may come twice, late, or beside another.
    pub async fn step(&self, step: &Step) -> Result<Answer, Failure> {
        let Some(operation) = self.operation(&step.operation_id).await? else {
            return Err(Failure::not_found(
                "operationId",
                format!("there is no operation {}", step.operation_id),
                "Use the operationId that the deletion answered with.",
            ));
        };
        if operation.kind != OperationKind::Delete || operation.thing_name != step.thing_name {
            return Err(Failure::invalid(
                "operationId",
                format!(
                    "{} is not a deletion of {}",
                    step.operation_id, step.thing_name
                ),
                "Start the workflow by DELETE /devices/{thingName}.",
            ));
        }
        match operation.status {
            OperationStatus::Done => return Ok(Answer::Done),
            OperationStatus::Running => {}
            _ => return Ok(Answer::Failed),
        }
        let now = clock::now();
        let held = match self
            .hold(&operation, now, now.plus_millis(LEASE_MILLIS))
            .await?
        {
            Some(held) => held,
            // The workflow does not heed an answer when it gives up, but retries an error.
            None if step.failed.is_some() => {
                return Err(Failure::busy(
                    "another invocation is at work",
                    seconds_left(&operation, now),
                ));
            }
            None => {
                return Ok(Answer::Pending {
                    retry_after_seconds: seconds_left(&operation, now),
                });
            }
        };
        match &step.failed {
            None => Box::pin(self.work(held)).await,
            Some(named) => Box::pin(self.give_up(held, named)).await,
        }
    }

    /// Works for some rounds, and lets go of the operation however that ends.
    async fn work(&self, mut held: Held) -> Result<Answer, Failure> {
        let ended = self.rounds(&mut held).await;
        if let Ok(Answer::Done) = ended {
            return Ok(Answer::Done);
        }
        if let Err(failure) = &ended {
            held.progress.hindrance = Some(failure.clone());
        }
        let gone = self.let_go(&held).await;
        let answer = ended?;
        gone?;
        Ok(answer)
    }

    async fn rounds(&self, held: &mut Held) -> Result<Answer, Failure> {
        let started = Instant::now();
        for round in 0.. {
            let look = Box::pin(self.observe(&held.operation.thing_name, &held.progress)).await?;
            held.progress.remember(&look.seen);
            held.proof = plan::proof(&look.seen, &held.progress);
            let stages = plan::effects(&look.seen, &held.progress);
            if stages.is_empty() && plan::is_clear(&held.proof) {
                return Ok(if self.commit(held, &look, clock::now()).await? {
                    Answer::Done
                } else {
                    Answer::Pending {
                        retry_after_seconds: 1,
                    }
                });
            }
            if stages.is_empty() || round == ROUNDS || started.elapsed() > BUDGET {
                break;
            }
            let now = clock::now();
            if !self.renew(held, now.plus_millis(LEASE_MILLIS)).await? {
                return Ok(Answer::Pending {
                    retry_after_seconds: 1,
                });
            }
            let until = now.plus_millis(EFFECTS_MILLIS);
            let settled = Box::pin(self.execute(held, stages, until)).await?;
            if !settled || round > 0 {
                tokio::time::sleep(PAUSE * (round + 1)).await;
            }
        }
        Ok(Answer::Pending {
            retry_after_seconds: patience(held.operation.attempt),
        })
    }

    /// Looks once more, and records what is left. Nothing is done to it.
    async fn give_up(&self, mut held: Held, named: &str) -> Result<Answer, Failure> {
        match Box::pin(self.observe(&held.operation.thing_name, &held.progress)).await {
            Ok(look) => {
                held.progress.remember(&look.seen);
                held.proof = plan::proof(&look.seen, &held.progress);
                let nothing_left = plan::effects(&look.seen, &held.progress).is_empty()
                    && plan::is_clear(&held.proof);
                if nothing_left && self.commit(&held, &look, clock::now()).await? {
                    return Ok(Answer::Done);
                }
            }
            // What hinders the deletion may hinder the look as well; the last
            // proof stands in the operation.
            Err(failure) => held.progress.hindrance = Some(failure),
        }
        let failure = plan::given_up(named, &held.progress, &held.proof);
        crate::telemetry::failed(&failure);
        self.fail(&held, &failure, clock::now()).await?;
        Ok(Answer::Failed)
    }
}

fn seconds_left(operation: &Operation, now: Moment) -> u64 {
    now.until(operation.lease_until).div_ceil(1000).max(1)
}

/// Longer with every invocation, up to a minute: AWS settles in seconds as a
/// rule, and in minutes at its worst.
fn patience(attempt: u64) -> u64 {
    (1 << attempt.min(6)).min(60)
}

impl Held {
    fn new(operation: Operation) -> Self {
        let progress: DeleteProgress = operation.deletion.clone().unwrap_or_default();
        let proof: Vec<ProofLine> = operation.proof.clone();
        Self {
            operation,
            progress,
            proof,
        }
    }
}
