//! The authority behind the issuer `kms-ca`: whose key never leaves KMS, and
//! whose certificates are made here.
//!
//! Two may be valid at once. New certificates come from the newest; the one
//! before it stays listed until it ends, because devices still have
//! certificates of it. Two keys are used in turn, so a third authority waits
//! until the oldest has ended.

mod certificate;
#[cfg(test)]
mod tests;
mod view;

use serde::{Deserialize, Deserializer, Serialize};

pub use certificate::{Serial, Signed, Unsigned, authority_certificate, device_certificate};
pub use view::{AuthorityList, AuthorityView};

use crate::failure::{Failure, Kind};
use crate::fields::Fields;
use crate::quote::quoted;
use crate::time::Moment;

/// How far a certificate's beginning lies back, so that a device whose clock
/// is slow accepts it.
const SKEW_MILLIS: u64 = 5 * 60 * 1000;
const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// RFC 5280, appendix A: `ub-common-name`.
const MOST_COMMON_NAME: usize = 64;
const DEFAULT_YEARS: u32 = 10;
const MOST_YEARS: u32 = 30;
const DEFAULT_SUBJECT: &str = "Lamplighter device authority";

/// An authority's id: the subject key identifier of its certificate, and so
/// the authority key identifier of every certificate it signed. 40 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct AuthorityId(String);

impl AuthorityId {
    /// The id of the authority that uses this key under this serial number. A
    /// key that is used in turn makes another authority each time.
    fn of(public_key: &[u8], serial: &Serial) -> Self {
        let mut both = public_key.to_vec();
        both.extend_from_slice(&serial.0);
        Self(crate::csr::sha256_hex(&both)[..40].to_owned())
    }

    /// Checks an id that a caller sent.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        if text.len() == 40 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Failure::invalid(
                "replaces",
                format!("{} is not an authority's id", quoted(text)),
                "An authority's id is 40 lower-case hex digits; GET /authorities lists them.",
            ))
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn bytes(&self) -> Vec<u8> {
        let digit = |c: u8| match c {
            b'0'..=b'9' => c - b'0',
            _ => c - b'a' + 10,
        };
        let pairs = self.0.as_bytes().chunks_exact(2);
        pairs.map(|p| digit(p[0]) << 4 | digit(p[1])).collect()
    }
}

impl std::fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for AuthorityId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// `CA#{id} / AUTHORITY`: one authority. It never changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Authority {
    /// Its id.
    pub authority_id: AuthorityId,
    /// The common name of its certificate.
    pub subject: String,
    /// Its certificate, signed by itself.
    pub certificate_pem: String,
    /// The KMS key that signs for it.
    pub key_arn: String,
    /// When its certificate begins.
    pub not_before: Moment,
    /// When its certificate ends; nothing that it signs ends later.
    pub not_after: Moment,
    /// The authority that it follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<AuthorityId>,
}

/// `CA#ACTIVE / POINTER`: the authority that signs now, and the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// What signs new certificates.
    pub active: Authority,
    /// What signed before, until it ends.
    #[serde(default)]
    pub earlier: Vec<Authority>,
}

impl Standing {
    /// The authorities that are still valid, newest first.
    pub fn valid(&self, now: Moment) -> Vec<&Authority> {
        std::iter::once(&self.active)
            .chain(&self.earlier)
            .filter(|authority| authority.not_after > now)
            .collect()
    }

    /// What stands once the active authority is followed by another.
    #[must_use]
    pub fn followed_by(&self, next: Authority, now: Moment) -> Self {
        Self {
            active: next,
            earlier: self.valid(now).into_iter().cloned().collect(),
        }
    }
}

/// An authority that is to be made; its key has still to sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityPlan {
    /// The common name of its certificate.
    pub subject: String,
    /// The KMS key that will sign for it.
    pub key_arn: String,
    /// When its certificate begins.
    pub not_before: Moment,
    /// When its certificate ends.
    pub not_after: Moment,
    /// The authority that it follows.
    pub replaces: Option<AuthorityId>,
}

impl AuthorityPlan {
    /// The authority, once its certificate is signed.
    pub fn made(self, signed: Signed) -> Result<Authority, Failure> {
        let authority_id = certificate::subject_key_id(&signed.certificate_pem)
            .ok_or_else(|| Failure::bug("an authority's certificate without a key identifier"))?;
        Ok(Authority {
            authority_id,
            subject: self.subject,
            certificate_pem: signed.certificate_pem,
            key_arn: self.key_arn,
            not_before: self.not_before,
            not_after: self.not_after,
            replaces: self.replaces,
        })
    }
}

