//! Applies catalogs. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::catalog::Catalogs;
use lamplighter_aws::organisation::Organisation;
use lamplighter_aws::table::Table;
use lamplighter_aws::updates::Updates;
use lamplighter_aws::{http, setup, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let catalogs = Catalogs {
        organisation: Organisation::new(&sdk),
        table: Table::from_env(&sdk)?,
        updates: Updates::from_env(&sdk)?,
    };
    let default_group = catalogs.updates.default_group.clone();
    run(service_fn(|event: LambdaEvent<http::Request>| {
        handler::handle(&catalogs, &default_group, event)
    }))
    .await
}
