//! A device's records in the registry.

use serde::{Deserialize, Serialize};

use crate::csr::PublicKeyId;
use crate::failure::Failure;
use crate::handout::HandOut;
use crate::names::{BillingGroupName, CaseId, CertificateId, OperationId, ProfileName, ThingName};
use crate::quote::quoted;
use crate::request::CreateRequest;
use crate::time::Moment;

/// Where a device stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum DeviceStatus {
    /// A creation has claimed the name and has not ended.
    Creating,
    /// The device exists, whole.
    Active,
    /// A deletion has claimed it.
    Deleting,
    /// An undo failed; a person is needed.
    Stuck,
}

impl DeviceStatus {
    /// The status as the API spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Creating => "CREATING",
            Self::Active => "ACTIVE",
            Self::Deleting => "DELETING",
            Self::Stuck => "STUCK",
        }
    }

    /// Reads the API's spelling.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Creating, Self::Active, Self::Deleting, Self::Stuck]
            .into_iter()
            .find(|status| status.name() == text)
    }
}

/// Who makes a device's private key, and holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Custody {
    /// The device made it; nobody else ever sees it.
    #[default]
    Device,
    /// We made it; it lies encrypted in the custody bucket, until it is purged.
    Vault,
}

impl Custody {
    /// Reads the API's spelling.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "device" => Ok(Self::Device),
            "vault" => Ok(Self::Vault),
            _ => Err(Failure::invalid(
                "custody",
                format!("there is no custody {}", quoted(text)),
                "Use device or vault.",
            )),
        }
    }
}

/// `DEVICE#name / RECORD`: the device itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeviceRecord {
    /// What was asked for.
    #[serde(flatten)]
    pub request: CreateRequest,
    /// Where it stands.
    pub status: DeviceStatus,
    /// Who holds its key.
    pub custody: Custody,
    /// The operation that created it.
    pub created_by: OperationId,
    /// The operation that works on it now, or worked on it last.
    pub operation_id: OperationId,
    /// When its creation was claimed.
    pub created_at: Moment,
    /// Its certificate, once it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<CertificateId>,
    /// The listing index's partition.
    pub listing_shard: String,
    /// The billing index's partition.
    #[serde(default)]
    pub billing_shard: String,
    /// Counts the changes that callers asked for, from 1.
    #[serde(default = "first_version")]
    pub version: u64,
    /// The case of compromise that is open for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_id: Option<CaseId>,
    /// Since when that case has it cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantined_at: Option<Moment>,
}

impl DeviceRecord {
    /// The refusal of a name that no device has.
    pub fn absent(name: &ThingName) -> Failure {
        Failure::not_found(
            "thingName",
            format!("there is no device {name}"),
            "Check the name.",
        )
    }

    /// The device, if it is there and ACTIVE. `remedy` says what wants that.
    ///
    /// # Errors
    /// `NotFound` without a device of the name; `Conflict` while it is not
    /// ACTIVE.
    pub fn active<'a>(
        name: &ThingName,
        device: Option<&'a Self>,
        remedy: &str,
    ) -> Result<&'a Self, Failure> {
        let device = device.ok_or_else(|| Self::absent(name))?;
        if device.status != DeviceStatus::Active {
            let reason = format!("the device {name} is {}", device.status.name());
            return Err(Failure::conflict("thingName", reason, remedy));
        }
        Ok(device)
    }

    /// The certificate that an ACTIVE device has proved last.
    ///
    /// # Errors
    /// `Bug` without one.
    pub fn proved_certificate(&self) -> Result<&CertificateId, Failure> {
        let name = &self.request.thing_name;
        let id = self.certificate_id.as_ref();
        id.ok_or_else(|| Failure::bug(format!("{name} is ACTIVE without a certificate")))
    }
}

const fn first_version() -> u64 {
    1
}

/// Over how many partitions the billing index spreads each billing group.
pub const BILLING_SHARDS: u32 = 16;

/// One of a billing group's partitions in the billing index; devices without a
/// billing group have partitions too.
pub fn billing_shard(group: Option<&BillingGroupName>, number: u32) -> String {
    let group = group.map_or("", BillingGroupName::as_str);
    format!("BILLING#{number:02}#{group}")
}

/// The billing partition of one device.
pub fn billing_shard_of(group: Option<&BillingGroupName>, name: &ThingName) -> String {
    billing_shard(group, number_of(name) % BILLING_SHARDS)
}