/// The authority that signed a PEM certificate, by its authority key
/// identifier, if the text is one that has it.
pub fn signer_of(certificate_pem: &str) -> Option<AuthorityId> {
    certificate::authority_key_id(certificate_pem)
}

/// `POST /authorities`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitRequest {
    /// The common name of the authority's certificate; ours where none is given.
    pub subject: Option<String>,
    /// For how many years it is valid.
    pub years: u32,
}

/// `POST /authorities/rotation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRequest {
    /// The authority that is active as far as the caller knows.
    pub replaces: AuthorityId,
    /// The common name; the active authority's where none is given.
    pub subject: Option<String>,
    /// For how many years it is valid.
    pub years: u32,
}

#[derive(Debug, Default)]
struct Raw {
    subject: Option<String>,
    years: Option<u32>,
    replaces: Option<String>,
}

impl Raw {
    fn read(body: &[u8], remedy: &'static str) -> Result<Self, Failure> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        let mut fields = Fields::parse(body, remedy)?;
        let raw = Self {
            subject: fields.text("subject")?,
            // Of numbers beyond, the largest is as wrong.
            years: fields
                .number("years")?
                .map(|years| u32::try_from(years).unwrap_or(u32::MAX)),
            replaces: fields.text("replaces")?,
        };
        fields.end()?;
        Ok(raw)
    }

    fn subject(&self) -> Result<Option<String>, Failure> {
        let Some(subject) = self.subject.as_deref().map(str::trim) else {
            return Ok(None);
        };
        let fits = (1..=MOST_COMMON_NAME).contains(&subject.chars().count());
        if !fits || subject.chars().any(char::is_control) {
            return Err(Failure::invalid(
                "subject",
                "the subject is no common name",
                format!(
                    "Give 1 to {MOST_COMMON_NAME} printable characters, for example Milan lights."
                ),
            ));
        }
        Ok(Some(subject.to_owned()))
    }

    fn years(&self) -> Result<u32, Failure> {
        let years = self.years.unwrap_or(DEFAULT_YEARS);
        if (1..=MOST_YEARS).contains(&years) {
            return Ok(years);
        }
        Err(Failure::invalid(
            "years",
            format!("{years} years are asked for"),
            format!("Give 1 to {MOST_YEARS}."),
        ))
    }
}

impl InitRequest {
    /// Reads a JSON body; an empty one asks for the defaults.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let raw = Raw::read(body, "Send JSON: {\"subject\"?, \"years\"?}.")?;
        if raw.replaces.is_some() {
            return Err(Failure::invalid(
                "replaces",
                "the first authority replaces none",
                "POST /authorities/rotation makes the next one.",
            ));
        }
        Ok(Self {
            subject: raw.subject()?,
            years: raw.years()?,
        })
    }

    /// Decides what is to be made; nothing where an authority stands already.
    /// `keys` are the KMS keys that are used in turn.
    ///
    /// # Errors
    /// `Conflict` for `subject` where none that stands has it.
    pub fn decide(
        &self,
        standing: Option<&Standing>,
        keys: &[String],
        now: Moment,
    ) -> Result<Option<AuthorityPlan>, Failure> {
        if let Some(standing) = standing {
            return self.stands(standing, now).map(|()| None);
        }
        let key = keys
            .first()
            .ok_or_else(|| Failure::bug("the stack has no key for an authority"))?;
        let subject = self.subject.as_deref().unwrap_or(DEFAULT_SUBJECT);
        Ok(Some(plan(subject.to_owned(), self.years, key, None, now)))
    }

    /// Whether what is asked for may be what stands.
    fn stands(&self, standing: &Standing, now: Moment) -> Result<(), Failure> {
        let Some(subject) = &self.subject else {
            return Ok(());
        };
        let active = &standing.active;
        let mut all = standing.valid(now).into_iter().chain([active]);
        if all.any(|authority| authority.subject == *subject) {
            return Ok(());
        }
        Err(Failure::conflict(
            "subject",
            format!("the authority that is there is {}", quoted(&active.subject)),
            "Ask without a subject, or make the next authority with `lamp ca rotate` \
             (POST /authorities/rotation).",
        ))
    }
}

impl RotationRequest {
    /// Reads a JSON body.
    pub fn parse(body: &[u8]) -> Result<Self, Failure> {
        let remedy = "Send JSON: {\"replaces\", \"subject\"?, \"years\"?}.";
        let raw = Raw::read(body, remedy)?;
        let Some(replaces) = &raw.replaces else {
            return Err(Failure::invalid(
                "replaces",
                "it is not said which authority is to be followed",
                "Send the id of the active one, so that a repeated request makes no third.",
            ));
        };
        Ok(Self {
            replaces: AuthorityId::parse(replaces)?,
            subject: raw.subject()?,
            years: raw.years()?,
        })
    }

