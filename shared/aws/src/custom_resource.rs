//! CloudFormation's custom resources: what is asked, and the answer, which goes
//! to a pre-signed URL whatever happens. Without one a stack waits for an hour.

use std::time::Duration;

use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector as _, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use lamplighter_domain::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// CloudFormation takes an answer of at most 4096 bytes.
const LONGEST_REASON: usize = 2000;
/// How often the answer is sent, and how long each time may take.
const TRIES: u32 = 3;
const PATIENCE: Duration = Duration::from_millis(1500);

/// What is to be done about the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum RequestType {
    /// Make it.
    Create,
    /// Bring it to other properties.
    Update,
    /// Take it away.
    Delete,
}

/// One request of CloudFormation's.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "CloudFormation's own names")]
#[serde(rename_all = "PascalCase")]
pub struct Request {
    /// What is to be done.
    pub request_type: RequestType,
    /// The resource's properties.
    #[serde(default)]
    pub resource_properties: Value,
    #[serde(rename = "ResponseURL")]
    response_url: String,
    stack_id: String,
    request_id: String,
    logical_resource_id: String,
    physical_resource_id: Option<String>,
}

impl Request {
    /// Reads an event.
    pub fn parse(event: Value) -> Result<Self, Failure> {
        serde_json::from_value(event).map_err(|error| {
            Failure::invalid(
                "event",
                format!("it is no custom resource request: {error}"),
                "Deploy by CloudFormation.",
            )
        })
    }
}

/// Sends answers.
#[derive(Clone, Debug)]
pub struct Responder {
    connector: SharedHttpConnector,
}

impl Default for Responder {
    fn default() -> Self {
        let connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .build();
        Self {
            connector: SharedHttpConnector::new(connector),
        }
    }
}

impl Responder {
    /// Answers a request. `identity` is the resource's physical id; another one
    /// than before makes CloudFormation delete what had the old one.
    pub async fn respond(
        &self,
        request: &Request,
        identity: Option<&str>,
        outcome: &Result<impl Serialize, Failure>,
    ) -> Result<(), Failure> {
        let answer = answer(request, identity, outcome).to_string();
        for tried in 1..=TRIES {
            match tokio::time::timeout(PATIENCE, self.put(&request.response_url, &answer)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => {
                    tracing::warn!(tried, error, "CloudFormation did not take the answer");
                }
                Err(_) => tracing::warn!(tried, "CloudFormation did not take the answer in time"),
            }
            tokio::time::sleep(Duration::from_millis(100) * tried).await;
        }
        Err(Failure::busy("CloudFormation did not take the answer", 1))
    }

    /// The URL is signed without a content type, so none is sent, and it is a
    /// secret, so no error quotes it.
    async fn put(&self, url: &str, answer: &str) -> Result<(), String> {
        let request = http::Request::put(url)
            .body(SdkBody::from(answer))
            .map_err(|_| "not a URL".to_owned())?;
        let request = HttpRequest::try_from(request).map_err(|_| "not a URL".to_owned())?;
        let response = self
            .connector
            .call(request)
            .await
            .map_err(|error| error.to_string())?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(format!("status {}", response.status().as_u16()))
    }
}

fn answer(
    request: &Request,
    identity: Option<&str>,
    outcome: &Result<impl Serialize, Failure>,
) -> Value {
    // A creation that fails must have an identity too: CloudFormation deletes
    // by it.
    let identity = identity
        .or(request.physical_resource_id.as_deref())
        .unwrap_or(&request.logical_resource_id);
    let mut answer = json!({
        "Status": "SUCCESS",
        "PhysicalResourceId": identity,
        "StackId": request.stack_id,
        "RequestId": request.request_id,
        "LogicalResourceId": request.logical_resource_id,
    });
    match outcome {
        Ok(data) => {
            let data = json!(data);
            if data.is_object() {
                answer["Data"] = data;
            }
        }
        Err(failure) => {
            let reason = format!("{failure}. {} {}", failure.remedy, failure.operator);
            answer["Status"] = "FAILED".into();
            answer["Reason"] = reason
                .trim_end()
                .chars()
                .take(LONGEST_REASON)
                .collect::<String>()
                .into();
        }
    }
    answer
}
