//! From the two triggers to one deletion, and back.

use lamplighter_aws::delete::{Claimed, Deletion, Step};
use lamplighter_aws::failure::Reported;
use lamplighter_aws::{http, telemetry};
use lamplighter_domain::Failure;
use lamplighter_domain::fields;
use lamplighter_domain::names::ThingName;
use serde_json::{Value, json};

/// Answers one event, whichever trigger it came by.
pub(crate) async fn handle(deletion: &Deletion, event: Value) -> Result<Value, Reported> {
    if http::is_request(&event) {
        return Ok(json!(over_http(deletion, event).await));
    }
    let answer = async { deletion.step(&read(event)?).await }.await;
    Ok(json!(answer.inspect_err(telemetry::failed)?))
}

async fn over_http(deletion: &Deletion, event: Value) -> http::Response {
    match claim(deletion, event).await {
        Ok(answer) => answer,
        Err(failure) => http::problem(&failure, None),
    }
}

async fn claim(deletion: &Deletion, event: Value) -> Result<http::Response, Failure> {
    let request = http::request(event)?;
    let name = ThingName::parse(http::path(&request, "thingName"))?;
    Ok(match deletion.claim(&name).await? {
        Claimed::Accepted(id) => http::answer(
            202,
            &json!({ "operationId": id, "thingName": name, "status": "RUNNING" }),
        ),
        Claimed::Absent(Some(id)) => http::answer(
            200,
            &json!({
                "thingName": name, "status": "ABSENT", "operationId": id,
                "message": "The device has been deleted; its proof stands in the operation.",
            }),
        ),
        Claimed::Absent(None) => http::answer(
            200,
            &json!({
                "thingName": name, "status": "ABSENT",
                "message": "The registry has no such device. Lamplighter deletes only what it made: \
                            a thing of this name in AWS IoT, should there be one, is left as it is.",
            }),
        ),
    })
}

fn read(event: Value) -> Result<Step, Failure> {
    let remedy = "Send {\"operationId\": …, \"thingName\": …, \"failed\"?}.";
    fields::event(event, "no step of a deletion", remedy)
}
