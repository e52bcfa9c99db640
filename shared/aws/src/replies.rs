//! Answers to claims, published to the one client that asked.

use aws_config::SdkConfig;
use aws_sdk_iotdataplane::Client;
use aws_sdk_iotdataplane::primitives::Blob;
use aws_sdk_iotdataplane::types::PayloadFormatIndicator;
use lamplighter_domain::Failure;
use lamplighter_domain::claim::reply_topic;

use crate::failure;

/// Where answers are published.
pub struct Replies {
    client: Client,
}

impl Replies {
    /// The account's message broker.
    pub fn new(sdk: &SdkConfig) -> Self {
        Self {
            client: Client::new(sdk),
        }
    }

    /// Publishes a JSON answer; at least once, so that a device sees it.
    pub async fn reply(
        &self,
        client_id: &str,
        accepted: bool,
        answer: &serde_json::Value,
    ) -> Result<(), Failure> {
        self.client
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
}
