//! Announces names. The client is built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::table::Table;
use lamplighter_aws::{http, setup, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let table = Table::from_env(&sdk)?;
    run(service_fn(|event: LambdaEvent<http::Request>| {
        handler::handle(&table, event)
    }))
    .await
}
