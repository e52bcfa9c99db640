//! The issuer `aws-iot`: certificates from AWS IoT's own authority.
//!
//! `CreateCertificateFromCsr` cannot be repeated: the same request again makes
//! another certificate. So it is sent once, and when its answer is lost the
//! certificate is looked for by its public key.

use std::time::Duration;

use aws_sdk_iot::Client;
use aws_sdk_iot::config::retry::RetryConfig;
use aws_sdk_iot::types::{Certificate, CertificateStatus};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::create::Mint;
use lamplighter_domain::csr::{self, Csr, PublicKeyId};
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};

use super::{Issuer, Minted, describe, discard};
use crate::describe::found;
use crate::failure::{self, Cause};
use crate::things::Things;

/// How far AWS's clock may be behind ours when creation dates are compared.
/// Both are kept by AWS, to milliseconds. Each second more is a second's worth
/// of the whole account's certificates that a search has to look at; one that it
/// misses is attached to nothing, and has no rights.
const CLOCK_SKEW_MILLIS: u64 = 10 * 1000;
/// How many certificates a search looks at at once.
const LOOKED_AT_ONCE: usize = 8;
/// How often a throttled request is sent again; being throttled, it did nothing.
const MINT_ATTEMPTS: u32 = 4;

/// AWS IoT's own authority.
#[derive(Clone)]
pub struct AwsIot {
    /// The things that certificates are attached to, and the client.
    pub things: Things,
}

impl Issuer for AwsIot {
    async fn prepare(&self, _thing: &ThingName, csr: &Csr, now: Moment) -> Result<Mint, Failure> {
        Ok(Mint::intended(csr.public_key().clone(), now))
    }

    async fn issue(
        &self,
        thing: &ThingName,
        csr: &Csr,
        mint: &Mint,
        repeated: bool,
    ) -> Result<Minted, Failure> {
        if repeated && let Some(found) = self.adopt(thing, csr, mint.intended_at).await? {
            return Ok(found);
        }
        match self.mint(csr).await {
            Err(failure) if failure.kind == Kind::Unknown => {
                match self.adopt(thing, csr, mint.intended_at).await? {
                    Some(found) => Ok(found),
                    None => self.mint(csr).await,
                }
            }
            outcome => outcome,
        }
    }
}

impl AwsIot {
    /// Makes one certificate, ACTIVE, attached to nothing.
    ///
    /// # Errors
    /// [`Kind::Unknown`] when the answer was lost: look before asking again.
    async fn mint(&self, csr: &Csr) -> Result<Minted, Failure> {
        let mut attempt = 0;
        loop {
            let once = aws_sdk_iot::Config::builder().retry_config(RetryConfig::disabled());
            let answer = self
                .things
                .iot
                .create_certificate_from_csr()
                .certificate_signing_request(csr.pem())
                .set_as_active(true)
                .customize()
                .config_override(once)
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

    /// Keeps one of the certificates that exist for a key, the attached one if
    /// one is, and discards the rest.
    async fn adopt(
        &self,
        thing: &ThingName,
        csr: &Csr,
        since: Moment,
    ) -> Result<Option<Minted>, Failure> {
        let iot = &self.things.iot;
        let mut found = find_minted(iot, thing, csr.public_key(), since).await?;
        let attached = self.things.principals(thing).await?;
        found.sort_by_key(|minted| attached.contains(&minted.certificate_arn));
        let kept = found.pop();
        for spare in found {
            discard(iot, &spare.certificate_id).await?;
        }
        Ok(kept)
    }
}

/// The certificates for one public key made since a moment, oldest last.
///
/// AWS cannot search by key, so certificates are read newest first, back to
/// that moment. This is off the fast path. A certificate that hangs on another
/// thing is none of this one's, whatever its key, and a REVOKED one is evidence
/// that stays: neither is found.
pub async fn find_minted(
    iot: &Client,
    thing: &ThingName,
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
        let made_since = |certificate: &&Certificate| {
            let made = certificate.creation_date();
            let made = made
                .and_then(|date| date.to_millis().ok())
                .unwrap_or_default();
            u64::try_from(made).unwrap_or_default() >= earliest.0
        };
        let recent: Vec<_> = page.certificates().iter().take_while(made_since).collect();
        let candidates = recent
            .iter()
            .filter(|certificate| certificate.status() != Some(&CertificateStatus::Revoked))
            .filter_map(|certificate| certificate.certificate_id());
        let looked_at: Vec<_> = stream::iter(candidates)
            .map(|id| describe(iot, id))
            .buffered(LOOKED_AT_ONCE)
            .try_collect()
            .await?;
        for minted in looked_at.into_iter().flatten() {
            if PublicKeyId::of_certificate(&minted.certificate_pem).as_ref() == Some(key)
                && !hangs_on_another(iot, thing, &minted.certificate_arn).await?
            {
                found.push(minted);
            }
        }
        if recent.len() < page.certificates().len() {
            return Ok(found);
        }
        marker = page.next_marker;
        if marker.is_none() {
            return Ok(found);
        }
    }
}

async fn hangs_on_another(iot: &Client, thing: &ThingName, arn: &str) -> Result<bool, Failure> {
    let mut token = None;
    loop {
        let request = iot.list_principal_things().principal(arn);
        let answer = request.set_next_token(token.take()).send().await;
        let Some(page) = found("iot:ListPrincipalThings", answer)? else {
            return Ok(false);
        };
        if page.things().iter().any(|name| name != thing.as_str()) {
            return Ok(true);
        }
        token = page.next_token;
        if token.is_none() {
            return Ok(false);
        }
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
