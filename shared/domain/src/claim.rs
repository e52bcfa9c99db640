//! Claims: a new device, with a shared claim certificate, asks to become one.
//!
//! What an IoT rule brings carries no authority beyond its principal. The name
//! must have been pre-registered, everything else comes from the profile that
//! the claim certificate is bound to (invariant 5).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::csr::Csr;
use crate::device::Issuer;
use crate::failure::{Failure, Kind};
use crate::fields::selected;
use crate::names::{
    AttributeName, AttributeValue, BillingGroupName, CertificateId, GroupName, ProfileName,
    ThingName, ThingTypeName,
};
use crate::request::CreateRequest;

/// What the rule hands over: the device's message, of which anything may be
/// missing or of any type, and what AWS knows of who sent it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RawClaim {
    thing_name: Option<Value>,
    csr: Option<Value>,
    nonce: Option<Value>,
    #[serde(default)]
    client_id: String,
    #[serde(default)]
    principal: String,
    topic_client_id: String,
}

const REMEDY: &str = "Send JSON: {\"thingName\": …, \"csr\": …, \"nonce\": …}.";

/// A claim whose form is sound; its authority is checked against a profile.
#[derive(Debug)]
pub struct Claim {
    /// The name that is claimed.
    pub thing_name: ThingName,
    /// The key that is to be certified.
    pub csr: Csr,
    /// Returned with the answer, so that the device can match the two.
    pub nonce: String,
    /// The claim certificate that the message came with.
    pub principal: CertificateId,
}

/// What may be created under a claim, from the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Profile {
    /// The profile's name.
    pub name: ProfileName,
    /// The thing type of what is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thing_type: Option<ThingTypeName>,
    /// The static groups that what is created joins.
    #[serde(default)]
    pub groups: BTreeSet<GroupName>,
    /// The billing group of what is created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub billing_group: Option<BillingGroupName>,
    /// The attributes of what is created.
    #[serde(default)]
    pub attributes: BTreeMap<AttributeName, AttributeValue>,
    /// What signs the certificates of what is created; the stack's issuer
    /// where the profile does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<Issuer>,
    /// The claim certificates that may use the profile.
    #[serde(default)]
    pub claim_certificate_ids: BTreeSet<CertificateId>,
    /// The topics on which its devices leave retained messages, with
    /// `{thingName}` where the name goes.
    #[serde(default)]
    pub retained_topics: BTreeSet<String>,
}

/// Where the answer to a claim goes.
pub fn reply_topic(client_id: &str, accepted: bool) -> String {
    format!(
        "lamplighter/claims/{client_id}/{}",
        if accepted { "accepted" } else { "rejected" }
    )
}

/// The client id that an answer may be sent to, if the event names a sound one.
/// The topic's own segment is what the claim certificate's policy bound.
pub fn reply_client(raw: &RawClaim) -> Option<&str> {
    let sound = !raw.client_id.is_empty()
        && raw.client_id == raw.topic_client_id
        && !raw.client_id.contains(['/', '+', '#']);
    sound.then_some(&raw.client_id)
}

impl RawClaim {
    /// The nonce, cut to what an answer repeats, if one came.
    pub fn nonce(&self) -> Option<String> {
        let nonce = self.nonce.as_ref()?.as_str()?;
        Some(nonce.chars().take(128).collect())
    }
}

impl Claim {
    /// Checks the form of what a rule brought.
    pub fn check(raw: &RawClaim) -> Result<Self, Failure> {
        if reply_client(raw).is_none() {
            return Err(denied(
                "clientId",
                "the message's topic does not name the client that sent it",
                "Publish on lamplighter/claims/{your client id}/request.",
            ));
        }
        let text = |name, value| selected(name, value, REMEDY);
        let name = text("thingName", raw.thing_name.as_ref())?;
        let csr = text("csr", raw.csr.as_ref())?;
        text("nonce", raw.nonce.as_ref())?;
        Ok(Self {
            thing_name: ThingName::parse(name)?,
            csr: Csr::parse(csr)?,
            nonce: raw.nonce().unwrap_or_default(),
            principal: CertificateId::parse(&raw.principal)?,
        })
    }

