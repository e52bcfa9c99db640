//! From the three triggers to one creation, and back.

use lambda_runtime::LambdaEvent;
use lamplighter_aws::create::Creator;
use lamplighter_aws::failure::Reported;
use lamplighter_aws::replies::Replies;
use lamplighter_aws::{http, telemetry};
use lamplighter_domain::claim::{Claim, RawClaim, reply_client};
use lamplighter_domain::request::CreateRequest;
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};
use serde_json::{Value, json};

/// Answers one event, whichever trigger it came by.
pub(crate) async fn handle(
    creator: &Creator,
    replies: &Replies,
    event: LambdaEvent<Value>,
) -> Result<Value, Reported> {
    let deadline = Moment(event.context.deadline);
    let payload = event.payload;
    if http::is_request(&payload) {
        return Ok(json!(over_http(creator, payload, deadline).await));
    }
    if payload.get("topicClientId").is_some() {
        return over_mqtt(creator, replies, payload, deadline).await;
    }
    let (request, key) = CreateRequest::parse(payload.to_string().as_bytes(), None)?;
    let created = creator
        .create(request, key.as_deref(), deadline)
        .await
        .inspect_err(telemetry::failed)?;
    Ok(json!(created))
}

async fn over_http(creator: &Creator, event: Value, deadline: Moment) -> http::Response {
    let creating = async {
        let request = http::request(event)?;
        let (wanted, key) = CreateRequest::parse(
            &http::body(&request)?,
            http::header(&request, "idempotency-key").as_deref(),
        )?;
        creator.create(wanted, key.as_deref(), deadline).await
    };
    match http::in_time(deadline, Kind::Unknown, creating).await {
        Ok(created) => http::answer(if created.fresh { 201 } else { 200 }, &created),
        Err(failure) => http::problem(&failure, None),
    }
}

/// A claim. What no retry can help is answered to the device and is a success
/// here; only the rest goes back to the rule.
async fn over_mqtt(
    creator: &Creator,
    replies: &Replies,
    event: Value,
    deadline: Moment,
) -> Result<Value, Reported> {
    let raw: RawClaim = match serde_json::from_value(event) {
        Ok(raw) => raw,
        Err(error) => {
            telemetry::failed(&Failure::invalid(
                "claim",
                error.to_string(),
                "Send thingName, csr and nonce.",
            ));
            return Ok(Value::Null);
        }
    };
    let outcome = async {
        let claim = Claim::check(&raw)?;
        let profile = creator.claims.profile_of(&claim.thing_name).await?;
        creator
            .create(claim.authorise(profile.as_ref())?, None, deadline)
            .await
    }
    .await;
    let (accepted, mut answer) = match outcome {
        Ok(created) => (true, json!(created)),
        Err(failure) if failure.kind.retryable() => return Err(failure.into()),
        Err(failure) => {
            telemetry::failed(&failure);
            (false, json!(failure.problem(None)))
        }
    };
    if let Some(nonce) = raw.nonce() {
        answer["nonce"] = nonce.into();
    }
    if let Some(client_id) = reply_client(&raw) {
        replies.reply(client_id, accepted, &answer).await?;
    }
    Ok(Value::Null)
}
