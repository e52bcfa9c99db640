//! From a batch of the queue to the devices' groups; what failed is reported
//! message by message. From the workflow's steps to all devices, and back.

use lamplighter_aws::failure::Reported;
use lamplighter_aws::group_sweep::Step;
use lamplighter_aws::groups::Groups;
use lamplighter_aws::queue::Batch;
use lamplighter_aws::telemetry;
use lamplighter_domain::{Failure, fields};
use serde_json::{Value, json};

/// Answers one event, whichever trigger it came by.
pub(crate) async fn handle(groups: &Groups, event: Value) -> Result<Value, Reported> {
    let answer = async {
        if event["Records"].is_array() {
            let remedy = "Send the queue's batches.";
            let batch: Batch = fields::event(event, "no batch of messages", remedy)?;
            return Ok(json!(groups.batch(batch).await));
        }
        Ok::<_, Failure>(json!(groups.sweep(step(event)?).await?))
    }
    .await;
    Ok(answer.inspect_err(telemetry::failed)?)
}

fn step(event: Value) -> Result<Step, Failure> {
    let remedy = "Send {\"sweep\": \"BEGIN\", \"PAGE\" or \"END\", \"version\": …, \"shard\"?: …}.";
    fields::event(event, "no step of a sweep", remedy)
}
