//! Plans sweeps. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::sweeps::Sweeps;
use lamplighter_aws::{setup, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sweeps = Sweeps::from_env(&setup::sdk().await)?;
    run(service_fn(async |event: LambdaEvent<Value>| {
        handler::handle(&sweeps, event.payload).await
    }))
    .await
}
