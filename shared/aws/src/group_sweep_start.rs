//! Starts the sweep that follows when definitions of dynamic groups have changed.

use aws_config::SdkConfig;
use lamplighter_domain::Failure;
use serde_json::json;

use crate::{setup, workflows};

/// What starts sweeps.
#[derive(Clone)]
pub struct Starter {
    /// The client.
    pub sfn: aws_sdk_sfn::Client,
    /// The workflow `sweep-groups`.
    pub workflow_arn: String,
    /// For how many seconds it waits first.
    pub settle_seconds: u64,
}

impl Starter {
    /// The stack's own workflow.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        let seconds = setup::required("GROUP_SWEEP_SETTLE_SECONDS")?;
        Ok(Self {
            sfn: aws_sdk_sfn::Client::new(sdk),
            workflow_arn: setup::required("SWEEP_GROUPS_WORKFLOW_ARN")?,
            settle_seconds: seconds.parse().map_err(|_| {
                Failure::bug(format!(
                    "GROUP_SWEEP_SETTLE_SECONDS is {seconds:?}, no number"
                ))
            })?,
        })
    }

    /// Starts the sweep of a version; repeated, it is the same one.
    ///
    /// # Errors
    /// `Busy` when it can be tried again.
    pub async fn start(&self, version: u64) -> Result<(), Failure> {
        let input = json!({ "version": version, "settleSeconds": self.settle_seconds });
        let name = [format!("definitions-{version}")];
        workflows::start(&self.sfn, &self.workflow_arn, name, &input.to_string()).await
    }
}
