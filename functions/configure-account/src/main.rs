//! Prepares the account. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::account::Account;
use lamplighter_aws::custom_resource::Responder;
use lamplighter_aws::organisation::Organisation;
use lamplighter_aws::{setup, telemetry};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let account = Account {
        organisation: Organisation::new(&sdk),
    };
    let responder = Responder::default();
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&account, &responder, event)
    }))
    .await
}
