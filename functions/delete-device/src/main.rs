//! Removes devices. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::delete::Deletion;
use lamplighter_aws::telemetry;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let deletion = Deletion::from_env().await?;
    run(service_fn(async |event: LambdaEvent<Value>| {
        handler::handle(&deletion, event.payload).await
    }))
    .await
}
