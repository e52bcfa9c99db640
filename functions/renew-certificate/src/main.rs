//! Renews certificates. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::renewal::Renewals;
use lamplighter_aws::{setup, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let renewals = Renewals::from_env(&sdk)?;
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&renewals, event)
    }))
    .await
}
