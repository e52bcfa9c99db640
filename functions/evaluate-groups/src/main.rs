//! Keeps dynamic groups. Clients are built once, here, and the definitions are
//! kept between batches; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::groups::Groups;
use lamplighter_aws::{setup, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let groups = Groups::from_env(&setup::sdk().await)?;
    run(service_fn(async |event: LambdaEvent<Value>| {
        handler::handle(&groups, event.payload).await
    }))
    .await
}
