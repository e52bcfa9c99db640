//! The API over signed HTTP: one request, repeated only where that is safe. Its
//! one open route is asked without a signature.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings};
use aws_smithy_runtime_api::http::Request as HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use http::{Method, Request, header};
use lamplighter_domain as domain;
use lamplighter_domain::names::{GroupName, PolicyName, ThingName};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::failure::Failure;
use crate::settings::Settings;

/// Longer than the gateway itself waits for a function.
const REPLY_TIMEOUT: Duration = Duration::from_secs(35);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A service that asks for more patience than this gets another client.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What RFC 3986 leaves unreserved; the rest is escaped in paths and queries,
/// as the signature expects it.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// One request to the API.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: Method,
    path: String,
    /// Why the path names nothing, if it does not.
    misnamed: Option<domain::Failure>,
    body: Option<Value>,
    idempotency_key: Option<String>,
    repeatable: bool,
}

impl Call {
    fn new(method: Method, segments: &[&str]) -> Self {
        let path = segments.iter().fold(String::new(), |path, segment| {
            path + "/" + &utf8_percent_encode(segment, RESERVED).to_string()
        });
        Self {
            method,
            path,
            misnamed: named(segments).err(),
            body: None,
            idempotency_key: None,
            repeatable: true,
        }
    }

    pub(crate) fn get(segments: &[&str]) -> Self {
        Self::new(Method::GET, segments)
    }

    pub(crate) fn post(segments: &[&str]) -> Self {
        Self::new(Method::POST, segments)
    }

    pub(crate) fn patch(segments: &[&str]) -> Self {
        Self::new(Method::PATCH, segments)
    }

    pub(crate) fn put(segments: &[&str]) -> Self {
        Self::new(Method::PUT, segments)
    }

    pub(crate) fn delete(segments: &[&str]) -> Self {
        Self::new(Method::DELETE, segments)
    }

    /// Adds a query parameter.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self.path
            .push(if self.path.contains('?') { '&' } else { '?' });
        self.path.push_str(name);
        self.path.push('=');
        self.path.extend(utf8_percent_encode(value, RESERVED));
        self
    }

    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    fn text(&self) -> String {
        self.body.as_ref().map(Value::to_string).unwrap_or_default()
    }

    /// Lets the service recognise the same request when it comes again.
    pub(crate) fn idempotency_key(mut self, key: &str) -> Self {
        self.idempotency_key = Some(key.to_owned());
        self
    }

    /// Never sends it twice once the service may have acted on it.
    pub(crate) fn once(mut self) -> Self {
        self.repeatable = false;
        self
    }
}

