//! What signs certificates: AWS IoT's own authority, or ours.
//!
//! Both go the same way: `prepare` says what is about to be made, the caller
//! records that, and only then does `issue` make it. So whoever takes the work
//! up after a crash knows what may exist (invariant 3).

pub mod aws_iot;
#[cfg(all(feature = "dynamodb", feature = "kms"))]
pub mod kms_ca;

use aws_config::SdkConfig;
use aws_sdk_iot::Client;
use lamplighter_domain::Failure;
use lamplighter_domain::create::Mint;
use lamplighter_domain::csr::{self, Csr, PublicKeyId};
use lamplighter_domain::device::{self, CertificateRecord, Custody};
use lamplighter_domain::due::{Due, RenewalAge};
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::time::Moment;

use crate::failure::{self, Cause};
#[cfg(all(feature = "dynamodb", feature = "kms"))]
use crate::table::Table;
use crate::things::Things;
use crate::{certificates, clock};

/// A certificate that exists in AWS IoT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// Its id.
    pub certificate_id: CertificateId,
    /// Its ARN.
    pub certificate_arn: String,
    /// The certificate.
    pub certificate_pem: String,
}

impl Minted {
    /// The record of a certificate that was made just now, for a key that the
    /// device made.
    pub fn record(
        &self,
        issuer: device::Issuer,
        name: &ThingName,
        public_key: &PublicKeyId,
        renewal_age: RenewalAge,
    ) -> CertificateRecord {
        let ends = csr::not_after(&self.certificate_pem).unwrap_or_default();
        let not_after = Moment(u64::try_from(ends).unwrap_or_default() * 1000);
        let issued_at = clock::now();
        let due = Due::of(issuer, issued_at, not_after, name, renewal_age);
        CertificateRecord {
            certificate_id: self.certificate_id.clone(),
            certificate_pem: self.certificate_pem.clone(),
            public_key: public_key.clone(),
            custody: Custody::Device,
            key_object: None,
            key_purged_at: None,
            issuer,
            issued_at,
            not_after,
            due_at: Some(due.due_at),
            due_shard: Some(due.due_shard),
            revoked_at: None,
            hand_out: None,
        }
    }
}

/// What makes certificates.
pub trait Issuer {
    /// What is to be recorded before a certificate is made. Nothing exists in
    /// AWS IoT yet; prepared and not recorded is as if it had never been.
    fn prepare(
        &self,
        thing: &ThingName,
        csr: &Csr,
        now: Moment,
    ) -> impl Future<Output = Result<Mint, Failure>>;

    /// Makes the certificate of a recorded mint, ACTIVE and attached to
    /// nothing. `repeated` is whether an earlier invocation may have come as
    /// far with the same mint.
    fn issue(
        &self,
        thing: &ThingName,
        csr: &Csr,
        mint: &Mint,
        repeated: bool,
    ) -> impl Future<Output = Result<Minted, Failure>>;
}

/// Both issuers; each request chooses.
#[cfg(all(feature = "dynamodb", feature = "kms"))]
pub struct Issuers {
    /// AWS IoT's own authority.
    pub aws_iot: aws_iot::AwsIot,
    /// Our own authority.
    pub kms_ca: kms_ca::KmsCa,
}

#[cfg(all(feature = "dynamodb", feature = "kms"))]
impl Issuers {
    /// What the stack gives both.
    pub fn from_env(sdk: &SdkConfig, table: &Table, things: &Things) -> Result<Self, Failure> {
        Ok(Self {
            aws_iot: aws_iot::AwsIot {
                things: things.clone(),
            },
            kms_ca: kms_ca::KmsCa::from_env(sdk, table.clone())?,
        })
    }

    /// The certificate of the authority that issued one, where it is published.
    pub async fn certificate_of_issuer(
        &self,
        certificate: &CertificateRecord,
    ) -> Result<Option<String>, Failure> {
        match certificate.issuer {
            device::Issuer::AwsIot => Ok(None),
            device::Issuer::KmsCa => self
                .kms_ca
                .certificate_of_signer(&certificate.certificate_pem)
                .await
                .map(Some),
        }
    }

    /// [`Issuer::prepare`] by the chosen one.
    pub async fn prepare(
        &self,
        by: device::Issuer,
        thing: &ThingName,
        csr: &Csr,
        now: Moment,
    ) -> Result<Mint, Failure> {
        match by {
            device::Issuer::AwsIot => self.aws_iot.prepare(thing, csr, now).await,
            device::Issuer::KmsCa => self.kms_ca.prepare(thing, csr, now).await,
        }
    }

    /// [`Issuer::issue`] by the chosen one.
    pub async fn issue(
        &self,
        by: device::Issuer,
        thing: &ThingName,
        csr: &Csr,
        mint: &Mint,
        repeated: bool,
    ) -> Result<Minted, Failure> {
        match by {
            device::Issuer::AwsIot => self.aws_iot.issue(thing, csr, mint, repeated).await,
            device::Issuer::KmsCa => self.kms_ca.issue(thing, csr, mint, repeated).await,
        }
    }
}

/// The certificates that a recorded mint made, or may have made, for a thing.
pub async fn made(iot: &Client, thing: &ThingName, mint: &Mint) -> Result<Vec<Minted>, Failure> {
    match &mint.certificate_id {
        Some(id) => Ok(describe(iot, id.as_str()).await?.into_iter().collect()),
        None => aws_iot::find_minted(iot, thing, &mint.public_key, mint.intended_at).await,
    }
}

/// A certificate by its id, if there is one.
pub async fn describe(iot: &Client, id: &str) -> Result<Option<Minted>, Failure> {
    match iot.describe_certificate().certificate_id(id).send().await {
        Ok(answer) => {
            let description = answer
                .certificate_description
                .ok_or_else(|| Failure::bug(format!("certificate {id} has no description")))?;
            Ok(Some(Minted {
                certificate_id: CertificateId::parse(id)?,
                certificate_arn: description.certificate_arn.unwrap_or_default(),
                certificate_pem: description.certificate_pem.unwrap_or_default(),
            }))
        }
        Err(error) if failure::cause(&error) == Cause::NotFound => Ok(None),
        Err(error) => Err(failure::of("iot:DescribeCertificate", &error)),
    }
}

/// Removes a certificate that is attached to nothing. Absent is success.
pub async fn discard(iot: &Client, id: &CertificateId) -> Result<(), Failure> {
    certificates::deactivate(iot, id).await?;
    certificates::delete(iot, id).await
}
