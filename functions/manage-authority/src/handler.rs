//! From a request about authorities to what stands then, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::authorities::Authorities;
use lamplighter_aws::{clock, http};
use lamplighter_domain::authority::{AuthorityList, InitRequest, RotationRequest};
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};

/// Answers one request.
pub(crate) async fn handle(
    authorities: &Authorities,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let deadline = Moment(event.context.deadline);
    let answer = answer(authorities, &event.payload);
    let answer = http::in_time(deadline, Kind::Unknown, answer).await;
    Ok(answer.unwrap_or_else(|failure| http::problem(&failure, None)))
}

async fn answer(
    authorities: &Authorities,
    request: &http::Request,
) -> Result<http::Response, Failure> {
    let now = clock::now();
    let body = http::body(request)?;
    let settled = match request.route_key.as_deref().unwrap_or_default() {
        "GET /authorities" => {
            let standing = authorities.standing().await?;
            let list = standing.as_ref().map(|standing| standing.list(now));
            return Ok(http::answer(200, &list.unwrap_or(AuthorityList::EMPTY)));
        }
        "POST /authorities" => authorities.init(&InitRequest::parse(&body)?, now).await?,
        "POST /authorities/rotation" => {
            authorities
                .rotate(&RotationRequest::parse(&body)?, now)
                .await?
        }
        route => return Err(Failure::bug(format!("no route {route:?} leads here"))),
    };
    let status = if settled.fresh { 201 } else { 200 };
    Ok(http::answer(status, &settled.standing.view(now)))
}
