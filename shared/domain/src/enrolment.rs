//! Enrolment: a device that slept past its certificate's end, or has lost its
//! key, comes back with a token instead of a certificate.
//!
//! The token is bound to one device, lives minutes to hours, and admits one
//! public key. Whatever is wrong with it, the answer is the same, so that
//! nobody can probe for tokens or for devices. Tokens are known by their
//! SHA-256 alone (invariant 4), and digests are what is compared: how long that
//! takes says nothing of the token.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::csr::{Csr, PublicKeyId, hex, sha256_hex};
use crate::device::{DeviceRecord, DeviceStatus};
use crate::failure::{Failure, Kind};
use crate::fields::Fields;
use crate::names::{OperationId, ThingName};
use crate::time::Moment;

/// A name, a token and a signing request fit in a fraction of this.
const MOST_BODY_BYTES: usize = 16 * 1024;
/// How long a token lives, in minutes, unless it is said.
const MINUTES: u64 = 60;
/// How long it may live: a day.
const MOST_MINUTES: u64 = 24 * 60;
/// The longest reason, in characters: it is shown in logs.
const LONGEST_REASON: usize = 500;

/// A token as its bearer has it: 256 random bits as hex digits. It has no
/// `Display` and is not serialisable, so that it ends nowhere by mistake.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token of randomness that the shell supplies.
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(hex(&bytes))
    }

    /// Checks a token's form; the refusal repeats nothing of it.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let digits = |byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if text.len() == 64 && text.bytes().all(digits) {
            return Ok(Self(text.to_owned()));
        }
        Err(Failure::invalid(
            "token",
            "a token is 64 hexadecimal digits in lower case",
            "Send the token as it was issued.",
        ))
    }

    /// What the registry knows of it.
    pub fn digest(&self) -> String {
        sha256_hex(self.0.as_bytes())
    }

    /// The token itself, for its bearer's eyes.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A request to issue a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// For how many minutes.
    pub minutes: u64,
    /// Why, for whoever reads the log.
    pub reason: String,
}

impl TokenRequest {
    /// Reads a JSON body.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let shape = "Send JSON: {\"reason\": …, \"minutes\"?: 1 to 1440}.";
        let mut fields = Fields::parse(bounded(body)?, shape)?;
        let minutes = fields.number("minutes")?.unwrap_or(MINUTES);
        let reason = fields.required_text("reason")?.trim().to_owned();
        fields.end()?;
        if !(1..=MOST_MINUTES).contains(&minutes) {
            return Err(Failure::invalid(
                "minutes",
                format!("a token lives 1 to {MOST_MINUTES} minutes, not {minutes}"),
                "Issue it when the device is at hand.",
            ));
        }
        let length = reason.chars().count();
        if !(1..=LONGEST_REASON).contains(&length) {
            return Err(Failure::invalid(
                "reason",
                format!("a reason has 1 to {LONGEST_REASON} characters, not {length}"),
                "Say in a sentence why the device cannot renew its certificate itself.",
            ));
        }
        Ok(Self { minutes, reason })
    }
}

/// A request to be enrolled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrolRequest {
    /// Who the device says it is.
    pub thing_name: ThingName,
    /// What vouches for it.
    pub token: Token,
    /// What it wants certified.
    pub csr: Csr,
}

impl EnrolRequest {
    /// Reads a JSON body.
    ///
    /// # Errors
    /// `Invalid`, with the field.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let shape = "Send JSON: {\"thingName\": …, \"token\": …, \"csr\": …}.";
        let mut fields = Fields::parse(bounded(body)?, shape)?;
        let thing_name = ThingName::parse(&fields.required_text("thingName")?)?;
        let token = Token::parse(&fields.required_text("token")?)?;
        let csr = fields.required_text("csr")?;
        fields.end()?;
        Ok(Self {
            thing_name,
            token,
            csr: Csr::parse(&csr)?,
        })
    }
}

fn bounded(body: &[u8]) -> Result<&[u8], Failure> {
    if body.len() <= MOST_BODY_BYTES {
        return Ok(body);
    }
    Err(Failure::invalid(
        "body",
        format!("the body is {} bytes long", body.len()),
        format!("Send at most {MOST_BODY_BYTES} bytes."),
    )
    .status(413))
}

