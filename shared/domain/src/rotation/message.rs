//! What devices say in a rotation, and what they are told.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{MOST_KEYS, New, Phase, Reason, Rotation};
use crate::csr::Csr;
use crate::failure::{Failure, Kind};
use crate::fields::selected;
use crate::names::{CertificateId, OperationId, ThingName};
use crate::time::Moment;

/// A word to the device: the last segment of its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Word {
    /// A new certificate is due: send a signing request.
    Renew,
    /// The request was certified.
    Accepted,
    /// The request or the proof comes to nothing.
    Rejected,
    /// The certificate is now the device's only one.
    Retired,
}

impl Word {
    /// The topic's last segment.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Renew => "renew",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Retired => "retired",
        }
    }
}

/// Where a word to a device is published.
pub fn topic(thing: &ThingName, word: Word) -> String {
    format!("lamplighter/things/{thing}/certificate/{}", word.name())
}

/// What a rule hands over: the device's message, of which anything may be
/// missing or of any type, and what AWS knows of who sent it. The rule names
/// each field, so that nothing in the payload can pose as one of the last four.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawMessage {
    rotation_id: Option<Value>,
    csr: Option<Value>,
    client_id: String,
    principal: String,
    topic_thing: String,
    topic_word: String,
}

/// Who sent a message, as AWS vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The device: its client id, which is its thing's name.
    pub thing_name: ThingName,
    /// The certificate that the connection was made with.
    pub principal: CertificateId,
}

/// What a device says, or what AWS says of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    /// It wants this request certified.
    Request(OperationId, Csr),
    /// It has stored and promoted the certificate that it says so with.
    Proof(OperationId),
    /// It has connected and listens, since this moment.
    Connected(Moment),
    /// Its connection has ended, at this moment.
    Disconnected(Moment),
}

/// What a device is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// Send a signing request by this moment, and why.
    Renew(OperationId, Moment, Reason),
    /// This is the certificate.
    Accepted(OperationId, New),
    /// This certificate is the only one.
    Retired(OperationId, CertificateId),
}

/// What a message has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The row, as it is to be written.
    pub rotation: Rotation,
    /// Whether it differs from what was there.
    pub changed: bool,
    /// The answer that is due at once.
    pub reply: Option<Reply>,
    /// Whether the workflow has something to do.
    pub wake: bool,
}

impl RawMessage {
    /// Checks that a device speaks of itself: its client id is the thing that
    /// the topic names (invariant 5).
    pub fn sender(&self) -> Result<Sender, Failure> {
        if self.client_id != self.topic_thing {
            return Err(denied(
                "clientId",
                "the topic does not name the client that sent the message",
                "Publish on lamplighter/things/{your thing name}/certificate/….",
            ));
        }
        Ok(Sender {
            thing_name: ThingName::parse(&self.client_id)?,
            principal: CertificateId::parse(&self.principal)?,
        })
    }

    /// The rotation that the message names, as it was sent.
    pub fn rotation_id(&self) -> Result<OperationId, Failure> {
        let remedy = "Repeat the rotationId of the renew message.";
        let id = selected("rotationId", self.rotation_id.as_ref(), remedy)?;
        OperationId::parse(id).map_err(|failure| Failure {
            remedy: remedy.to_owned(),
            ..failure.field("rotationId")
        })
    }

    /// The topic's last segment.
    pub fn word(&self) -> &str {
        &self.topic_word
    }

    /// The message, by the topic's last segment.
    pub fn message(&self) -> Result<Message, Failure> {
        let rotation_id = self.rotation_id()?;
        match self.topic_word.as_str() {
            "request" => {
                let remedy = "Send JSON: {\"rotationId\": …, \"csr\": …}.";
                let pem = selected("csr", self.csr.as_ref(), remedy)?;
                Ok(Message::Request(rotation_id, Csr::parse(pem)?))
            }
            "proof" => Ok(Message::Proof(rotation_id)),
            other => Err(Failure::bug(format!("a rule brought the word {other:?}"))),
        }
    }
}

impl Rotation {
    /// The certificate that the device has last proved.
    pub fn proven(&self) -> &CertificateId {
        match (self.phase, self.new_id()) {
            (Phase::Retiring | Phase::Retired | Phase::Removing | Phase::Done, Some(new)) => new,
            _ => &self.old,
        }
    }

    /// Takes a message in. `principal` is what AWS says it came with.
    ///
    /// # Errors
    /// `Denied` when the sender has no business with this rotation.
    pub fn receive(
        &self,
        message: &Message,
        principal: &CertificateId,
        now: Moment,
    ) -> Result<Received, Failure> {
        match message {
            Message::Request(id, csr) => self.request(id, csr, principal),
            Message::Proof(id) => self.proof(id, principal, now),
            Message::Connected(at) => Ok(self.presence(principal, true, *at)),
            Message::Disconnected(at) => Ok(self.presence(principal, false, *at)),
        }
    }

