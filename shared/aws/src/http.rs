//! API Gateway's HTTP requests and answers (payload format 2.0).

use std::borrow::Cow;
use std::future::Future;
use std::time::Duration;

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_lambda_events::encodings::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderValue, RETRY_AFTER};
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};
use serde::Serialize;
use serde_json::{Value, json};

pub use aws_lambda_events::apigw::{
    ApiGatewayV2httpRequest as Request, ApiGatewayV2httpResponse as Response,
};

use crate::clock;

/// How long before its end an invocation gives up, so that it can still say so.
const ANSWER_MILLIS: u64 = 1000;

/// Whether an event is an HTTP request, and not a direct invocation.
pub fn is_request(event: &Value) -> bool {
    event.pointer("/requestContext/http").is_some()
}

/// Reads an event known to be an HTTP request.
pub fn request(event: Value) -> Result<Request, Failure> {
    serde_json::from_value(event)
        .map_err(|error| Failure::bug(format!("API Gateway's event does not parse: {error}")))
}

/// The bytes of a request's body; empty when there is none.
pub fn body(request: &ApiGatewayV2httpRequest) -> Result<Vec<u8>, Failure> {
    let text = request.body.as_deref().unwrap_or_default();
    if request.is_base64_encoded {
        return STANDARD.decode(text).map_err(|_| {
            Failure::invalid("body", "the body is not base64", "Send JSON as it is.")
        });
    }
    Ok(text.as_bytes().to_vec())
}

/// A header's value. One that is no text is not as good as none: what is not
/// UTF-8 in it shows as U+FFFD, which whoever checks the value refuses.
pub fn header<'a>(request: &'a ApiGatewayV2httpRequest, name: &str) -> Option<Cow<'a, str>> {
    let value = request.headers.get(name)?;
    Some(String::from_utf8_lossy(value.as_bytes()))
}

/// A segment of the path that the route names, already percent-decoded.
pub fn path<'a>(request: &'a ApiGatewayV2httpRequest, name: &str) -> &'a str {
    request.path_parameters.get(name).map_or("", String::as_str)
}

/// The caller's ARN, which the IAM authoriser vouches for.
pub fn caller(request: &ApiGatewayV2httpRequest) -> Result<String, Failure> {
    request
        .request_context
        .authorizer
        .as_ref()
        .and_then(|a| a.iam.as_ref())
        .and_then(|iam| iam.user_arn.clone())
        .ok_or_else(|| Failure::bug("the route has no IAM authoriser"))
}

/// What `work` comes to, unless the invocation is about to end before that. It
/// would leave its caller with `500 {"message":"Internal Server Error"}`, which
/// tells nothing ("Troubleshooting issues with HTTP API Lambda integrations").
///
/// # Errors
/// Those of `work`; `late` when it did not end in time: `Busy` of what only
/// reads, `Unknown` of what may have been done.
pub async fn in_time<T>(
    deadline: Moment,
    late: Kind,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let left = clock::now().until(deadline).saturating_sub(ANSWER_MILLIS);
    let ended = tokio::time::timeout(Duration::from_millis(left), work).await;
    ended.unwrap_or_else(|_| {
        let remedy = "Send the same request again, with the same Idempotency-Key if it had one.";
        let mut failure = Failure::new(late, "AWS did not answer in time", remedy);
        failure.retry_after = Some(1);
        Err(failure)
    })
}

/// An answer with a JSON body.
pub fn answer(status: u16, body: &impl Serialize) -> Response {
    respond(status, "application/json", body)
}

/// The same answer with the version of what it shows, as an entity tag.
pub fn tagged(mut response: Response, version: u64) -> Response {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers.insert(ETAG, tag);
    }
    response
}

/// The same answer, which no cache may keep.
pub fn uncacheable(mut response: Response) -> Response {
    response
        .headers
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A failure as a problem document; logged here, once.
pub fn problem(failure: &Failure, operation_id: Option<&str>) -> Response {
    crate::telemetry::failed(failure);
    let mut response = respond(
        failure.http_status(),
        "application/problem+json",
        &failure.problem(operation_id),
    );
    if let Some(seconds) = failure.retry_after {
        response
            .headers
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// The same with more members, which RFC 9457 allows a problem document.
pub fn problem_with(failure: &Failure, more: &impl Serialize) -> Response {
    let mut response = problem(failure, None);
    let mut body = json!(failure.problem(None));
    if let (Some(body), Value::Object(more)) = (body.as_object_mut(), json!(more)) {
        body.extend(more);
    }
    response.body = Some(Body::Text(body.to_string()));
    response
}

fn respond(status: u16, content_type: &'static str, body: &impl Serialize) -> Response {
    let mut response = ApiGatewayV2httpResponse::default();
    response.status_code = i64::from(status);
    response
        .headers
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.body = Some(Body::Text(serde_json::to_string(body).unwrap_or_default()));
    response
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    #[tokio::test]
    async fn a_caller_is_told_before_the_invocation_ends() {
        let deadline = clock::now().plus_millis(ANSWER_MILLIS + 20);
        let forever = future::pending::<Result<(), Failure>>();
        let late = in_time(deadline, Kind::Unknown, forever).await.unwrap_err();
        assert_eq!((late.kind, late.http_status()), (Kind::Unknown, 503));
        assert_eq!(late.retry_after, Some(1));
        let done = in_time(deadline, Kind::Unknown, future::ready(Ok(7))).await;
        assert_eq!(done, Ok(7), "what is done is told, however late");
    }

    #[test]
    fn a_header_that_is_not_ascii_is_seen_and_not_ignored() {
        let check = |sent: &[u8], seen: &str| {
            let mut request = Request::default();
            let value = HeaderValue::from_bytes(sent).unwrap();
            request.headers.insert("idempotency-key", value);
            let header = header(&request, "idempotency-key");
            assert_eq!(header.as_deref(), Some(seen));
            let key = lamplighter_domain::request::one_key(None, header.as_deref());
            assert_eq!(key.is_ok(), seen.is_ascii(), "{key:?}");
        };
        check(b"k-1", "k-1");
        check("schl\u{fc}ssel".as_bytes(), "schl\u{fc}ssel");
        check(b"schl\xfcssel", "schl\u{fffd}ssel");
    }
}
