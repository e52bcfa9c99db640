//! What devices send in a rotation, and what they are told.

use aws_sdk_iotdataplane::primitives::Blob;
use aws_sdk_iotdataplane::types::PayloadFormatIndicator;
use lamplighter_domain::names::{CertificateId, OperationId, ThingName};
use lamplighter_domain::rotation::{
    Message, RawMessage, Received, Reply, Rotation, Sender, Word, topic,
};
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Renewals, journal};
use crate::{clock, failure, telemetry};

/// How often a message is taken in anew while others change the same row.
const ATTEMPTS: u32 = 12;

/// A lifecycle event of a client ("Lifecycle events", AWS IoT Core Developer
/// Guide), as the rules select it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Presence {
    client_id: String,
    event_type: EventType,
    principal_identifier: String,
    timestamp: u64,
}

/// A device has no session that would keep a message for it, so what it is told
/// on its connection alone is lost before its subscription.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EventType {
    Subscribed,
    Disconnected,
}

impl EventType {
    fn word(&self) -> &'static str {
        match self {
            Self::Subscribed => "subscribed",
            Self::Disconnected => "disconnected",
        }
    }
}

impl Renewals {
    /// Takes in what a device published. What no retry can help is answered to
    /// the device and is a success here.
    pub async fn hear(&self, raw: &RawMessage) -> Result<(), Failure> {
        let sender = match raw.sender() {
            Ok(sender) => sender,
            // Nobody is known to whom this could be answered.
            Err(failure) => {
                telemetry::failed(&failure);
                return Ok(());
            }
        };
        let rotation = raw.rotation_id().ok();
        journal::heard(
            &sender.thing_name,
            rotation.as_ref(),
            raw.word(),
            &sender.principal,
        );
        let heard = match raw.message() {
            Ok(message) => self.take_in(&sender, &message).await,
            Err(failure) => Err(failure),
        };
        match heard {
            Err(failure) if !failure.kind.retryable() => {
                telemetry::failed(&failure);
                self.reject(&sender, raw, &failure).await
            }
            heard => heard,
        }
    }

    /// Takes in that a device listens, or that its connection has ended. A
    /// client that is no device of ours, or has nothing due, is none of it.
    pub async fn presence(&self, seen: &Presence) -> Result<(), Failure> {
        let (Ok(thing_name), Ok(principal)) = (
            ThingName::parse(&seen.client_id),
            CertificateId::parse(&seen.principal_identifier),
        ) else {
            return Ok(());
        };
        let sender = Sender {
            thing_name,
            principal,
        };
        let at = Moment(seen.timestamp);
        let open = self
            .rotation(&sender.thing_name)
            .await?
            .filter(|row| !row.phase.ended());
        if let Some(row) = &open {
            let (id, what) = (Some(&row.rotation_id), seen.event_type.word());
            journal::heard(&sender.thing_name, id, what, &sender.principal);
        }
        match (&seen.event_type, open.is_some()) {
            (EventType::Subscribed, true) => self.take_in(&sender, &Message::Connected(at)).await,
            (EventType::Disconnected, true) => {
                self.take_in(&sender, &Message::Disconnected(at)).await
            }
            (EventType::Subscribed, false) => self.start_if_due(&sender.thing_name).await,
            (EventType::Disconnected, false) => Ok(()),
        }
    }

    /// Writes what a message changes, answers it, and wakes the workflow.
    async fn take_in(&self, sender: &Sender, message: &Message) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let row = self.rotation(&sender.thing_name).await?.ok_or_else(|| {
                Failure::new(
                    Kind::Denied,
                    "the device has no rotation",
                    "Wait for a renew message.",
                )
                .field("rotationId")
            })?;
            let Received {
                mut rotation,
                changed,
                reply,
                wake,
            } = row.receive(message, &sender.principal, clock::now())?;
            // The token stays in the row until the workflow works again, so
            // that a repeated message can wake it should this one fail to.
            let token = rotation.task_token.clone();
            if changed {
                match self.write(&row, rotation, |_| Ok(Vec::new())).await? {
                    Some(written) => rotation = written,
                    None => continue,
                }
            }
            if let Some(reply) = reply {
                self.say(&rotation.thing_name, &reply).await?;
            }
            let repeated = rotation.clone().settle(clock::now()) != rotation;
            if let Some(token) = token.filter(|_| wake || repeated) {
                self.wake(&token).await?;
            }
            return Ok(());
        }
        Err(Failure::busy("the rotation is changing at this moment", 1))
    }

    /// Tells the device the word of the rotation's phase.
    pub(super) async fn tell(&self, rotation: &Rotation, word: Word) -> Result<(), Failure> {
        match rotation.saying(word) {
            Some(reply) => self.say(&rotation.thing_name, &reply).await,
            None => Err(Failure::bug(format!(
                "{word:?} does not belong to {}",
                rotation.phase.name()
            ))),
        }
    }

    async fn say(&self, name: &ThingName, reply: &Reply) -> Result<(), Failure> {
        let (word, body) = match reply {
            Reply::Renew(id, deadline, reason) => (
                Word::Renew,
                json!({ "rotationId": id, "deadline": deadline, "reason": reason.name() }),
            ),
            Reply::Accepted(id, new) => {
                let certificate_id = new
                    .mint
                    .certificate_id
                    .as_ref()
                    .ok_or_else(|| Failure::bug("a certificate is accepted that has no id"))?;
                let record = self.certificate(name, certificate_id).await?;
                let record = record.ok_or_else(|| {
                    Failure::bug(format!("{name} has no record of {certificate_id}"))
                })?;
                let mut body = json!({
                    "rotationId": id, "certificateId": certificate_id,
                    "certificatePem": record.certificate_pem,
                });
                if let Some(issuer) = self.issuers.certificate_of_issuer(&record).await? {
                    body["issuerPem"] = issuer.into();
                }
                (Word::Accepted, body)
            }
            Reply::Retired(id, certificate_id) => (
                Word::Retired,
                json!({ "rotationId": id, "certificateId": certificate_id }),
            ),
        };
        self.publish(name, word, &body).await
    }

    /// Tells the device why its message comes to nothing. Somebody with another
    /// certificate, who took the device's client id, is not the device: what he
    /// sent is not held against it.
    async fn reject(
        &self,
        sender: &Sender,
        raw: &RawMessage,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let name = &sender.thing_name;
        if self.certificate(name, &sender.principal).await?.is_none() {
            return Ok(());
        }
        let mut body = json!(failure.problem(None));
        body["rotationId"] = json!(raw.rotation_id().ok().as_ref().map(OperationId::as_str));
        self.publish(name, Word::Rejected, &body).await
    }

    async fn publish(&self, name: &ThingName, word: Word, body: &Value) -> Result<(), Failure> {
        self.data
            .publish()
            .topic(topic(name, word))
            .qos(1)
            .payload_format_indicator(PayloadFormatIndicator::Utf8Data)
            .payload(Blob::new(body.to_string()))
            .send()
            .await
            .map_err(|error| failure::of("iot:Publish", &error))?;
        journal::told(name, body["rotationId"].as_str(), word);
        Ok(())
    }
}