/// Over how many partitions the listing index spreads.
pub const LISTING_SHARDS: u32 = 16;

/// The listing index's partition with this number.
pub fn listing_shard(number: u32) -> String {
    format!("DEVICES#{number:02}")
}

/// The listing partition of one name; the same for ever.
pub fn listing_shard_of(name: &ThingName) -> String {
    listing_shard(number_of(name) % LISTING_SHARDS)
}

/// A number that spreads names evenly; the same for ever.
pub(crate) fn number_of(name: &ThingName) -> u32 {
    let digest = crate::csr::sha256_hex(name.as_str().as_bytes());
    u32::from_str_radix(&digest[..4], 16).unwrap_or_default()
}

/// `DEVICE#name / CERT#id`: one certificate of a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateRecord {
    /// The certificate's id.
    pub certificate_id: CertificateId,
    /// The certificate.
    pub certificate_pem: String,
    /// The key it certifies.
    pub public_key: PublicKeyId,
    /// Who holds that key.
    pub custody: Custody,
    /// The custody bucket's key for it, with custody `vault`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_object: Option<String>,
    /// When every version of that object was purged, the device having proved
    /// that it has the key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_purged_at: Option<Moment>,
    /// What issued it.
    pub issuer: Issuer,
    /// When it was issued.
    pub issued_at: Moment,
    /// When it ends.
    pub not_after: Moment,
    /// When it is due for renewal. Rows from before renewal have no such time,
    /// and a certificate that is being retired leaves the due index with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Moment>,
    /// The due index's partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_shard: Option<String>,
    /// When a case of compromise took it out of force; for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Moment>,
    /// The hand-out of its key, once that has happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hand_out: Option<HandOut>,
}

/// `KEY#publicKey / OWNER`: the one device that a public key belongs to
/// (invariant 1). It stands before anything is certified for the key and goes
/// with the key's last certificate, so that what is found in AWS by a key is
/// this device's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyOwner {
    /// The device.
    pub thing_name: ThingName,
    /// The creation or rotation that it came with.
    pub operation_id: OperationId,
}

impl KeyOwner {
    /// The refusal of a key that is in use.
    pub fn taken() -> Failure {
        Failure::conflict(
            "csr",
            "another device has this key, or this device has a certificate for it already",
            "Make a key of its own for this device, and send that key's request.",
        )
    }
}

/// What signs a device's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Issuer {
    /// AWS IoT's own authority.
    AwsIot,
    /// Our own authority, whose key never leaves KMS.
    KmsCa,
}

impl Issuer {
    /// The issuer as the API spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwsIot => "aws-iot",
            Self::KmsCa => "kms-ca",
        }
    }

    /// Reads the API's spelling.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        [Self::AwsIot, Self::KmsCa]
            .into_iter()
            .find(|issuer| issuer.name() == text)
            .ok_or_else(|| {
                Failure::invalid(
                    "issuer",
                    format!("there is no issuer {}", quoted(text)),
                    "Use aws-iot or kms-ca.",
                )
            })
    }
}

/// `DEVICE#name / TOMBSTONE`: what remains of a deleted device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// The name it had.
    pub thing_name: ThingName,
    /// Every certificate it had; none of these is ever accepted again.
    pub certificate_ids: Vec<CertificateId>,
    /// The deletion.
    pub operation_id: OperationId,
    /// When it was deleted.
    pub deleted_at: Moment,
    /// When the row may go: when the last certificate would have ended, in
    /// seconds since 1970 (the table's time to live).
    pub expires_at: u64,
}

/// `DEVICE#name / PREREGISTRATION`: a name that may be claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preregistration {
    /// The name.
    pub thing_name: ThingName,
    /// The profile it may be claimed under.
    pub profile: ProfileName,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_certificate_without_a_due_time_is_read_and_stays_out_of_the_index() {
        let row = json!({
            "certificateId": "a".repeat(64), "certificatePem": "PEM", "publicKey": "b".repeat(64),
            "custody": "device", "issuer": "aws-iot", "issuedAt": 1, "notAfter": 2,
        });
        let record: CertificateRecord = serde_json::from_value(row.clone()).unwrap();
        assert_eq!((record.due_at, &record.due_shard), (None, &None));
        assert_eq!(serde_json::to_value(record).unwrap(), row);
    }
}
