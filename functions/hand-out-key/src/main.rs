//! Hands out keys. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::handout::Keys;
use lamplighter_aws::table::Table;
use lamplighter_aws::vault::Vault;
use lamplighter_aws::{http, setup, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let keys = Keys {
        table: Table::from_env(&sdk)?,
        vault: Vault::from_env(&sdk)?,
    };
    run(service_fn(|event: LambdaEvent<http::Request>| {
        handler::handle(&keys, event)
    }))
    .await
}