/// Checks what a person names before it becomes part of a path: a gateway
/// reads `..` or a slash as a way elsewhere, however it was escaped. Ids are the
/// service's business but for that.
fn named(segments: &[&str]) -> Result<(), domain::Failure> {
    let [collection, name, ..] = segments else {
        return Ok(());
    };
    let id = |field| {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if !name.is_empty() && name.chars().all(fits) {
            return Ok(());
        }
        Err(domain::Failure::invalid(
            field,
            format!("{name:?} is no id"),
            "Use the id that the service answered with.",
        ))
    };
    match *collection {
        "devices" => ThingName::parse(name).map(drop),
        "groups" => GroupName::parse(name)
            .map(drop)
            .map_err(|failure| failure.field("groupName")),
        "policies" => PolicyName::parse(name)
            .map(drop)
            .map_err(|failure| failure.field("policyName")),
        "cases" => id("caseId"),
        "jobs" => id("jobId"),
        "operations" => id("operationId"),
        "sweeps" => id("sweepId"),
        "tunnels" => id("tunnelId"),
        _ => Ok(()),
    }
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// A reply, or that none came.
enum Reply {
    Answered {
        status: u16,
        body: Value,
        retry_after: Option<Duration>,
    },
    Lost(String),
}

/// The client.
pub(crate) struct Api {
    settings: Settings,
    connector: Connector,
    tries: u32,
}

impl Api {
    pub(crate) fn new(settings: Settings, tries: u32) -> Self {
        let connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .connector_settings(
                HttpConnectorSettings::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .read_timeout(REPLY_TIMEOUT)
                    .build(),
            )
            .build();
        Self {
            settings,
            connector,
            tries: tries.max(1),
        }
    }

    /// Sends the call and, while the service is busy or no reply comes, sends
    /// it again, a bounded number of times.
    pub(crate) async fn send(&self, call: Call) -> Result<Answer, Failure> {
        if let Some(failure) = call.misnamed {
            return Err(failure.into());
        }
        let mut tried = 0;
        loop {
            tried += 1;
            let (failure, again, wait) = match self.send_once(&call).await? {
                Reply::Answered { status, body, .. } if status < 300 => {
                    return Ok(Answer { status, body });
                }
                Reply::Answered {
                    status,
                    body,
                    retry_after,
                } => {
                    let failure = Failure::from_answer(status, &body);
                    // The service's own Busy means that nothing was done;
                    // anything else that is worth repeating may have been.
                    let safe = call.repeatable || body["code"] == "Busy";
                    let again = safe && failure.retryable();
                    (failure, again, retry_after)
                }
                Reply::Lost(reason) => (
                    Failure::failed(
                        format!("no reply from {}: {reason}", self.settings.api_url),
                        "Check the address and that the API is up.",
                    ),
                    call.repeatable,
                    None,
                ),
            };
            if !again || tried >= self.tries {
                return Err(failure);
            }
            tokio::time::sleep(
                wait.map_or_else(|| backoff(tried), |asked| asked + jitter(asked / 4)),
            )
            .await;
        }
    }

    async fn send_once(&self, call: &Call) -> Result<Reply, Failure> {
        let mut request = self.request(call)?;
        if let Some(signer) = &self.settings.signer {
            let credentials = signer.credentials().await?;
            self.sign(&mut request, call, &signer.region, &credentials)?;
        }
        let request = HttpRequest::try_from(request)
            .map_err(|error| unusable(&self.settings.api_url, &error))?;
        let response = match self.connector.call(request).await {
            Ok(response) => response,
            Err(error) => return Ok(Reply::Lost(root_cause(&error))),
        };
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.parse().ok())
            .map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT));
        let bytes = match ByteStream::new(response.into_body()).collect().await {
            Ok(bytes) => bytes.into_bytes(),
            Err(error) => return Ok(Reply::Lost(root_cause(&error))),
        };
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(
                |_| serde_json::json!({ "message": String::from_utf8_lossy(&bytes) }),
            )
        };
        Ok(Reply::Answered {
            status,
            body,
            retry_after,
        })
    }

    fn uri(&self, call: &Call) -> String {
        format!(
            "{}{}",
            self.settings.api_url.trim_end_matches('/'),
            call.path
        )
    }

    fn request(&self, call: &Call) -> Result<Request<SdkBody>, Failure> {
        let uri = self.uri(call);
        let mut request = Request::builder()
            .method(&call.method)
            .uri(&uri)
            .header(header::ACCEPT, "application/json")
            .header(
                header::USER_AGENT,
                concat!("lamp/", env!("CARGO_PKG_VERSION")),
            );
        if call.body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        request
            .body(SdkBody::from(call.text()))
            .map_err(|error| unusable(&uri, &error))
    }

    fn sign(
        &self,
        request: &mut Request<SdkBody>,
        call: &Call,
        region: &str,
        credentials: &Credentials,
    ) -> Result<(), Failure> {
        let (uri, body) = (self.uri(call), call.text());
        let identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("execute-api")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unusable(&uri, &error))?
            .into();
        let headers = request
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap_or_default()));
        let signable = SignableRequest::new(
            call.method.as_str(),
            &uri,
            headers,
            SignableBody::Bytes(body.as_bytes()),
        )
        .map_err(|error| unusable(&uri, &error))?;
        let (instructions, _) = sign(signable, &parameters)
            .map_err(|error| unusable(&uri, &error))?
            .into_parts();
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

fn unusable(uri: &str, error: &dyn std::error::Error) -> Failure {
    Failure::usage(
        format!("{uri} cannot be called: {error}"),
        "Check --api-url.",
    )
}

/// The innermost cause: the outer errors only say that something failed.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Full jitter under a doubling ceiling, so that many clients do not come back
/// together.
fn backoff(tried: u32) -> Duration {
    jitter(Duration::from_millis(200 << tried.min(5))) + Duration::from_millis(50)
}

fn jitter(ceiling: Duration) -> Duration {
    let random = u16::from_be_bytes(random());
    ceiling.mul_f64(f64::from(random) / f64::from(u16::MAX))
}

/// Random bytes from the operating system's generator.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // The generator fails only where the process could not go on anyway.
    aws_lc_rs::rand::fill(&mut bytes).expect("the random generator works");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_names_cannot_change_the_path() {
        let call = Call::get(&["devices", "a/../b c?:"]).query("cursor", "x&y=z");
        assert_eq!(call.path, "/devices/a%2F..%2Fb%20c%3F%3A?cursor=x%26y%3Dz");
        let check = |segments: &[&str], field: Option<&str>| {
            let misnamed = Call::get(segments).misnamed;
            let found = misnamed.and_then(|failure| failure.field);
            assert_eq!(found.as_deref(), field, "{segments:?}");
        };
        for (collection, field) in [
            ("cases", "caseId"),
            ("devices", "thingName"),
            ("groups", "groupName"),
            ("jobs", "jobId"),
            ("operations", "operationId"),
            ("policies", "policyName"),
            ("sweeps", "sweepId"),
            ("tunnels", "tunnelId"),
        ] {
            for name in ["", "../x", "a/b", "a b"] {
                check(&[collection, name], Some(field));
                check(&[collection, name, "more"], Some(field));
            }
        }
        check(&["devices", "milan:navigli_01", "document"], None);
        check(&["operations", "op-1"], None);
        check(&["authorities", "rotation"], None);
        check(&["catalog"], None);
        let call = Call::get(&["devices"])
            .query("limit", "5")
            .query("status", "ACTIVE");
        assert_eq!(call.path, "/devices?limit=5&status=ACTIVE");
    }

    #[test]
    fn waiting_is_bounded() {
        for tried in 0..40 {
            assert!(backoff(tried) <= Duration::from_millis(6_450), "{tried}");
        }
    }
}
