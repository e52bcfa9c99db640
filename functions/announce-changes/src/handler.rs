//! From the registry's stream to the bus; what failed is reported one by one.

use aws_lambda_events::dynamodb::Event;
use aws_lambda_events::streams::DynamoDbEventResponse;
use lambda_runtime::LambdaEvent;
use lamplighter_aws::announce::Announcer;
use lamplighter_aws::failure::Reported;
use lamplighter_aws::telemetry;

/// Announces one batch.
pub(crate) async fn handle(
    announcer: &Announcer,
    event: LambdaEvent<Event>,
) -> Result<DynamoDbEventResponse, Reported> {
    Ok(announcer
        .announce(event.payload)
        .await
        .inspect_err(telemetry::failed)?)
}
