//! From a request to an update, and back.

use std::convert::Infallible;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::http;
use lamplighter_aws::updates::{Updated, Updates};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::time::Moment;
use lamplighter_domain::update::UpdateRequest;
use lamplighter_domain::view::DeviceView;
use lamplighter_domain::{Failure, Kind};
use serde_json::json;

/// Answers one request.
pub(crate) async fn handle(
    updates: &Updates,
    event: LambdaEvent<http::Request>,
) -> Result<http::Response, Infallible> {
    let deadline = Moment(event.context.deadline);
    let request = event.payload;
    let update = update(updates, &request, deadline);
    Ok(match http::in_time(deadline, Kind::Unknown, update).await {
        Ok(done) => answer(&done),
        Err(failure) => http::problem(&failure, None),
    })
}

async fn update(
    updates: &Updates,
    request: &http::Request,
    deadline: Moment,
) -> Result<Updated, Failure> {
    let name = ThingName::parse(http::path(request, "thingName"))?;
    let (wanted, key) = UpdateRequest::parse(
        &http::body(request)?,
        http::header(request, "if-match").as_deref(),
        http::header(request, "idempotency-key").as_deref(),
    )?;
    updates.asked(&name, wanted, key.as_deref(), deadline).await
}

fn answer(updated: &Updated) -> http::Response {
    let mut body = json!(DeviceView::new(&updated.record));
    body["changed"] = json!(updated.changed);
    http::tagged(http::answer(200, &body), updated.record.version)
}