    fn request(
        &self,
        id: &OperationId,
        csr: &Csr,
        principal: &CertificateId,
    ) -> Result<Received, Failure> {
        if *id != self.rotation_id || self.phase.ended() {
            return Err(denied(
                "rotationId",
                "no such rotation of this device is open",
                "Wait for the next renew message.",
            ));
        }
        if *principal != self.old {
            return Err(denied(
                "principal",
                "the request did not come with the certificate that the device has proved",
                "Connect with the old certificate and send it again.",
            ));
        }
        let open = matches!(
            self.phase,
            Phase::Requested | Phase::Issuing | Phase::Issued | Phase::Superseding
        );
        if !open || self.proven_at.is_some() {
            return Err(denied(
                "rotationId",
                "the rotation takes no more requests",
                "Wait for the next renew message.",
            ));
        }
        let mut next = self.clone();
        let same = |wish: &Csr| wish.public_key() == csr.public_key();
        if self.by_hand_out() && !self.wish.as_ref().is_some_and(same) {
            return Err(denied(
                "rotationId",
                "the rotation goes by a key that is handed out to the device's operator",
                "Use the key and the certificate that the operator brings.",
            ));
        }
        if let Some(wish) = &self.wish {
            if same(wish) {
                return Ok(self.unchanged(self.acceptance()));
            }
            // What a token has vouched for, no old certificate takes back.
            if self.reason == Reason::Enrolment {
                return Err(denied(
                    "csr",
                    "the device is being enrolled with another key",
                    "Wait for the next renew message.",
                ));
            }
            // An old message that comes late, or a certificate in use.
            if self.superseded.contains(csr.public_key()) || self.in_use {
                return Ok(self.unchanged(None));
            }
            if self.superseded.len() >= MOST_KEYS {
                return Err(denied(
                    "csr",
                    "the device came with too many keys in one rotation",
                    "Store the key before the request is sent, and repeat the same request.",
                ));
            }
            next.superseded.push(wish.public_key().clone());
        }
        next.wish = Some(csr.clone());
        Ok(next.changed(None, true))
    }

    fn proof(
        &self,
        id: &OperationId,
        principal: &CertificateId,
        now: Moment,
    ) -> Result<Received, Failure> {
        let ours = *id == self.rotation_id && self.new_id() == Some(principal);
        if ours && self.phase == Phase::Issued {
            let mut next = self.clone();
            next.proven_at = Some(self.proven_at.unwrap_or(now));
            return Ok(next.changed(None, true));
        }
        if ours && self.phase == Phase::Retiring {
            return Ok(self.unchanged(None));
        }
        // The certificate is the device's only one already, and the device has
        // not heard: of this rotation, or of an earlier one.
        if principal == self.proven() && (ours || *id != self.rotation_id) {
            let reply = Reply::Retired(id.clone(), principal.clone());
            return Ok(self.unchanged(Some(reply)));
        }
        Err(denied(
            "principal",
            "the proof did not come with a certificate that awaits one",
            "Go back to the other certificate.",
        ))
    }

    /// Events may come late or twice; an older one than the last changes
    /// nothing.
    fn presence(&self, principal: &CertificateId, connected: bool, at: Moment) -> Received {
        if self.phase.ended() {
            return self.unchanged(None);
        }
        let is_new = self.new_id() == Some(principal);
        let reply = connected.then(|| self.greeting(is_new)).flatten();
        let in_use = is_new && connected;
        // That the old connection has ended says nothing of the new one.
        let tells = connected || is_new;
        if at < self.presence_at || !tells || in_use == self.in_use {
            return self.unchanged(reply);
        }
        let mut next = self.clone();
        next.in_use = in_use;
        next.presence_at = at;
        next.changed(reply, false)
    }

    /// What a device that connects is told again, should it have been missed.
    fn greeting(&self, with_new: bool) -> Option<Reply> {
        match self.phase {
            // A job waits for the device by itself.
            Phase::Requested if !self.by_hand_out() && !self.by_job() => Some(self.invitation()),
            Phase::Issued if !with_new => self.acceptance(),
            Phase::Retired if with_new => self.retirement(),
            _ => None,
        }
    }

    fn invitation(&self) -> Reply {
        Reply::Renew(self.rotation_id.clone(), self.deadline, self.reason)
    }

    /// The answer for the request that was certified.
    fn acceptance(&self) -> Option<Reply> {
        let new = self.new.as_ref().filter(|_| self.phase == Phase::Issued)?;
        Some(Reply::Accepted(self.rotation_id.clone(), new.clone()))
    }

    fn retirement(&self) -> Option<Reply> {
        let id = self.new_id()?;
        Some(Reply::Retired(self.rotation_id.clone(), id.clone()))
    }

    /// The phase's word to the device, in full.
    pub fn saying(&self, word: Word) -> Option<Reply> {
        match word {
            Word::Renew => Some(self.invitation()),
            Word::Accepted => self.acceptance(),
            Word::Retired => self.retirement(),
            Word::Rejected => None,
        }
    }

    fn unchanged(&self, reply: Option<Reply>) -> Received {
        Received {
            rotation: self.clone(),
            changed: false,
            reply,
            wake: false,
        }
    }

    fn changed(self, reply: Option<Reply>, wake: bool) -> Received {
        Received {
            rotation: self,
            changed: true,
            reply,
            wake,
        }
    }
}

fn denied(field: &str, reason: &str, remedy: &str) -> Failure {
    Failure::new(Kind::Denied, reason, remedy).field(field)
}
