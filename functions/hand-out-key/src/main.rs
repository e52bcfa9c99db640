//! Hands out keys. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::handout::Keys;
use lamplighter_aws::setup::{self, required};
use lamplighter_aws::table::Table;
use lamplighter_aws::vault::Vault;
use lamplighter_aws::{http, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let keys = Keys {
        table: Table {
            client: aws_sdk_dynamodb::Client::new(&sdk),
            name: required("TABLE_NAME")?,
        },
        vault: Vault {
            s3: setup::s3(&sdk),
            kms: aws_sdk_kms::Client::new(&sdk),
            bucket: required("CUSTODY_BUCKET")?,
            key_arn: required("CUSTODY_KEY_ARN")?,
        },
    };
    run(service_fn(|event: LambdaEvent<http::Request>| {
        handler::handle(&keys, event)
    }))
    .await
}
