//! The rotation's messages, as a device reads and writes them. Their topics
//! are `lamplighter/things/{thingName}/certificate/…`.

use lamplighter_domain::csr::{self, PublicKeyId};
use lamplighter_domain::names::{CertificateId, OperationId, ThingName};
use lamplighter_domain::rotation::wallet::Pair;
use lamplighter_domain::rotation::{Word, topic};
use lamplighter_domain::time::Moment;
use serde::{Deserialize, Serialize};

/// Every word a device may be told.
const WORDS: [Word; 4] = [Word::Renew, Word::Accepted, Word::Rejected, Word::Retired];

/// `renew`: a new certificate is due.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Renew {
    pub(super) rotation_id: OperationId,
    /// Until when the request has to come.
    pub(super) deadline: Option<Moment>,
    /// Why, for people.
    pub(super) reason: Option<String>,
}

/// `accepted`: the certificate for the request.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Accepted {
    pub(super) rotation_id: OperationId,
    certificate_id: CertificateId,
    pub(super) certificate_pem: String,
}

/// `rejected`: the request or the proof comes to nothing.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Rejected {
    pub(super) rotation_id: OperationId,
    pub(super) code: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) remedy: Option<String>,
}

/// `retired`: the old certificate is out of force.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Retired {
    pub(super) rotation_id: OperationId,
    /// The new certificate, now the only one.
    pub(super) certificate_id: CertificateId,
}

/// `request`: a signing request for the new key.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Request<'a> {
    pub(super) rotation_id: &'a OperationId,
    pub(super) csr: &'a str,
}

/// `proof`: the new certificate is stored, promoted and in use.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Proof<'a> {
    pub(super) rotation_id: &'a OperationId,
    pub(super) certificate_id: &'a CertificateId,
}

/// What a device was told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Told {
    Renew(Renew),
    Accepted(Accepted),
    Rejected(Rejected),
    Retired(Retired),
}

impl Told {
    /// Reads a message; `None` on a topic that is not the rotation's.
    pub(super) fn read(
        thing: &ThingName,
        on: &str,
        payload: &[u8],
    ) -> Option<Result<Self, String>> {
        let word = WORDS.into_iter().find(|word| topic(thing, *word) == on)?;
        let told = match word {
            Word::Renew => serde_json::from_slice(payload).map(Self::Renew),
            Word::Accepted => serde_json::from_slice(payload).map(Self::Accepted),
            Word::Rejected => serde_json::from_slice(payload).map(Self::Rejected),
            Word::Retired => serde_json::from_slice(payload).map(Self::Retired),
        };
        Some(told.map_err(|error| format!("{on}: {error}")))
    }
}

impl Accepted {
    /// The pair that the certificate makes with a key. It is read from the
    /// certificate itself: a device keeps nothing that it has not seen whole.
    pub(super) fn pair(&self) -> Result<Pair, String> {
        let certificate_id = csr::certificate_id(&self.certificate_pem);
        let public_key = PublicKeyId::of_certificate(&self.certificate_pem);
        match certificate_id.zip(public_key) {
            Some((certificate_id, public_key)) if certificate_id == self.certificate_id => {
                Ok(Pair {
                    certificate_id,
                    public_key,
                })
            }
            Some(_) => Err("the certificate is not the one that certificateId names".to_owned()),
            None => Err("certificatePem is no certificate".to_owned()),
        }
    }
}

/// What a device listens to for its rotations.
pub(super) fn subscriptions(thing: &ThingName) -> Vec<String> {
    WORDS.map(|word| topic(thing, word)).to_vec()
}

/// Where a device publishes its signing request.
pub(super) fn request_topic(thing: &ThingName) -> String {
    format!("lamplighter/things/{thing}/certificate/request")
}

/// Where a device publishes its proof.
pub(super) fn proof_topic(thing: &ThingName) -> String {
    format!("lamplighter/things/{thing}/certificate/proof")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::{Authority, Scratch, thing};
    use serde_json::Value;

    const DOCUMENT: &str = include_str!("../../../docs/rotation-protocol.md");

    const NAME: &str = "milan-navigli-0001";

    /// The example that the document gives for a topic.
    fn example(topic: &str) -> Value {
        let heading = format!("`{}`", topic.replace(NAME, "{thingName}"));
        let (_, after) = DOCUMENT
            .split_once(&format!("### {heading}"))
            .unwrap_or_else(|| panic!("the document has no heading {heading}"));
        let section = after.split("\n### ").next().unwrap();
        let (_, json) = section.split_once("```json\n").expect("an example");
        serde_json::from_str(json.split("```").next().unwrap()).expect("JSON")
    }

    fn written(message: &impl Serialize) -> Value {
        serde_json::to_value(message).unwrap()
    }

    fn names(value: &Value) -> Vec<&String> {
        let mut names: Vec<_> = value.as_object().unwrap().keys().collect();
        names.sort();
        names
    }

    #[test]
    fn the_document_has_what_the_device_writes() {
        let (rotation_id, thing) = (OperationId::from_random([1; 16]), thing(NAME));
        let certificate_id = &CertificateId::of_der(b"");
        let request = written(&Request {
            rotation_id: &rotation_id,
            csr: "",
        });
        let proof = written(&Proof {
            rotation_id: &rotation_id,
            certificate_id,
        });
        for (topic, message) in [
            (request_topic(&thing), request),
            (proof_topic(&thing), proof),
        ] {
            assert_eq!(names(&example(&topic)), names(&message), "{topic}");
        }
    }

    #[test]
    fn the_document_has_what_the_device_reads() {
        let name = thing(NAME);
        for word in WORDS {
            let on = topic(&name, word);
            let mut example = example(&on);
            let read = |example: &Value| {
                Told::read(&name, &on, example.to_string().as_bytes()).expect("a topic of ours")
            };
            read(&example).unwrap_or_else(|error| panic!("{error}"));
            // The rotation's id is what every message is known by.
            example.as_object_mut().unwrap().remove("rotationId");
            read(&example).expect_err(&on);
        }
    }

    #[test]
    fn other_topics_are_not_the_rotations() {
        let name = thing("a");
        for on in [
            "lamplighter/things/b/certificate/renew",
            "lamplighter/things/a/certificate/request",
            "lamplighter/things/a/telemetry",
            "",
        ] {
            assert_eq!(Told::read(&name, on, b"{}"), None, "{on}");
        }
    }

    #[test]
    fn a_certificate_must_be_the_one_that_is_named() {
        let (scratch, authority, name) = (Scratch::new(), Authority::new(), thing("a"));
        let request = scratch.keys(&name, &authority).request(&name).unwrap();
        let pem = authority.certify(&request);
        let check = |id: CertificateId, pem: &str| {
            let accepted = Accepted {
                rotation_id: OperationId::from_random([1; 16]),
                certificate_id: id,
                certificate_pem: pem.to_owned(),
            };
            accepted.pair()
        };
        let id = csr::certificate_id(&pem).unwrap();
        assert_eq!(check(id.clone(), &pem).unwrap().certificate_id, id);
        check(CertificateId::of_der(b"another"), &pem).unwrap_err();
        check(id, "-----BEGIN CERTIFICATE-----\n").unwrap_err();
    }
}
