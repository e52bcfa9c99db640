//! Requests repeated as a caller repeats them: when the answer invites it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud, Reply};
use crate::inventory::row;

/// How long a test waits for what has to come: longer than a message that a busy
/// function has failed on is kept from the next, 6 minutes in the slowest queue.
pub const PATIENCE: Duration = Duration::from_mins(7);

/// Whether a caller may and should send the same request again.
pub fn invites_repetition(reply: &Reply) -> bool {
    match reply.json()["code"].as_str() {
        Some(code) => matches!(code, "Busy" | "Unknown"),
        None => reply.status == 0 || reply.status == 429 || reply.status >= 500,
    }
}

/// Sends a request until its answer is final.
pub async fn deliver(cloud: &Cloud, ask: &Ask) -> Reply {
    let started = Instant::now();
    loop {
        let reply = cloud.once(ask).await;
        if !invites_repetition(&reply) {
            return reply;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "no final answer to {ask:?}; the last was {} {}",
            reply.status,
            reply.text
        );
        tokio::time::sleep(reply.retry_after()).await;
    }
}

/// Creates a device that is not there yet.
pub async fn created(cloud: &Cloud, body: &Value) -> Value {
    deliver(cloud, &Ask::create(body)).await.expect(201)
}

/// Lets the lease of whoever worked on a device have passed, as time would: it
/// was killed, or has given its lease back.
pub async fn lease_over(cloud: &Cloud, thing: &str) {
    let record = row(cloud, &format!("DEVICE#{thing}"), "RECORD").await;
    let Some(operation) = record["operationId"]["S"].as_str() else {
        return;
    };
    let update = json!({
        "TableName": cloud.stack("TableName"),
        "Key": {"PK": {"S": format!("OP#{operation}")}, "SK": {"S": "OPERATION"}},
        "UpdateExpression": "SET leaseUntil = :past",
        "ConditionExpression": "attribute_exists(PK)",
        "ExpressionAttributeValues": {":past": {"N": "1"}},
    });
    cloud
        .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &update)
        .await;
}
