//! Enrols devices. Clients are built once, here; the handler translates.

mod handler;

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::enrolment::Enrolments;
use lamplighter_aws::{http, setup, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let enrolments = Enrolments::from_env(&sdk)?;
    run(service_fn(|event: LambdaEvent<http::Request>| {
        handler::handle(&enrolments, event)
    }))
    .await
}
