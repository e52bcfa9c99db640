//! Responds to compromise. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::compromise::Cases;
use lamplighter_aws::stops::Stops;
use lamplighter_aws::{setup, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let (cases, stops) = (Cases::from_env(&sdk)?, Stops::from_env(&sdk)?);
    run(service_fn(async |event: LambdaEvent<Value>| {
        handler::handle(&cases, &stops, event.payload).await
    }))
    .await
}
