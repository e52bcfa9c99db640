//! From the four triggers to the rotation, and back.

use lambda_runtime::LambdaEvent;
use lamplighter_aws::failure::Reported;
use lamplighter_aws::renewal::Renewals;
use lamplighter_aws::{http, telemetry};
use lamplighter_domain::fields;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::rotation::{Asked, Reason};
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Answers one event, whichever trigger it came by.
pub(crate) async fn handle(
    renewals: &Renewals,
    event: LambdaEvent<Value>,
) -> Result<Value, Reported> {
    let deadline = Moment(event.context.deadline);
    let payload = event.payload;
    if http::is_request(&payload) {
        return Ok(json!(over_http(renewals, payload, deadline).await));
    }
    let answer = async {
        if payload.get("eventType").is_some() {
            renewals.presence(&read(payload)?).await?;
            return Ok(Value::Null);
        }
        if payload.get("topicThing").is_some() {
            renewals.hear(&read(payload)?).await?;
            return Ok(Value::Null);
        }
        Ok(json!(renewals.step(&read(payload)?, deadline).await?))
    };
    Ok(answer.await.inspect_err(telemetry::failed)?)
}

async fn over_http(renewals: &Renewals, event: Value, deadline: Moment) -> http::Response {
    let started = async {
        let request = http::request(event)?;
        let name = ThingName::parse(http::path(&request, "thingName"))?;
        let asked = Asked::parse(
            &http::body(&request)?,
            http::header(&request, "idempotency-key").as_deref(),
        )?;
        renewals.request(&name, &asked, Reason::Due).await
    };
    match http::in_time(deadline, Kind::Unknown, started).await {
        Ok(started) => http::answer(202, &started),
        Err(failure) => http::problem(&failure, None),
    }
}

fn read<T: DeserializeOwned>(event: Value) -> Result<T, Failure> {
    let remedy = "Send what the rules and the workflow of the template send.";
    fields::event(event, "none of a rotation", remedy)
}
