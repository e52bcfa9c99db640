//! Dispatches jobs. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::jobs::Jobs;
use lamplighter_aws::{setup, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let jobs = Jobs::from_env(&setup::sdk().await)?;
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&jobs, event)
    }))
    .await
}