    /// The creation that this claim amounts to, if the profile allows it.
    /// `profile` is the one the name was pre-registered under.
    pub fn authorise(self, profile: Option<&Profile>) -> Result<CreateRequest, Failure> {
        // One answer for both, so that a claim cannot probe which names exist.
        let refused = || {
            denied(
                "thingName",
                "this claim certificate may not claim that name",
                "Pre-register the name under a profile that lists the claim certificate.",
            )
        };
        let profile = profile.ok_or_else(refused)?;
        if !profile.claim_certificate_ids.contains(&self.principal) {
            return Err(refused());
        }
        let request = CreateRequest {
            thing_name: self.thing_name,
            thing_type: profile.thing_type.clone(),
            attributes: profile.attributes.clone(),
            groups: profile.groups.clone(),
            billing_group: profile.billing_group.clone(),
            csr: Some(self.csr),
            issuer: profile.issuer,
            profile: Some(profile.name.clone()),
        };
        request.within_limits()?;
        Ok(request)
    }
}

fn denied(field: &str, reason: &str, remedy: &str) -> Failure {
    Failure::new(Kind::Denied, reason, remedy).field(field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const CLAIM: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn raw(client: &str, topic: &str, principal: &str) -> RawClaim {
        serde_json::from_value(json!({
            "thingName": "milan-0001", "csr": include_str!("../fixtures/rsa-2048.csr.pem"),
            "nonce": "n", "clientId": client, "principal": principal, "topicClientId": topic,
        }))
        .unwrap()
    }

    fn profile() -> Profile {
        serde_json::from_value(json!({
            "name": "milan", "thingType": "streetlight", "groups": ["milan"], "issuer": "kms-ca",
            "claimCertificateIds": [CLAIM],
        }))
        .unwrap()
    }

    #[test]
    fn the_profile_decides_everything_but_name_and_key() {
        let request = Claim::check(&raw("c", "c", CLAIM))
            .unwrap()
            .authorise(Some(&profile()))
            .unwrap();
        assert_eq!(request.thing_type.unwrap().as_str(), "streetlight");
        assert_eq!(request.profile.unwrap().as_str(), "milan");
        assert_eq!(request.issuer, Some(Issuer::KmsCa));
        assert!(request.csr.is_some());
    }

    #[test]
    fn a_malformed_claim_is_refused_by_its_field_and_can_be_answered() {
        let csr = include_str!("../fixtures/rsa-2048.csr.pem");
        let list = json!(["milan-0001", csr, "n"]);
        for (message, field) in [
            (json!({"thingName": "milan-0001", "nonce": "n"}), "csr"),
            (json!({"thingName": "milan-0001", "csr": csr}), "nonce"),
            (
                json!({"thingName": 7, "csr": csr, "nonce": "n"}),
                "thingName",
            ),
            (json!({"thingName": "m", "csr": [], "nonce": "n"}), "csr"),
            (json!({"thingName": "m", "csr": csr, "nonce": {}}), "nonce"),
            (
                json!({"thingName": list, "csr": csr, "nonce": "n"}),
                "thingName",
            ),
            // What a rule selects out of a message that is no JSON object.
            (json!({}), "thingName"),
        ] {
            let mut event = message.clone();
            event["clientId"] = "c".into();
            event["topicClientId"] = "c".into();
            event["principal"] = CLAIM.into();
            let raw: RawClaim = serde_json::from_value(event).unwrap();
            let failure = Claim::check(&raw).unwrap_err();
            assert_eq!(
                failure.field.as_deref(),
                Some(field),
                "{message}: {failure:?}"
            );
            assert_eq!(reply_client(&raw), Some("c"));
            assert_eq!(raw.nonce(), message["nonce"].as_str().map(str::to_owned));
        }
    }

    #[test]
    fn a_claim_has_no_authority_beyond_its_principal() {
        let other = "b".repeat(64);
        assert!(
            Claim::check(&raw("c", "d", CLAIM)).is_err(),
            "another client's topic"
        );
        assert!(Claim::check(&raw("c", "c", "not-an-id")).is_err());
        let foreign = Claim::check(&raw("c", "c", &other))
            .unwrap()
            .authorise(Some(&profile()))
            .unwrap_err();
        let unregistered = Claim::check(&raw("c", "c", CLAIM))
            .unwrap()
            .authorise(None)
            .unwrap_err();
        assert_eq!(foreign.kind, Kind::Denied);
        assert_eq!(foreign, unregistered, "the two cannot be told apart");
    }
}
