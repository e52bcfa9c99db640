//! What signs certificates: AWS IoT's own authority, or ours.
//!
//! Both go the same way: `prepare` says what is about to be made, the caller
//! records that, and only then does `issue` make it. So whoever takes the work
//! up after a crash knows what may exist (invariant 3).

pub mod aws_iot;
#[cfg(all(feature = "dynamodb", feature = "kms"))]
pub mod kms_ca;

use aws_sdk_iot::Client;
use aws_sdk_iot::types::CertificateStatus;
use lamplighter_domain::Failure;
use lamplighter_domain::create::Mint;
use lamplighter_domain::csr::Csr;
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::time::Moment;

use crate::failure::{self, Cause};

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
    /// [`Issuer::prepare`] by the chosen one.
    pub async fn prepare(
        &self,
        by: lamplighter_domain::device::Issuer,
        thing: &ThingName,
        csr: &Csr,
        now: Moment,
    ) -> Result<Mint, Failure> {
        match by {
            lamplighter_domain::device::Issuer::AwsIot => {
                self.aws_iot.prepare(thing, csr, now).await
            }
            lamplighter_domain::device::Issuer::KmsCa => self.kms_ca.prepare(thing, csr, now).await,
        }
    }

    /// [`Issuer::issue`] by the chosen one.
    pub async fn issue(
        &self,
        by: lamplighter_domain::device::Issuer,
        thing: &ThingName,
        csr: &Csr,
        mint: &Mint,
        repeated: bool,
    ) -> Result<Minted, Failure> {
        match by {
            lamplighter_domain::device::Issuer::AwsIot => {
                self.aws_iot.issue(thing, csr, mint, repeated).await
            }
            lamplighter_domain::device::Issuer::KmsCa => {
                self.kms_ca.issue(thing, csr, mint, repeated).await
            }
        }
    }
}

/// The certificates that a recorded mint made, or may have made.
pub async fn made(iot: &Client, mint: &Mint) -> Result<Vec<Minted>, Failure> {
    match &mint.certificate_id {
        Some(id) => Ok(describe(iot, id.as_str()).await?.into_iter().collect()),
        None => aws_iot::find_minted(iot, &mint.public_key, mint.intended_at).await,
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
    let inactive = iot
        .update_certificate()
        .certificate_id(id.as_str())
        .new_status(CertificateStatus::Inactive)
        .send()
        .await;
    match inactive {
        Err(error) if failure::cause(&error) == Cause::NotFound => return Ok(()),
        Err(error) => return Err(failure::of("iot:UpdateCertificate", &error)),
        Ok(_) => {}
    }
    match iot
        .delete_certificate()
        .certificate_id(id.as_str())
        .send()
        .await
    {
        Err(error) if failure::cause(&error) == Cause::NotFound => Ok(()),
        // AWS detaches in its own time; the certificate is INACTIVE meanwhile.
        Err(error) if failure::cause(&error) == Cause::Conflict => {
            Err(Failure::busy("AWS is still detaching the certificate", 2))
        }
        Err(error) => Err(failure::of("iot:DeleteCertificate", &error)),
        Ok(_) => Ok(()),
    }
}
