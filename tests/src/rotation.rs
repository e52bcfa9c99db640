//! Rotations driven event by event: the workflow's calls and the device's
//! messages, as the workflow and the rules bring them.

pub mod course;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud, Reply};
use crate::delivery::{PATIENCE, created, deliver};
use crate::device::{Key, token, unique};
use crate::inventory::row;

/// A device and one rotation of its certificate.
#[derive(Debug)]
pub struct Light {
    /// Its name.
    pub thing: String,
    /// The certificate that it was created with.
    pub old: String,
    /// The rotation.
    pub rotation: String,
    /// The key it is renewed with.
    pub key: Key,
}

/// What comes to the function in a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// The workflow calls.
    Step,
    /// The device asks, with its old certificate.
    Request,
    /// The device proves, with its new certificate.
    Proof,
}

impl Light {
    /// Creates a device that will be renewed.
    pub async fn new(cloud: &Cloud) -> Self {
        let thing = unique("turn");
        let body = json!({"thingName": thing, "csr": Key::make(&thing).csr});
        Self::created(cloud, thing, &body).await
    }

    /// Creates a device whose key is made by the service.
    pub async fn in_custody(cloud: &Cloud) -> Self {
        let thing = unique("keep");
        let body = json!({"thingName": thing});
        Self::created(cloud, thing, &body).await
    }

    /// Asks for the renewal of a device's certificate, through its workflow.
    pub async fn renewing(cloud: &Cloud, thing: &str, old: &str) -> Self {
        let ask = Ask::new("POST", format!("/devices/{thing}/certificate/renewal"));
        let answer = deliver(cloud, &ask).await.expect(202);
        Self {
            thing: thing.to_owned(),
            old: old.to_owned(),
            rotation: answer["operationId"].as_str().expect("an id").to_owned(),
            key: Key::make(thing),
        }
    }

    async fn created(cloud: &Cloud, thing: String, body: &Value) -> Self {
        let answer = created(cloud, body).await;
        Self {
            old: answer["certificateId"].as_str().expect("an id").to_owned(),
            rotation: format!("op-{:0>32}", token()),
            key: Key::make(&thing),
            thing,
        }
    }

    /// Another rotation of the same device.
    #[must_use]
    pub fn again(self, old: String) -> Self {
        Self {
            old,
            rotation: format!("op-{:0>32}", token()),
            key: Key::make(&self.thing),
            thing: self.thing,
        }
    }

    /// The rotation's row, as the registry holds it in DynamoDB's JSON.
    pub async fn row(&self, cloud: &Cloud) -> Value {
        row(cloud, &format!("DEVICE#{}", self.thing), "ROTATION").await
    }

    /// How far the rotation has come.
    pub async fn phase(&self, cloud: &Cloud) -> String {
        let row = self.row(cloud).await;
        row["phase"]["S"].as_str().unwrap_or("NONE").to_owned()
    }

    /// The new certificate's id, once it is known.
    pub async fn new_id(&self, cloud: &Cloud) -> String {
        let row = self.row(cloud).await;
        let id = &row["new"]["M"]["mint"]["M"]["certificateId"]["S"];
        id.as_str().unwrap_or_default().to_owned()
    }

