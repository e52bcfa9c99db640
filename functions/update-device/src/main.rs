//! Updates devices. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::updates::Updates;
use lamplighter_aws::{http, setup, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let updates = Updates::from_env(&setup::sdk().await)?;
    run(service_fn(async |event: LambdaEvent<http::Request>| {
        handler::handle(&updates, event).await
    }))
    .await
}
