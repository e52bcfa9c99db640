//! Hands a vault key out: opened first, then recorded, then answered.
//!
//! In this order a key that does not open spoils nobody's one hand-out, and no
//! answer leaves before the record is written. The key is never logged
//! (invariant 4).

use lamplighter_domain::compromise;
use lamplighter_domain::device::{CertificateRecord, DeviceRecord};
use lamplighter_domain::handout::{self, Decision, HandOut};
use lamplighter_domain::names::{CertificateId, OperationId, ThingName};
use lamplighter_domain::rotation::Rotation;
use lamplighter_domain::{Failure, Kind};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::clock;
use crate::failure::{self, Cause};
use crate::table::{self, Key, Table};
use crate::vault::Vault;

/// Where keys are, and where hand-outs are recorded.
#[derive(Clone)]
pub struct Keys {
    /// The registry.
    pub table: Table,
    /// The custody bucket.
    pub vault: Vault,
}

/// Who asks for which key.
pub struct Asked<'a> {
    /// The device.
    pub thing_name: &'a ThingName,
    /// The caller's ARN.
    pub caller: &'a str,
    /// What is asked for.
    pub request: &'a handout::Request,
}

/// A device's certificate and the key to it. Not `Debug`, so that it ends in no
/// log by mistake.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Credentials {
    thing_name: ThingName,
    certificate_id: CertificateId,
    certificate_pem: String,
    #[serde(serialize_with = "reveal")]
    private_key_pem: Zeroizing<String>,
    /// The rotation in which the device is to prove it, should it be no first
    /// certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation_id: Option<OperationId>,
}

impl Keys {
    /// Hands the key out, if nobody has had it yet.
    pub async fn hand_out(&self, asked: &Asked<'_>) -> Result<Credentials, Failure> {
        let name = asked.thing_name;
        let (of_device, of_rotation) = (Key::device(name), Key::rotation(name));
        let (device, rotation): (Option<DeviceRecord>, Option<Rotation>) =
            tokio::try_join!(self.table.get(&of_device), self.table.get(&of_rotation))?;
        let offer = handout::offer(
            name,
            device.as_ref(),
            rotation.as_ref(),
            asked.request.renewal,
        )?;
        let id = offer.certificate_id;
        let certificate = self.certificate(name, &id).await?;
        if let Some(device) = &device {
            compromise::may_be_handed_out(device, Some(&certificate))?;
        }
        // A hand-out that is refused anyway opens no key.
        let decision = decide(asked, &certificate)?;
        let private_key_pem = self.open(name, &certificate).await?;
        if let Decision::Record(hand_out) = decision
            && !self.record(name, &id, &hand_out).await?
        {
            // Somebody else was faster; perhaps this very request, sent twice.
            let winner = self.certificate(name, &id).await?;
            if let Decision::Record(_) = decide(asked, &winner)? {
                return Err(Failure::busy("the device is changing", 1));
            }
        }
        tracing::info!(
            thing = name.as_str(),
            caller = asked.caller,
            "a key was handed out"
        );
        Ok(Credentials {
            thing_name: name.clone(),
            certificate_id: id,
            certificate_pem: certificate.certificate_pem,
            private_key_pem,
            rotation_id: offer.rotation_id,
        })
    }

    async fn certificate(
        &self,
        name: &ThingName,
        id: &CertificateId,
    ) -> Result<CertificateRecord, Failure> {
        // A deletion may have begun since the device was read, or a rotation
        // have come to nothing.
        let row = self.table.get(&Key::certificate(name, id)).await?;
        row.ok_or_else(|| Failure::busy("the device is changing", 1).field("thingName"))
    }

    async fn open(
        &self,
        name: &ThingName,
        certificate: &CertificateRecord,
    ) -> Result<Zeroizing<String>, Failure> {
        if certificate.key_purged_at.is_some() {
            return Err(handout::had());
        }
        let object = certificate
            .key_object
            .as_deref()
            .ok_or_else(|| Failure::bug(format!("{name} is in custody without a key object")))?;
        self.vault
            .open(object, name, &certificate.public_key)
            .await
            .map_err(|failure| match failure.kind {
                Kind::NotFound => Failure::bug(format!(
                    "the key object {object} is missing: {}",
                    failure.operator
                )),
                _ => failure,
            })
    }

    /// Records a hand-out; false if there is another, or no such certificate
    /// any more. The condition keeps a deleted row from coming back.
    async fn record(
        &self,
        name: &ThingName,
        id: &CertificateId,
        hand_out: &HandOut,
    ) -> Result<bool, Failure> {
        let update = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::certificate(name, id).item()))
            .update_expression("SET handOut = :handOut")
            .condition_expression(
                "attribute_exists(PK) AND attribute_not_exists(handOut) \
                 AND attribute_not_exists(revokedAt)",
            )
            .expression_attribute_values(":handOut", table::attribute(hand_out)?)
            .send()
            .await;
        match update {
            Ok(_) => Ok(true),
            Err(error) if failure::cause(&error) == Cause::Condition => Ok(false),
            Err(error) => Err(failure::of("dynamodb:UpdateItem", &error)),
        }
    }
}

fn decide(asked: &Asked<'_>, certificate: &CertificateRecord) -> Result<Decision, Failure> {
    handout::decide(
        certificate.hand_out.as_ref(),
        asked.caller,
        asked.request.idempotency_key.as_deref(),
        clock::now(),
    )
}

fn reveal<S: serde::Serializer>(key: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key)
}
