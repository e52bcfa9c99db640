//! Opens, rotates, closes, lists and watches tunnels. Clients are built once,
//! here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::tunnels::Tunnels;
use lamplighter_aws::{setup, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let tunnels = Tunnels::from_env(&sdk)?;
    run(service_fn(async |event: LambdaEvent<Value>| {
        handler::handle(&tunnels, event.payload).await
    }))
    .await
}
