//! From an operator's request for a token, and a device's with one, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::enrolment::Enrolments;
use lamplighter_aws::http;
use lamplighter_domain::enrolment::{EnrolRequest, TokenRequest};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};

/// Answers one request; nothing on the way may keep the answer.
pub(crate) async fn handle(
    enrolments: &Enrolments,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let deadline = Moment(event.context.deadline);
    let answer = answer(enrolments, &event.payload, deadline);
    let answer = http::in_time(deadline, Kind::Unknown, answer).await;
    Ok(http::uncacheable(
        answer.unwrap_or_else(|failure| http::problem(&failure, None)),
    ))
}

async fn answer(
    enrolments: &Enrolments,
    request: &http::Request,
    deadline: Moment,
) -> Result<http::Response, Failure> {
    let body = http::body(request)?;
    match request.route_key.as_deref().unwrap_or_default() {
        "POST /devices/{thingName}/enrolment-tokens" => {
            let by = http::caller(request)?;
            let name = ThingName::parse(http::path(request, "thingName"))?;
            let asked = TokenRequest::parse(&body)?;
            let issued = enrolments.issue(&name, &asked, &by).await?;
            Ok(http::answer(201, &issued))
        }
        "POST /enrolments" => {
            let asked = EnrolRequest::parse(&body)?;
            let enrolled = enrolments.enrol(&asked, deadline).await?;
            Ok(http::answer(201, &enrolled))
        }
        route => Err(Failure::bug(format!("no route {route:?} leads here"))),
    }
}
