//! Renewal: carries a rotation on, as far as it can go without the device.
//!
//! The workflow calls [`step`](Renewals::step) and waits as long as it is
//! told; what a device sends comes by [`hear`](Renewals::hear) and wakes the
//! workflow. Both change the one row by compare-and-swap, through the domain's
//! transitions, so either may come twice, late or beside the other
//! (invariant 6).

mod device;
mod effects;
mod jobs;
mod rows;
mod safe;
mod start;

use std::time::Duration;

use aws_config::SdkConfig;
use lamplighter_domain::due::RenewalAge;
use lamplighter_domain::names::{OperationId, SweepId, ThingName};
use lamplighter_domain::rotation::{KeyMadeHere, Messenger, Next, Phase, Windows};
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};
use serde::{Deserialize, Serialize};

use crate::issuer::Issuers;
use crate::table::Table;
use crate::things::Things;
use crate::{clock, journal, setup, telemetry, workflows};

pub use device::Presence;
pub use safe::Safe;
pub use start::Started;

use rows::Beginning;

/// No work begins with less time than this left to the invocation: an AWS call
/// ends within 9 s, retries included (`setup`), and the lease is given back then.
const WORK_MILLIS: u64 = 11_000;
/// What an invocation needs to answer.
const ANSWER_MILLIS: u64 = 500;

/// The clients and settings that a renewal works with.
pub struct Renewals {
    /// The registry.
    pub table: Table,
    /// Things and certificates.
    pub things: Things,
    /// Where devices are told.
    pub data: aws_sdk_iotdataplane::Client,
    /// Workflows.
    pub sfn: aws_sdk_sfn::Client,
    /// The workflow that waits for the device.
    pub workflow_arn: String,
    /// What signs certificates.
    pub issuers: Issuers,
    /// Who tells devices that their certificates are due.
    pub messenger: Messenger,
    /// Where keys made here are kept.
    pub safe: Safe,
    /// What becomes of them once their devices have proved them.
    pub proved_keys: KeyMadeHere,
    /// How long a rotation's parts may take.
    pub windows: Windows,
    /// At what age certificates of AWS IoT's own authority are renewed.
    pub renewal_age: RenewalAge,
    /// What precedes a certificate's id in its ARN.
    pub certificate_arn_prefix: String,
    /// The same of a thing's name.
    pub thing_arn_prefix: String,
}

/// What the workflow asks.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// The rotation.
    pub rotation_id: OperationId,
    /// The device.
    pub thing_name: ThingName,
    /// The sweep that started it.
    #[serde(default)]
    pub sweep_id: Option<SweepId>,
    /// Set when the workflow is about to wait: what wakes it.
    #[serde(default)]
    pub task_token: Option<String>,
}

/// What the workflow is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "status", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Answer {
    /// Wait for the device, so many seconds at most, then call again.
    AwaitDevice {
        /// At least 1.
        seconds: u64,
    },
    /// Call again after so many seconds.
    Sleep {
        /// At least 1.
        seconds: u64,
    },
    /// The rotation has ended.
    Ended {
        /// How.
        phase: Phase,
    },
}

