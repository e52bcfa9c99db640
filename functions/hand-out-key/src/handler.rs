//! From a request for a key to its hand-out, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::handout::{Asked, Credentials, Keys};
use lamplighter_aws::http;
use lamplighter_domain::Failure;
use lamplighter_domain::handout::Request;
use lamplighter_domain::names::ThingName;

/// Answers one request; nothing on the way may keep the answer.
pub(crate) async fn handle(
    keys: &Keys,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let credentials: Result<Credentials, Failure> = async {
        let request = event.payload;
        let asked = Request::parse(
            &http::body(&request)?,
            http::header(&request, "idempotency-key").as_deref(),
        )?;
        keys.hand_out(&Asked {
            thing_name: &ThingName::parse(http::path(&request, "thingName"))?,
            caller: &http::caller(&request)?,
            request: &asked,
        })
        .await
    }
    .await;
    Ok(http::uncacheable(match credentials {
        Ok(credentials) => http::answer(200, &credentials),
        Err(failure) => http::problem(&failure, None),
    }))
}
