//! Deletions followed to their end, with the workflow or in its place.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud, Reply};
use crate::delivery::{PATIENCE, deliver};
use crate::{faults, inventory};

/// An operation as the registry holds it, in DynamoDB's JSON.
pub async fn operation(cloud: &Cloud, id: &str) -> Value {
    inventory::row(cloud, &format!("OP#{id}"), "OPERATION").await
}

/// Waits until an operation has left RUNNING; answers its status.
pub async fn ended(cloud: &Cloud, id: &str) -> String {
    let started = Instant::now();
    loop {
        let row = operation(cloud, id).await;
        match row["status"]["S"].as_str() {
            Some("RUNNING") => {}
            Some(status) => return status.to_owned(),
            None => panic!("there is no operation {id}"),
        }
        assert!(started.elapsed() < PATIENCE, "still RUNNING: {row}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Deletes a device; answers the operation once it is DONE.
pub async fn deleted(cloud: &Cloud, thing: &str) -> String {
    let answer = deliver(cloud, &Ask::delete(thing)).await.expect(202);
    let id = answer["operationId"]
        .as_str()
        .expect("an operation")
        .to_owned();
    assert_eq!(
        ended(cloud, &id).await,
        "DONE",
        "{}",
        operation(cloud, &id).await
    );
    id
}

/// Claims a device for deletion, but keeps its workflow from starting, so that
/// a test can make the workflow's calls itself.
pub async fn claimed_only(cloud: &Cloud, thing: &str) -> String {
    let fault = json!({
        "function": cloud.stack("DeleteDeviceFunction"), "operation": "states:StartExecution",
        "thing": thing, "mode": "swallow",
    });
    let fault = faults::set(cloud, &fault).await;
    deliver(cloud, &Ask::delete(thing)).await;
    assert_eq!(
        faults::fired(cloud, fault).await,
        1,
        "the workflow has started"
    );
    let record = inventory::row(cloud, &format!("DEVICE#{thing}"), "RECORD").await;
    assert_eq!(record["status"]["S"], "DELETING");
    record["operationId"]["S"]
        .as_str()
        .expect("an operation")
        .to_owned()
}

/// One call as the workflow makes it.
pub async fn step(cloud: &Cloud, thing: &str, operation: &str, trace: Option<&str>) -> Reply {
    let function = cloud.stack("DeleteDeviceFunction");
    let mut ask = Ask::new(
        "POST",
        format!("/2015-03-31/functions/{function}/invocations"),
    )
    .text(json!({"operationId": operation, "thingName": thing}).to_string());
    if let Some(trace) = trace {
        ask = ask.trace(trace);
    }
    cloud.aws("lambda", &ask).await
}

/// Calls as the workflow does until the device is gone: errors that no retry
/// helps end it, everything else is repeated.
pub async fn stepped_to_the_end(cloud: &Cloud, thing: &str, operation: &str) {
    const FINAL: [&str; 6] = ["Invalid", "NotFound", "Conflict", "Denied", "Stuck", "Bug"];
    let started = Instant::now();
    loop {
        let reply = step(cloud, thing, operation, None).await;
        let answer = reply.json();
        if answer["status"] == "DONE" {
            return;
        }
        let error = answer["errorType"].as_str().unwrap_or_default();
        assert!(
            !FINAL.contains(&error) && answer["status"] != "FAILED",
            "{answer}"
        );
        assert!(
            started.elapsed() < PATIENCE,
            "never DONE; the last answer: {answer}"
        );
        let seconds = answer["retryAfterSeconds"].as_u64().unwrap_or(1);
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }
}