    /// Decides what is to be made; nothing where that has been done already.
    pub fn decide(
        &self,
        standing: Option<&Standing>,
        keys: &[String],
        now: Moment,
    ) -> Result<Option<AuthorityPlan>, Failure> {
        let standing = standing.ok_or_else(no_authority)?;
        let active = &standing.active;
        if active.replaces.as_ref() == Some(&self.replaces) {
            return Ok(None);
        }
        if active.authority_id != self.replaces {
            return Err(Failure::conflict(
                "replaces",
                format!("the active authority is {}", active.authority_id),
                "Look at GET /authorities, and name the active one.",
            ));
        }
        let valid = standing.valid(now);
        let in_use = |key: &String| valid.iter().any(|authority| authority.key_arn == *key);
        let Some(key) = keys.iter().find(|key| !in_use(key)) else {
            let ends = valid.iter().map(|a| a.not_after).min().unwrap_or(now);
            return Err(Failure::conflict(
                "replaces",
                "as many authorities are valid as the stack has keys",
                format!(
                    "The next can follow once one has ended, at {}.",
                    ends.rfc3339()
                ),
            ));
        };
        let subject = self
            .subject
            .clone()
            .unwrap_or_else(|| active.subject.clone());
        let replaces = Some(self.replaces.clone());
        Ok(Some(plan(subject, self.years, key, replaces, now)))
    }
}

fn plan(
    subject: String,
    years: u32,
    key_arn: &str,
    replaces: Option<AuthorityId>,
    now: Moment,
) -> AuthorityPlan {
    let days = u64::from(years) * 1461 / 4;
    AuthorityPlan {
        subject,
        key_arn: key_arn.to_owned(),
        not_before: whole_seconds(now.minus_millis(SKEW_MILLIS)),
        not_after: whole_seconds(now.plus_millis(days * DAY_MILLIS)),
        replaces,
    }
}

/// What a creation with `kms-ca` is told before there is an authority.
pub fn no_authority() -> Failure {
    Failure::invalid(
        "issuer",
        "there is no certificate authority yet",
        "Make one with `lamp ca init`, or use the issuer aws-iot.",
    )
    .status(422)
}

/// For how long device certificates are valid, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(u64);

impl Lifetime {
    /// Reads a number of days, hours or minutes: `365d`, `12h`, `30m`.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        let refused = || {
            let reason = format!("{text:?} is no lifetime of a certificate");
            Failure::new(
                Kind::Invalid,
                reason,
                "Write 365d, 12h or 30m, at most 9999d.",
            )
        };
        let unit = match text.bytes().last() {
            Some(b'd') => DAY_MILLIS,
            Some(b'h') => DAY_MILLIS / 24,
            Some(b'm') => DAY_MILLIS / 24 / 60,
            _ => return Err(refused()),
        };
        let digits = &text[..text.len() - 1];
        let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        let number: u64 = digits.parse().map_err(|_| refused())?;
        let millis = number * unit;
        if !plain || number == 0 || millis > 9999 * DAY_MILLIS {
            return Err(refused());
        }
        Ok(Self(millis))
    }

    /// The lifetime in milliseconds.
    pub const fn millis(self) -> u64 {
        self.0
    }
}

/// From when until when a certificate is valid, in whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment.
    pub not_before: Moment,
    /// The last moment.
    pub not_after: Moment,
}

impl Authority {
    /// How long a certificate that it signs now is valid: as long as asked, and
    /// never longer than the authority itself.
    pub fn validity(&self, now: Moment, lifetime: Lifetime) -> Result<Validity, Failure> {
        if self.not_after <= now {
            return Err(Failure::new(
                Kind::Denied,
                format!(
                    "the certificate authority ended at {}",
                    self.not_after.rfc3339()
                ),
                "Make the next one with `lamp ca rotate`.",
            )
            .field("issuer")
            .status(422));
        }
        let begins = whole_seconds(now.minus_millis(SKEW_MILLIS));
        let ends = whole_seconds(now.plus_millis(lifetime.0));
        Ok(Validity {
            not_before: begins.max(self.not_before),
            not_after: ends.min(self.not_after),
        })
    }
}

/// Certificates know whole seconds only (RFC 5280, 4.1.2.5).
const fn whole_seconds(moment: Moment) -> Moment {
    Moment(moment.epoch_seconds() * 1000)
}
