//! Enrolments: a token from an operator, and a device that comes with it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud, Reply};
use crate::delivery::{PATIENCE, created, deliver, invites_repetition};
use crate::device::{Key, unique};
use crate::inventory::row;
use crate::rotation::Light;

/// An operator's request for a token.
pub fn token_for(thing: &str, body: &Value) -> Ask {
    Ask::new("POST", format!("/devices/{thing}/enrolment-tokens")).text(body.to_string())
}

/// A token of a device.
pub async fn issued(cloud: &Cloud, thing: &str) -> String {
    let ask = token_for(thing, &json!({"reason": "a test"}));
    let answer = deliver(cloud, &ask).await.expect(201);
    answer["token"].as_str().expect("a token").to_owned()
}

/// A device's request.
pub fn enrolment(thing: &str, token: &str, csr: &str) -> Ask {
    let body = json!({"thingName": thing, "token": token, "csr": csr});
    Ask::new("POST", "/enrolments").text(body.to_string())
}

/// Sends a device's request, which nobody signs, until its answer is final.
pub async fn sent(cloud: &Cloud, ask: &Ask) -> Reply {
    let started = Instant::now();
    loop {
        let reply = cloud.unsigned(ask).await;
        if !invites_repetition(&reply) {
            return reply;
        }
        assert!(
            started.elapsed() < PATIENCE,
            "no final answer: {} {}",
            reply.status,
            reply.text
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// A device that has lost its key, with a token and another key.
#[derive(Debug)]
pub struct Lost {
    /// Its name.
    pub thing: String,
    /// The certificate that it was created with.
    pub old: String,
    /// The key that it wants certified.
    pub key: Key,
    /// What vouches for it.
    pub token: String,
}

impl Lost {
    /// Creates a device, and issues a token for it.
    pub async fn new(cloud: &Cloud) -> Self {
        Self::of(cloud, &json!({})).await
    }

    /// The same of a device that is created so.
    pub async fn of(cloud: &Cloud, more: &Value) -> Self {
        let thing = unique("lost");
        let mut body = json!({"thingName": thing, "csr": Key::make(&thing).csr});
        for (name, value) in more.as_object().expect("an object") {
            body[name] = value.clone();
        }
        let answer = created(cloud, &body).await;
        Self {
            old: answer["certificateId"].as_str().expect("an id").to_owned(),
            token: issued(cloud, &thing).await,
            key: Key::make(&thing),
            thing,
        }
    }

    /// Its request.
    pub fn ask(&self) -> Ask {
        enrolment(&self.thing, &self.token, &self.key.csr)
    }

    /// Its token's row, as the registry holds it in DynamoDB's JSON.
    pub async fn token_row(&self, cloud: &Cloud) -> Value {
        row(cloud, &format!("DEVICE#{}", self.thing), "ENROLMENT").await
    }

    /// The device in the rotation that its enrolment was answered with.
    pub fn light(self, answer: &Value) -> Light {
        Light {
            thing: self.thing,
            old: self.old,
            rotation: answer["rotationId"].as_str().expect("an id").to_owned(),
            key: self.key,
        }
    }
}
