//! The stack under test and the account it stands in, over signed HTTP.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use http::Request;
use serde_json::Value;

/// Longer than any function runs.
const REPLY_TIMEOUT: Duration = Duration::from_secs(90);

const TRACE: &str = "x-amzn-trace-id";

/// How often a request is sent at most, while the service is busy.
const SENDINGS: u32 = 5;

/// A deployed stack.
#[derive(Debug)]
pub struct Cloud {
    outputs: Value,
    connector: Connector,
}

/// One request to the stack's API.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    method: &'static str,
    path: String,
    body: String,
    headers: Vec<(&'static str, String)>,
}

/// What came back. A lost reply has the status 0.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body as it came.
    pub text: String,
}

impl Ask {
    /// A request without a body.
    pub fn new(method: &'static str, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            ..Self::default()
        }
    }

    /// `POST /devices` with this body.
    pub fn create(body: &Value) -> Self {
        Self::new("POST", "/devices").text(body.to_string())
    }

    /// `POST /devices/{thingName}/credentials`.
    pub fn credentials(thing: &str) -> Self {
        Self::new("POST", format!("/devices/{thing}/credentials"))
    }

    /// `DELETE /devices/{thingName}`.
    pub fn delete(thing: &str) -> Self {
        Self::new("DELETE", format!("/devices/{thing}"))
    }

    /// The body, be it JSON or not.
    #[must_use]
    pub fn text(mut self, body: impl Into<String>) -> Self {
        self.body = body.into();
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Names the trace by which the function's calls are recorded.
    #[must_use]
    pub fn trace(self, trace: &str) -> Self {
        self.header(TRACE, format!("Root={trace}"))
    }

    fn has_trace(&self) -> bool {
        self.headers.iter().any(|(name, _)| *name == TRACE)
    }
}

impl Reply {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(each, _)| each == name);
        found.map(|(_, value)| value.as_str())
    }

    /// When the caller is to send the same request again.
    pub fn retry_after(&self) -> Duration {
        let asked = self.header("retry-after");
        let seconds = asked.and_then(|seconds| seconds.parse().ok());
        Duration::from_secs(seconds.unwrap_or(1))
    }

    /// The body, of a reply that must have this status.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json()
    }
}

impl Cloud {
    /// The cloud that the environment names.
    pub fn open() -> Self {
        let path = std::env::var("LAMPLIGHTER_OUTPUTS").unwrap_or_else(|_| {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../.local/outputs.json").to_owned()
        });
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!(
                "no cloud to test: {path}: {error}; run `make test-system`, or `make local` and \
                 set LAMPLIGHTER_OUTPUTS"
            )
        });
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(Duration::from_secs(5))
            .read_timeout(REPLY_TIMEOUT)
            .build();
        Self {
            outputs: serde_json::from_str(&text).expect("the outputs are JSON"),
            connector: Connector::builder()
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .connector_settings(settings)
                .build(),
        }
    }

    /// A value of the outputs file.
    pub fn output(&self, name: &str) -> &str {
        self.outputs[name]
            .as_str()
            .unwrap_or_else(|| panic!("the outputs have no {name}"))
    }

    /// Where the broker listens for devices.
    pub fn port(&self) -> u64 {
        self.outputs["mqtt_port"].as_u64().expect("a port")
    }

    /// An output of the stack.
    pub fn stack(&self, name: &str) -> &str {
        self.outputs["stack"][name]
            .as_str()
            .unwrap_or_else(|| panic!("the stack has no output {name}"))
    }

    /// Asks the stack's API, as the caller that the outputs name, and asks again
    /// while the answer is that nothing was done because the service is busy. A
    /// request with a trace is about its one invocation, and is sent once.
    pub async fn api(&self, ask: &Ask) -> Reply {
        let most = if ask.has_trace() { 1 } else { SENDINGS };
        for _ in 1..most {
            let reply = self.once(ask).await;
            if reply.json()["code"] != "Busy" {
                return reply;
            }
            tokio::time::sleep(reply.retry_after()).await;
        }
        self.once(ask).await
    }

    /// Asks the stack's API, whatever it answers.
    pub async fn once(&self, ask: &Ask) -> Reply {
        let caller = Credentials::new(
            self.output("access_key_id"),
            self.output("secret_access_key"),
            self.outputs["session_token"].as_str().map(str::to_owned),
            None,
            "outputs",
        );
        let uri = format!("{}{}", self.output("api_url"), ask.path);
        self.send("execute-api", &uri, ask, Some(&caller)).await
    }

    /// Asks the stack's API without a signature.
    pub async fn unsigned(&self, ask: &Ask) -> Reply {
        let uri = format!("{}{}", self.output("api_url"), ask.path);
        self.send("execute-api", &uri, ask, None).await
    }

    /// Asks an AWS service, as the account's root.
    pub async fn aws(&self, service: &str, ask: &Ask) -> Reply {
        let root = Credentials::new("test", "test", None, None, "root");
        let uri = format!("{}{}", self.output("aws_endpoint"), ask.path);
        self.send(service, &uri, ask, Some(&root)).await
    }

    /// Calls an operation of a service that speaks AWS JSON.
    pub async fn aws_json(&self, service: &str, target: &str, body: &Value) -> Value {
        let ask = Ask::new("POST", "/")
            .text(body.to_string())
            .header("content-type", "application/x-amz-json-1.0")
            .header("x-amz-target", target);
        self.aws(service, &ask).await.expect(200)
    }

    async fn send(&self, service: &str, uri: &str, ask: &Ask, who: Option<&Credentials>) -> Reply {
        let mut request = Request::builder().method(ask.method).uri(uri);
        if !ask.body.is_empty() && !ask.headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        for (name, value) in &ask.headers {
            request = request.header(*name, value);
        }
        let mut request = request
            .body(SdkBody::from(ask.body.clone()))
            .expect("a request");
        if let Some(who) = who {
            self.sign(service, uri, ask, &mut request, who);
        }
        let request = request.try_into().expect("a request");
        let Ok(response) = self.connector.call(request).await else {
            return Reply::lost();
        };
        let status = response.status().as_u16();
        let headers = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        match ByteStream::new(response.into_body()).collect().await {
            Ok(bytes) => Reply {
                status,
                headers,
                text: String::from_utf8_lossy(&bytes.into_bytes()).into_owned(),
            },
            Err(_) => Reply::lost(),
        }
    }

    fn sign(
        &self,
        service: &str,
        uri: &str,
        ask: &Ask,
        request: &mut Request<SdkBody>,
        who: &Credentials,
    ) {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = who.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.output("region"))
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .expect("all parameters are set")
            .into();
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
        let body = SignableBody::Bytes(ask.body.as_bytes());
        let signable =
            SignableRequest::new(ask.method, uri, headers, body).expect("a signable request");
        let (instructions, _) = sign(signable, &parameters)
            .expect("a signature")
            .into_parts();
        instructions.apply_to_request_http1x(request);
    }
}

impl Reply {
    fn lost() -> Self {
        Self {
            status: 0,
            headers: Vec::new(),
            text: "no reply".to_owned(),
        }
    }
}
