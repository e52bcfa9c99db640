//! Creates devices. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::claims::Claims;
use lamplighter_aws::create::Creator;
use lamplighter_aws::setup::{self, optional, required};
use lamplighter_aws::table::Table;
use lamplighter_aws::things::Things;
use lamplighter_aws::vault::Vault;
use lamplighter_aws::{server_ca, telemetry};
use lamplighter_domain::names::GroupName;
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let creator = Creator {
        claims: Claims {
            table: Table {
                client: aws_sdk_dynamodb::Client::new(&sdk),
                name: required("TABLE_NAME")?,
            },
        },
        things: Things {
            iot: aws_sdk_iot::Client::new(&sdk),
        },
        vault: Vault {
            s3: setup::s3(&sdk),
            kms: aws_sdk_kms::Client::new(&sdk),
            bucket: required("CUSTODY_BUCKET")?,
            key_arn: required("CUSTODY_KEY_ARN")?,
        },
        default_group: GroupName::parse(&required("DEFAULT_GROUP")?)?,
        endpoint: required("IOT_ENDPOINT")?,
        server_ca_pem: optional("SERVER_CA_PEM")
            .unwrap_or_else(|| server_ca::AMAZON_ROOT_CA_1.to_owned()),
    };
    let messages = aws_sdk_iotdataplane::Client::new(&sdk);
    run(service_fn(|event: LambdaEvent<Value>| {
        handler::handle(&creator, &messages, event)
    }))
    .await
}
