//! Answers to claims, published to the one client that asked.

use aws_sdk_iotdataplane::Client;
use aws_sdk_iotdataplane::primitives::Blob;
use aws_sdk_iotdataplane::types::PayloadFormatIndicator;
use lamplighter_domain::Failure;
use lamplighter_domain::claim::reply_topic;

use crate::failure;

/// Publishes a JSON answer; at least once, so that a device sees it.
pub async fn reply(
    client: &Client,
    client_id: &str,
    accepted: bool,
    answer: &serde_json::Value,
) -> Result<(), Failure> {
    client
        .publish()
        .topic(reply_topic(client_id, accepted))
        .qos(1)
        .payload_format_indicator(PayloadFormatIndicator::Utf8Data)
        .payload(Blob::new(answer.to_string()))
        .send()
        .await
        .map(drop)
        .map_err(|error| failure::of("iot:Publish", &error))
}