impl Renewals {
    /// What the stack gives a renewal.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        let (table, things) = (Table::from_env(sdk)?, Things::new(sdk));
        Ok(Self {
            issuers: Issuers::from_env(sdk, &table, &things)?,
            renewal_age: setup::renewal_age()?,
            messenger: setup::messenger()?,
            safe: Safe::from_env(sdk)?,
            proved_keys: match setup::required("RETAIN_KEYS")?.as_str() {
                "true" => KeyMadeHere::Left,
                _ => KeyMadeHere::Purged,
            },
            table,
            things,
            data: aws_sdk_iotdataplane::Client::new(sdk),
            sfn: aws_sdk_sfn::Client::new(sdk),
            workflow_arn: setup::required("ROTATE_WORKFLOW_ARN")?,
            windows: setup::rotation_windows()?,
            certificate_arn_prefix: setup::required("CERTIFICATE_ARN_PREFIX")?,
            thing_arn_prefix: setup::required("THING_ARN_PREFIX")?,
        })
    }

    /// One call by the workflow: works until it is the device's turn, or AWS's,
    /// or the end. `deadline` is when this invocation is certain to have ended.
    pub async fn step(&self, step: &Step, deadline: Moment) -> Result<Answer, Failure> {
        if let Some(token) = &step.task_token {
            return self.wait(step, token).await;
        }
        let beginning = Beginning {
            sweep: step.sweep_id.as_ref(),
            ..Beginning::default()
        };
        match self
            .begin(&step.thing_name, &step.rotation_id, &beginning)
            .await
        {
            Ok(rotation) if rotation.phase.ended() => {
                // One that was fenced could not take its job back itself.
                if rotation.by_job() {
                    self.recall(&step.rotation_id).await?;
                }
                return Ok(Answer::Ended {
                    phase: rotation.phase,
                });
            }
            Ok(_) => {}
            // The device went, or this rotation belongs to the past.
            Err(gone) if matches!(gone.kind, Kind::NotFound | Kind::Conflict) => {
                telemetry::failed(&gone);
                self.recall(&step.rotation_id).await?;
                return Ok(Answer::Ended {
                    phase: Phase::Fenced,
                });
            }
            Err(failure) => return Err(failure),
        }
        let mut rotation = self
            .change(step, |row| row.lease(clock::now(), deadline))
            .await?;
        // What this invocation has not begun itself, an earlier one may have.
        let mut repeated = true;
        loop {
            let now = clock::now();
            let work = match rotation.next() {
                Next::Do(work) if now.until(deadline) >= WORK_MILLIS => work,
                // Its turn, or too late for a work: called again, it has time.
                next => {
                    self.give_back(step, deadline).await;
                    return Ok(answer(&next, rotation.phase, now));
                }
            };
            let made = self.perform(&rotation, &work, repeated).await;
            let done = match made {
                Ok(made) => self.finish(step, &work, made).await,
                Err(failure) => Err(failure),
            };
            match done {
                Ok(next) => rotation = next,
                Err(failure) => {
                    self.give_back(step, deadline).await;
                    return Err(failure);
                }
            }
            repeated = false;
        }
    }

    /// Gives the lease back; where there is no time for it or it fails, the lease
    /// ends with this invocation.
    async fn give_back(&self, step: &Step, deadline: Moment) {
        let left = clock::now().until(deadline).saturating_sub(ANSWER_MILLIS);
        let released = self.change(step, |row| Ok(row.release()));
        let released = tokio::time::timeout(Duration::from_millis(left), released);
        if let Ok(Err(failure)) = released.await {
            telemetry::failed(&failure);
        }
    }

    /// The workflow is about to wait. Should something have come meanwhile, it
    /// is woken at once: a message that comes before the wait is not lost.
    async fn wait(&self, step: &Step, token: &str) -> Result<Answer, Failure> {
        let row = self
            .change(step, |mut row| {
                row.task_token = Some(token.to_owned());
                Ok(row)
            })
            .await?;
        let next = row.clone().settle(clock::now()).next();
        if !matches!(next, Next::AwaitDevice(_)) {
            self.wake(token).await?;
        }
        Ok(answer(&next, row.phase, clock::now()))
    }

    /// Ends the workflow's wait.
    async fn wake(&self, token: &str) -> Result<(), Failure> {
        workflows::wake(&self.sfn, token).await
    }
}

fn answer(next: &Next, phase: Phase, now: Moment) -> Answer {
    let seconds = |until: &Moment| now.until(*until).div_ceil(1000).max(1);
    match next {
        Next::AwaitDevice(until) => Answer::AwaitDevice {
            seconds: seconds(until),
        },
        Next::Sleep(until) => Answer::Sleep {
            seconds: seconds(until),
        },
        Next::Do(_) => Answer::Sleep { seconds: 1 },
        Next::Ended => Answer::Ended { phase },
    }
}
