//! From a custom resource's request to the account's settings, and the answer.

use std::time::Duration;

use lambda_runtime::LambdaEvent;
use lamplighter_aws::account::{Account, Wanted};
use lamplighter_aws::custom_resource::{Request, RequestType, Responder};
use lamplighter_aws::failure::Reported;
use lamplighter_aws::{clock, telemetry};
use lamplighter_domain::Failure;
use lamplighter_domain::time::Moment;
use serde_json::{Value, json};

/// What is kept of the invocation's time for sending the answer.
const FOR_THE_ANSWER: u64 = 7000;

/// Answers one request, whatever becomes of it: a stack waits for the answer.
pub(crate) async fn handle(
    account: &Account,
    responder: &Responder,
    event: LambdaEvent<Value>,
) -> Result<(), Reported> {
    let until = Moment(event.context.deadline).minus_millis(FOR_THE_ANSWER);
    let request = Request::parse(event.payload).inspect_err(telemetry::failed)?;
    let wanted = Wanted::parse(request.resource_properties.clone());
    // The default group's name is the resource's identity, so that a change of
    // it makes CloudFormation remove the old one.
    let identity = wanted
        .as_ref()
        .ok()
        .map(|wanted| wanted.default_group.to_string());
    let time = Duration::from_millis(clock::now().until(until));
    let outcome = tokio::time::timeout(time, perform(account, request.request_type, wanted))
        .await
        .unwrap_or_else(|_| Err(Failure::busy("AWS IoT took too long to answer", 1)));
    let outcome = match outcome.inspect_err(telemetry::failed) {
        // What cannot be removed stays, powerless; the stack goes.
        Err(_) if request.request_type == RequestType::Delete => Ok(Value::Null),
        outcome => outcome,
    };
    Ok(responder
        .respond(&request, identity.as_deref(), &outcome)
        .await
        .inspect_err(telemetry::failed)?)
}

async fn perform(
    account: &Account,
    what: RequestType,
    wanted: Result<Wanted, Failure>,
) -> Result<Value, Failure> {
    let wanted = wanted?;
    match what {
        RequestType::Create => Ok(json!(account.configure(&wanted, true).await?)),
        RequestType::Update => Ok(json!(account.configure(&wanted, false).await?)),
        RequestType::Delete => account.remove(&wanted).await.map(|()| Value::Null),
    }
}
