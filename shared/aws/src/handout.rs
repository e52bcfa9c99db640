//! Hands a vault key out: opened first, then recorded, then answered.
//!
//! In this order a key that does not open spoils nobody's one hand-out, and no
//! answer leaves before the record is written. The key is never logged
//! (invariant 4).

use lamplighter_domain::compromise;
use lamplighter_domain::device::{CertificateRecord, Custody, DeviceRecord, DeviceStatus};
use lamplighter_domain::fields::Fields;
use lamplighter_domain::handout::{self, Decision, HandOut};
use lamplighter_domain::names::{CertificateId, ThingName};
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
    /// Makes the same caller's repetition the same request.
    pub idempotency_key: Option<&'a str>,
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
}

impl Keys {
    /// Hands the key out, if nobody has had it yet.
    pub async fn hand_out(&self, asked: &Asked<'_>) -> Result<Credentials, Failure> {
        let name = asked.thing_name;
        let device: Option<DeviceRecord> = self.table.get(&Key::device(name)).await?;
        let id = certificate_of(name, device.as_ref())?;
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
        })
    }

    async fn certificate(
        &self,
        name: &ThingName,
        id: &CertificateId,
    ) -> Result<CertificateRecord, Failure> {
        // A deletion may have begun since the device was read.
        self.table
            .get(&Key::certificate(name, id))
            .await?
            .ok_or_else(|| absent(name))
    }

    async fn open(
        &self,
        name: &ThingName,
        certificate: &CertificateRecord,
    ) -> Result<Zeroizing<String>, Failure> {
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
        asked.idempotency_key,
        clock::now(),
    )
}

/// The certificate whose key can be had.
fn certificate_of(
    name: &ThingName,
    device: Option<&DeviceRecord>,
) -> Result<CertificateId, Failure> {
    let device = device.ok_or_else(|| absent(name))?;
    if device.custody == Custody::Device {
        return Err(Failure::conflict(
            "thingName",
            format!("the device {name} made its own key; nobody else has it"),
            "Take the key from the device, or create the device anew without a signing request.",
        ));
    }
    match device.status {
        DeviceStatus::Active => {}
        DeviceStatus::Creating => {
            return Err(Failure::busy("the device is being created", 2).field("thingName"));
        }
        DeviceStatus::Deleting | DeviceStatus::Stuck => {
            return Err(Failure::conflict(
                "thingName",
                format!("the device {name} is {}", device.status.name()),
                "Only an ACTIVE device's key is handed out.",
            ));
        }
    }
    device
        .certificate_id
        .clone()
        .ok_or_else(|| Failure::bug(format!("{name} is ACTIVE without a certificate")))
}

fn absent(name: &ThingName) -> Failure {
    Failure::not_found(
        "thingName",
        format!("there is no device {name}"),
        "Check the name.",
    )
}

fn reveal<S: serde::Serializer>(key: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key)
}

/// The idempotency key of a request, from its body, which may be empty, or its
/// header.
pub fn idempotency_key(body: &[u8], header: Option<&str>) -> Result<Option<String>, Failure> {
    let mut in_body = None;
    if !body.is_empty() {
        let mut fields = Fields::parse(body, "Send none, or JSON: {\"idempotencyKey\": …}.")?;
        in_body = fields.text("idempotencyKey")?;
        fields.end()?;
    }
    lamplighter_domain::request::one_key(in_body.as_deref(), header)
}
