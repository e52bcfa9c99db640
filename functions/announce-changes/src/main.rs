//! Announces changes. The client is built once, here; the handler translates.

mod handler;

use aws_lambda_events::dynamodb::Event;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use lamplighter_aws::announce::Announcer;
use lamplighter_aws::{setup, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::start();
    let sdk = setup::sdk().await;
    let announcer = Announcer::from_env(&sdk)?;
    run(service_fn(|event: LambdaEvent<Event>| {
        handler::handle(&announcer, event)
    }))
    .await
}
