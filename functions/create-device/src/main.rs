//! Creates devices. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::create::Creator;
use lamplighter_aws::replies::Replies;
use lamplighter_aws::{setup, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let creator = Creator::from_env(&sdk)?;
    let replies = Replies::new(&sdk);
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&creator, &replies, event)
    }))
    .await
}
