//! From a request for a key to its hand-out, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::handout::{Asked, Keys};
use lamplighter_aws::http;
use lamplighter_domain::Kind;
use lamplighter_domain::handout::Request;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;

/// Answers one request; nothing on the way may keep the answer.
pub(crate) async fn handle(
    keys: &Keys,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let deadline = Moment(event.context.deadline);
    let handing_out = async {
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
    };
    let handed_out = http::in_time(deadline, Kind::Unknown, handing_out).await;
    Ok(http::uncacheable(match handed_out {
        Ok(credentials) => http::answer(200, &credentials),
        Err(failure) => http::problem(&failure, None),
    }))
}
