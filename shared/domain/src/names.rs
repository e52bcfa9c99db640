//! Names that cannot be wrong: each is checked once, where it enters.
//!
//! Patterns and lengths are those of the AWS IoT API Reference (`CreateThing`,
//! `CreateThingGroup`, `CreateThingType`, `CreateBillingGroup`,
//! `CreatePolicy`, `AttributePayload`).

use serde::{Deserialize, Deserializer, Serialize};

use crate::failure::Failure;
use crate::quote::quoted;

/// Where a name's characters come from.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) field: &'static str,
    pub(crate) what: &'static str,
    pub(crate) most: usize,
    pub(crate) extra: &'static str,
}

/// Checks a name, for the first thing that is wrong with it.
pub(crate) fn checked(text: &str, shape: Shape) -> Result<(), Failure> {
    let remedy = || {
        format!(
            "Use 1 to {} characters out of a-z, A-Z, 0-9 and {}.",
            shape.most,
            shape
                .extra
                .chars()
                .map(|c| c.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        )
    };
    if text.is_empty() {
        return Err(Failure::invalid(
            shape.field,
            format!("the {} is empty", shape.what),
            remedy(),
        ));
    }
    if text.len() > shape.most {
        return Err(Failure::invalid(
            shape.field,
            format!(
                "the {} is {} characters long",
                shape.what,
                text.chars().count()
            ),
            remedy(),
        ));
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !shape.extra.contains(*c))
    {
        None => Ok(()),
        Some(bad) => Err(Failure::invalid(
            shape.field,
            format!("the {} {} contains {bad:?}", shape.what, quoted(text)),
            remedy(),
        )),
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $field:literal, $what:literal, $most:literal, $extra:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Checks the text; the failure names the field, the character and the remedy.
            pub fn parse(text: &str) -> Result<Self, Failure> {
                checked(text, Shape { field: $field, what: $what, most: $most, extra: $extra })?;
                Ok(Self(text.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// A thing's name; the device's MQTT client id equals it.
    ThingName, "thingName", "thing name", 128, "-_:"
);
name!(
    /// A thing type's name.
    ThingTypeName, "thingType", "thing type name", 128, "-_:"
);
name!(
    /// A static thing group's name.
    GroupName, "groups", "thing group name", 128, "-_:"
);
name!(
    /// A billing group's name.
    BillingGroupName, "billingGroup", "billing group name", 128, "-_:"
);
name!(
    /// A policy's name.
    PolicyName, "policies", "policy name", 128, "+=,.@-_"
);
name!(
    /// A provisioning profile's name.
    ProfileName, "profile", "profile name", 128, "-_:"
);
name!(
    /// A catalog's name.
    CatalogName, "name", "catalog's name", 128, "-_:"
);
name!(
    /// A job template's name.
    JobTemplateName, "jobTemplate", "job template name", 64, "-_"
);
name!(
    /// An attribute's name.
    AttributeName, "attributes", "attribute name", 128, "_.,@/:#-"
);

/// An attribute's value; unlike names it may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AttributeValue(String);

impl AttributeValue {
    /// Checks the text of one attribute's value.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if !text.is_empty() {
            checked(
                text,
                Shape {
                    field: "attributes",
                    what: "attribute value",
                    most: 800,
                    extra: "_.,@/:#=[]-",
                },
            )?;
        }
        Ok(Self(text.to_owned()))
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A certificate's id: the SHA-256 of its DER, 64 lower-case hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct CertificateId(String);

impl CertificateId {
    /// Checks that the text is 64 lower-case hex digits.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Failure::invalid(
                "certificateId",
                format!("{} is not a certificate id", quoted(text)),
                "A certificate id is 64 lower-case hex digits.",
            ))
        }
    }

    /// The id of a certificate, from its DER (AWS IoT defines it so).
    pub fn of_der(der: &[u8]) -> Self {
        Self(crate::csr::sha256_hex(der))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CertificateId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CertificateId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// An operation's id. Callers treat it as opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct OperationId(String);

impl OperationId {
    /// An id drawn from randomness that the shell supplies.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("op-{}", crate::csr::hex(&bytes)))
    }

    /// The id that a caller's idempotency key always leads to.
    pub fn from_key(key: &str) -> Self {
        let digest = crate::csr::sha256_hex(format!("idempotency-key\0{key}").as_bytes());
        Self(format!("op-{}", &digest[..32]))
    }

    /// The rotation that renews a certificate of a thing: always the same id
    /// for the same attempt, so that whoever asks for it, and how often, it is
    /// started once. Attempt 0 is the first; a further one may be made only
    /// when the one before has ended without success.
    pub fn of_rotation(thing: &ThingName, certificate: &CertificateId, attempt: u32) -> Self {
        let key = format!("rotation\0{thing}\0{certificate}\0{attempt}");
        let digest = crate::csr::sha256_hex(key.as_bytes());
        Self(format!("op-{}", &digest[..32]))
    }

    /// Checks an id that a caller sent.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let hex = text.strip_prefix("op-").unwrap_or_default();
        if hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Failure::invalid(
                "operationId",
                format!("{} is not an operation id", quoted(text)),
                "Use the operationId that a create, an update, a renewal or a delete was answered with.",
            ))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for OperationId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for OperationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The id of a case of compromise. Callers treat it as opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct CaseId(String);

impl CaseId {
    /// An id drawn from randomness that the shell supplies.
    pub fn from_random(bytes: [u8; 16]) -> Self {
        Self(format!("case-{}", crate::csr::hex(&bytes)))
    }

    /// Checks an id that a caller sent.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let hex = text.strip_prefix("case-").unwrap_or_default();
        if hex.len() == 32 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Failure::invalid(
                "caseId",
                format!("{text:?} is not a case's id"),
                "Use the caseId that the report was answered with.",
            ))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for CaseId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for CaseId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A sweep's id. Callers treat it as opaque.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct SweepId(String);

impl SweepId {
    /// The id that a key always leads to: a caller's idempotency key, or the
    /// name of the execution that the schedule started.
    pub fn from_key(key: &str) -> Self {
        let digest = crate::csr::sha256_hex(format!("sweep\0{key}").as_bytes());
        Self(format!("sweep-{}", &digest[..24]))
    }

    /// Checks an id that a caller sent.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let hex = text.strip_prefix("sweep-").unwrap_or_default();
        if hex.len() == 24 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Failure::invalid(
                "sweepId",
                format!("{} is not a sweep id", quoted(text)),
                "Use the sweepId that the start of the sweep answered with.",
            ))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SweepId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SweepId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, accepted: bool) {
        let parsed = ThingName::parse(text);
        assert_eq!(parsed.is_ok(), accepted, "{text:?}: {parsed:?}");
        if let Err(failure) = parsed {
            assert_eq!(failure.field.as_deref(), Some("thingName"));
            assert!(!failure.remedy.is_empty());
        }
    }

    #[test]
    fn thing_names() {
        check("milan-0001", true);
        check("a:b_c", true);
        check("a.b", false);
        check("", false);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        check("a/b", false);
        check("a#", false);
        check("a+b", false);
        check("lampe-à-arc", false);
        check("a b", false);
        check("$aws", false);
    }

    #[test]
    fn an_idempotency_key_always_leads_to_the_same_operation() {
        assert_eq!(OperationId::from_key("k"), OperationId::from_key("k"));
        assert_ne!(OperationId::from_key("k"), OperationId::from_key("l"));
        assert!(OperationId::parse(OperationId::from_key("k").as_str()).is_ok());
        assert_eq!(SweepId::from_key("k"), SweepId::from_key("k"));
        assert_ne!(SweepId::from_key("k"), SweepId::from_key("l"));
        assert!(SweepId::parse(SweepId::from_key("k").as_str()).is_ok());
    }

    #[test]
    fn a_rotation_is_named_by_thing_certificate_and_attempt() {
        let thing = |name| ThingName::parse(name).unwrap();
        let certificate = |der: &[u8]| CertificateId::of_der(der);
        let id = OperationId::of_rotation(&thing("a"), &certificate(b"1"), 0);
        assert_eq!(
            id,
            OperationId::of_rotation(&thing("a"), &certificate(b"1"), 0)
        );
        for other in [
            OperationId::of_rotation(&thing("b"), &certificate(b"1"), 0),
            OperationId::of_rotation(&thing("a"), &certificate(b"2"), 0),
            OperationId::of_rotation(&thing("a"), &certificate(b"1"), 1),
        ] {
            assert_ne!(id, other);
        }
        assert!(OperationId::parse(id.as_str()).is_ok());
    }
}