    /// Lets a moment of the rotation's row have passed, such as `removeAt`, as
    /// time would: no test waits for it. Without a row nothing passes.
    pub async fn pass(&self, cloud: &Cloud, moment: Option<&str>) {
        let Some(moment) = moment else { return };
        if self.row(cloud).await[moment].is_null() {
            return;
        }
        let update = json!({
            "TableName": cloud.stack("TableName"),
            "Key": {"PK": {"S": format!("DEVICE#{}", self.thing)}, "SK": {"S": "ROTATION"}},
            "UpdateExpression": "SET #moment = :past",
            "ExpressionAttributeNames": {"#moment": moment},
            "ExpressionAttributeValues": {":past": {"N": "1"}},
        });
        cloud
            .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &update)
            .await;
    }

    /// Has the rotation go by a hand-out, as a request to that end would: its
    /// workflow is the test.
    pub async fn by_hand_out(&self, cloud: &Cloud) {
        let update = json!({
            "TableName": cloud.stack("TableName"),
            "Key": {"PK": {"S": format!("DEVICE#{}", self.thing)}, "SK": {"S": "ROTATION"}},
            "UpdateExpression": "SET custody = :vault",
            "ConditionExpression": "attribute_exists(PK)",
            "ExpressionAttributeValues": {":vault": {"S": "vault"}},
        });
        cloud
            .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &update)
            .await;
    }

    /// Has a job carry its word, which was not said yet: as a fleet that prefers
    /// jobs begins it.
    pub async fn by_job(&self, cloud: &Cloud) {
        let update = json!({
            "TableName": cloud.stack("TableName"),
            "Key": {"PK": {"S": format!("DEVICE#{}", self.thing)}, "SK": {"S": "ROTATION"}},
            "UpdateExpression": "SET messenger = :job, told = :no",
            "ConditionExpression": "attribute_exists(PK)",
            "ExpressionAttributeValues": {":job": {"S": "job"}, ":no": {"BOOL": false}},
        });
        cloud
            .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &update)
            .await;
    }

    /// The id of the job that carries its word.
    pub fn job(&self) -> String {
        format!("lamplighter-renew-{}", self.rotation)
    }

    /// Gives the rotation an hour for each of its parts, so that none ends
    /// while a test is slow.
    pub async fn unhurried(&self, cloud: &Cloud) {
        let update = json!({
            "TableName": cloud.stack("TableName"),
            "Key": {"PK": {"S": format!("DEVICE#{}", self.thing)}, "SK": {"S": "ROTATION"}},
            "UpdateExpression": "SET windows.proofMillis = :hour, windows.graceMillis = :hour",
            "ConditionExpression": "attribute_exists(PK)",
            "ExpressionAttributeValues": {":hour": {"N": "3600000"}},
        });
        cloud
            .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &update)
            .await;
    }

    /// Gives the rotation no time of grace.
    pub async fn hurried(&self, cloud: &Cloud) {
        self.set(cloud, "windows.graceMillis", 0).await;
    }

    async fn set(&self, cloud: &Cloud, path: &str, millis: u64) {
        let update = json!({
            "TableName": cloud.stack("TableName"),
            "Key": {"PK": {"S": format!("DEVICE#{}", self.thing)}, "SK": {"S": "ROTATION"}},
            "UpdateExpression": format!("SET {path} = :millis"),
            "ConditionExpression": "attribute_exists(PK)",
            "ExpressionAttributeValues": {":millis": {"N": millis.to_string()}},
        });
        cloud
            .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &update)
            .await;
    }

    /// Waits until the rotation has come so far.
    pub async fn reaches(&self, cloud: &Cloud, phase: &str) {
        let started = Instant::now();
        while self.phase(cloud).await != phase {
            assert!(started.elapsed() < PATIENCE, "{}", self.row(cloud).await);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Waits until the workflow waits for the device. A rotation that ended before
    /// left its own token.
    pub async fn waits(&self, cloud: &Cloud) {
        let started = Instant::now();
        loop {
            let row = self.row(cloud).await;
            if row["rotationId"]["S"] == self.rotation && !row["taskToken"].is_null() {
                return;
            }
            assert!(started.elapsed() < PATIENCE, "{row}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// One event, as it comes to the function.
    pub async fn event(&self, cloud: &Cloud, event: Event) -> Value {
        match event {
            Event::Step => json!({"rotationId": self.rotation, "thingName": self.thing}),
            Event::Request => self.says("request", &self.old),
            Event::Proof => self.says("proof", &self.new_id(cloud).await),
        }
    }

    /// A message of the device, with what AWS would say of its sender.
    pub fn says(&self, word: &str, principal: &str) -> Value {
        json!({
            "rotationId": self.rotation, "csr": self.key.csr, "clientId": self.thing,
            "principal": principal, "topicThing": self.thing, "topicWord": word,
        })
    }
}

/// Invokes the function with an event, along a trace if one is given.
pub async fn invoke(cloud: &Cloud, event: &Value, trace: Option<&str>) -> Reply {
    let function = cloud.stack("RenewCertificateFunction");
    let path = format!("/2015-03-31/functions/{function}/invocations");
    let mut ask = Ask::new("POST", path).text(event.to_string());
    if let Some(trace) = trace {
        ask = ask.trace(trace);
    }
    cloud.aws("lambda", &ask).await
}

/// Delivers an event until it is taken, as Lambda and the workflow do.
pub async fn delivered(cloud: &Cloud, event: &Value, trace: Option<&str>) -> Value {
    const FINAL: [&str; 6] = ["Invalid", "NotFound", "Conflict", "Denied", "Stuck", "Bug"];
    let started = Instant::now();
    loop {
        let reply = invoke(cloud, event, trace).await;
        let answer = reply.json();
        let error = answer["errorType"].as_str().unwrap_or_default();
        assert!(!FINAL.contains(&error), "{event}: {answer}");
        assert!(started.elapsed() < PATIENCE, "never taken: {answer}");
        if reply.status == 200 && error.is_empty() {
            return answer;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
