//! The issuer `aws-iot`: certificates from AWS IoT's own authority.
//!
//! `CreateCertificateFromCsr` cannot be repeated: the same request again makes
//! another certificate. So it is sent once, and when its answer is lost the
//! certificate is looked for by its public key.

use std::time::Duration;

use aws_sdk_iot::Client;
use aws_sdk_iot::config::retry::RetryConfig;
use aws_sdk_iot::types::CertificateStatus;
use lamplighter_domain::csr::{self, Csr, PublicKeyId};
use lamplighter_domain::names::CertificateId;
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};

use crate::failure::{self, Cause};

/// How far AWS's clock may be behind ours when creation dates are compared.
const CLOCK_SKEW_MILLIS: u64 = 5 * 60 * 1000;
/// How often a throttled request is sent again; being throttled, it did nothing.
const MINT_ATTEMPTS: u32 = 4;

/// A certificate that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Minted {
    /// Its id.
    pub certificate_id: CertificateId,
    /// Its ARN.
    pub certificate_arn: String,
    /// The certificate.
    pub certificate_pem: String,
}

/// Makes one certificate, ACTIVE, attached to nothing.
///
/// # Errors
/// [`Kind::Unknown`] when the answer was lost: look before asking again.
pub async fn mint(iot: &Client, csr: &Csr) -> Result<Minted, Failure> {
    let mut attempt = 0;
    loop {
        let answer = iot
            .create_certificate_from_csr()
            .certificate_signing_request(csr.pem())
            .set_as_active(true)
            .customize()
            .config_override(aws_sdk_iot::Config::builder().retry_config(RetryConfig::disabled()))
            .send()
            .await;
        let error = match answer {
            Ok(made) => {
                return checked(
                    made.certificate_id,
                    made.certificate_arn,
                    made.certificate_pem,
                    csr.public_key(),
                );
            }
            Err(error) => error,
        };
        let mut failure = failure::of("iot:CreateCertificateFromCsr", &error);
        match failure::cause(&error) {
            Cause::Throttled if attempt < MINT_ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(100 << attempt)).await;
                attempt += 1;
            }
            Cause::Lost => {
                failure.kind = Kind::Unknown;
                return Err(failure);
            }
            _ => return Err(failure),
        }
    }
}

/// The certificates for one public key made since a moment, oldest last.
///
/// AWS cannot search by key, so certificates are read newest first, back to
/// that moment. This is off the fast path.
pub async fn find_minted(
    iot: &Client,
    key: &PublicKeyId,
    since: Moment,
) -> Result<Vec<Minted>, Failure> {
    let earliest = since.minus_millis(CLOCK_SKEW_MILLIS);
    let mut found = Vec::new();
    let mut marker = None;
    loop {
        let page = iot
            .list_certificates()
            .ascending_order(false)
            .page_size(250)
            .set_marker(marker.take())
            .send()
            .await
            .map_err(|error| failure::of("iot:ListCertificates", &error))?;
        for certificate in page.certificates() {
            let made = certificate
                .creation_date()
                .and_then(|d| d.to_millis().ok())
                .unwrap_or_default();
            if u64::try_from(made).unwrap_or_default() < earliest.0 {
                return Ok(found);
            }
            let Some(id) = certificate.certificate_id() else {
                continue;
            };
            if let Some(minted) = describe(iot, id).await?
                && PublicKeyId::of_certificate(&minted.certificate_pem).as_ref() == Some(key)
            {
                found.push(minted);
            }
        }
        marker = page.next_marker;
        if marker.is_none() {
            return Ok(found);
        }
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

/// AWS defines the id as the SHA-256 of the certificate's DER; and a
/// certificate for another key than ours would be useless to the device.
fn checked(
    id: Option<String>,
    arn: Option<String>,
    pem: Option<String>,
    key: &PublicKeyId,
) -> Result<Minted, Failure> {
    let pem = pem.unwrap_or_default();
    let computed = csr::certificate_id(&pem);
    if computed.as_ref().map(CertificateId::as_str) != id.as_deref()
        || PublicKeyId::of_certificate(&pem).as_ref() != Some(key)
    {
        return Err(Failure::bug(format!(
            "AWS returned {id:?}, which is not the certificate asked for"
        )));
    }
    let certificate_id = computed.ok_or_else(|| Failure::bug("a certificate without an id"))?;
    Ok(Minted {
        certificate_id,
        certificate_arn: arn.unwrap_or_default(),
        certificate_pem: pem,
    })
}