/// `DEVICE#name / ENROLMENT`: the device's one token. A new one takes its
/// place; a case of compromise and a deletion remove it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TokenRecord {
    /// The SHA-256 of the token.
    pub token_digest: String,
    /// The creation of the device: a later one under the name is another device.
    pub created_by: OperationId,
    /// When it was issued.
    pub issued_at: Moment,
    /// By whom: a caller's ARN.
    pub issued_by: String,
    /// Why.
    pub reason: String,
    /// From when on it is worth nothing.
    pub ends_at: Moment,
    /// When the row may go, in seconds since 1970 (the table's time to live).
    pub expires_at: u64,
    /// What it has admitted, once it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admitted: Option<Admitted>,
}

/// What a token was used for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Admitted {
    /// The one key that it admits.
    pub public_key: PublicKeyId,
    /// The rotation that brings the key's certificate.
    pub rotation_id: OperationId,
}

/// The record of a token that is issued now.
///
/// # Errors
/// `NotFound` without such a device; `Conflict` while it is not ACTIVE, or while
/// a case of compromise is open, which is named.
pub fn issue(
    name: &ThingName,
    device: Option<&DeviceRecord>,
    request: &TokenRequest,
    token: &Token,
    by: &str,
    now: Moment,
) -> Result<TokenRecord, Failure> {
    let device = DeviceRecord::active(name, device, "Only an ACTIVE device is enrolled.")?;
    if let Some(case) = &device.case_id {
        return Err(Failure::conflict(
            "thingName",
            format!("the case {case} is open: the device's certificate may be compromised"),
            "Look at the case, and close it first.",
        ));
    }
    let ends_at = now.plus_millis(request.minutes * 60_000);
    Ok(TokenRecord {
        token_digest: token.digest(),
        created_by: device.created_by.clone(),
        issued_at: now,
        issued_by: by.to_owned(),
        reason: request.reason.clone(),
        ends_at,
        expires_at: ends_at.epoch_seconds(),
        admitted: None,
    })
}

/// What a token that is good leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is used now.
    First,
    /// The same key comes again: the same answer.
    Again(OperationId),
}

/// Whether a token admits a key to the device whose record is given.
///
/// # Errors
/// [`refused`], whatever is wrong.
pub fn admit(
    record: Option<&TokenRecord>,
    token: &Token,
    key: &PublicKeyId,
    now: Moment,
) -> Result<Admission, Failure> {
    let digest = token.digest();
    let record = record.ok_or_else(|| refused("the device has no open token"))?;
    if record.token_digest != digest {
        return Err(refused("the token is not the one that the device has"));
    }
    if now >= record.ends_at {
        return Err(refused("the token has expired"));
    }
    match &record.admitted {
        None => Ok(Admission::First),
        Some(admitted) if admitted.public_key == *key => {
            Ok(Admission::Again(admitted.rotation_id.clone()))
        }
        Some(_) => Err(refused("the token was used with another key")),
    }
}

/// That the device may be enrolled at this moment, by the record that its token
/// is used with.
///
/// # Errors
/// [`refused`].
pub fn enrollable<'a>(
    device: Option<&'a DeviceRecord>,
    record: &TokenRecord,
) -> Result<&'a DeviceRecord, Failure> {
    match device {
        None => Err(refused("the device is gone")),
        Some(device) if device.created_by != record.created_by => {
            Err(refused("the token was issued for an earlier device"))
        }
        Some(device) if device.case_id.is_some() => Err(refused("a case is open on the device")),
        Some(device) if device.status != DeviceStatus::Active => {
            Err(refused("the device is not ACTIVE"))
        }
        Some(device) => Ok(device),
    }
}

/// The one answer to whatever is wrong with a token. `why` is for the operator.
pub fn refused(why: &str) -> Failure {
    Failure::new(
        Kind::Denied,
        "the token does not admit this device",
        "Ask the device's operator for a new token.",
    )
    .field("token")
    .operator(why)
}

#[cfg(test)]
mod tests;
