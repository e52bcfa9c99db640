//! The job that carries a rotation's word to renew.

use aws_sdk_iot::types::{JobEndBehavior, SchedulingConfig, TimeoutConfig};
use lamplighter_domain::Failure;
use lamplighter_domain::names::OperationId;
use lamplighter_domain::rotation::Rotation;
use lamplighter_domain::rotation::job::job_id;

use super::Renewals;
use crate::clock;
use crate::describe::found;
use crate::failure::{self, Cause};

impl Renewals {
    /// Makes the job. One that is there was made by an earlier invocation, and
    /// without its thing there is nobody to be told.
    pub(super) async fn post(&self, rotation: &Rotation) -> Result<(), Failure> {
        let order = rotation.order(clock::now());
        let schedule = SchedulingConfig::builder()
            .end_time(order.ends_at)
            .end_behavior(JobEndBehavior::ForceCancel);
        let timeout = TimeoutConfig::builder().in_progress_timeout_in_minutes(order.most_minutes);
        let answer = self
            .things
            .iot
            .create_job()
            .job_id(order.job_id)
            .targets(format!("{}{}", self.thing_arn_prefix, rotation.thing_name))
            .document(order.document)
            .description("Tells a device that its certificate is due.")
            .scheduling_config(schedule.build())
            .timeout_config(timeout.build())
            .send()
            .await;
        match answer {
            Err(error) => match failure::cause(&error) {
                Cause::Conflict | Cause::NotFound => Ok(()),
                _ => Err(failure::of("iot:CreateJob", &error)),
            },
            Ok(_) => Ok(()),
        }
    }

    /// Takes the job of a rotation back, whatever has become of it.
    pub(super) async fn recall(&self, rotation: &OperationId) -> Result<(), Failure> {
        self.cancel_job(rotation).await?;
        self.delete_job(rotation).await
    }

    /// Cancels it, also where the device is at it: the device is told, which it
    /// is not of a job that is deleted. One that has ended is refused.
    pub(super) async fn cancel_job(&self, rotation: &OperationId) -> Result<(), Failure> {
        let request = self.things.iot.cancel_job().job_id(job_id(rotation));
        let answer = request
            .force(true)
            .comment("The rotation is over.")
            .send()
            .await;
        match answer {
            Err(error) if failure::cause(&error) == Cause::Refused => Ok(()),
            answer => found("iot:CancelJob", answer).map(drop),
        }
    }

    /// Deletes it. AWS takes its time over that, and refuses to be asked twice.
    pub(super) async fn delete_job(&self, rotation: &OperationId) -> Result<(), Failure> {
        let request = self.things.iot.delete_job().job_id(job_id(rotation));
        match request.force(true).send().await {
            Err(error) if failure::cause(&error) == Cause::Conflict => Ok(()),
            answer => found("iot:DeleteJob", answer).map(drop),
        }
    }
}
