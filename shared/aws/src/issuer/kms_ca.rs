//! The issuer `kms-ca`: certificates of our own authority, whose key is in KMS.
//!
//! A certificate is signed first, its id and text are recorded, and then it is
//! registered: the same registration again finds it registered, so nothing has
//! to be looked for after a crash or a lost reply.

use std::sync::Mutex;

use aws_config::SdkConfig;
use aws_sdk_iot::operation::register_certificate_without_ca::RegisterCertificateWithoutCAError;
use aws_sdk_iot::types::CertificateStatus;
use lamplighter_domain::Failure;
use lamplighter_domain::authority::{self, Authority, Lifetime, Standing, device_certificate};
use lamplighter_domain::create::Mint;
use lamplighter_domain::csr::Csr;
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::time::Moment;

use super::{Issuer, Minted};
use crate::signing::sign;
use crate::table::{Key, Table};
use crate::{clock, failure, setup};

/// Our own authority.
pub struct KmsCa {
    /// AWS IoT, where certificates are registered.
    pub iot: aws_sdk_iot::Client,
    /// KMS, which signs.
    pub kms: aws_sdk_kms::Client,
    /// The registry, which knows the authorities.
    pub table: Table,
    /// For how long a certificate is valid.
    pub lifetime: Lifetime,
    /// The authority that signed last. An authority never changes, so what is
    /// remembered of one stays true.
    remembered: Mutex<Option<Authority>>,
}

impl KmsCa {
    /// The stack's authority.
    pub fn from_env(sdk: &SdkConfig, table: Table) -> Result<Self, Failure> {
        let lifetime = Lifetime::parse(&setup::required("CERTIFICATE_LIFETIME")?)?;
        Ok(Self::new(sdk, table, lifetime))
    }

    /// An authority that issues certificates of this lifetime.
    pub fn new(sdk: &SdkConfig, table: Table, lifetime: Lifetime) -> Self {
        Self {
            iot: aws_sdk_iot::Client::new(sdk),
            kms: aws_sdk_kms::Client::new(sdk),
            table,
            lifetime,
            remembered: Mutex::default(),
        }
    }

    /// The certificate of the authority that signed a certificate.
    pub async fn certificate_of_signer(&self, certificate_pem: &str) -> Result<String, Failure> {
        let id = authority::signer_of(certificate_pem)
            .ok_or_else(|| Failure::bug("a certificate does not name the authority it is of"))?;
        let remembered = self.remembered.lock().ok().and_then(|known| known.clone());
        if let Some(signer) = remembered.filter(|signer| signer.authority_id == id) {
            return Ok(signer.certificate_pem);
        }
        let found: Option<Authority> = self.table.get(&Key::authority(&id)).await?;
        found
            .map(|authority| authority.certificate_pem)
            .ok_or_else(|| Failure::bug(format!("there is no authority {id}")))
    }

    /// What signs now. It is read each time, so that a rotation holds at once;
    /// beside the claim and the reads of the groups this takes no longer.
    async fn active(&self) -> Result<Authority, Failure> {
        let standing: Option<Standing> = self.table.get(&Key::standing()).await?;
        let active = standing.ok_or_else(authority::no_authority)?.active;
        if let Ok(mut remembered) = self.remembered.lock() {
            *remembered = Some(active.clone());
        }
        Ok(active)
    }

    /// What an earlier registration of the same certificate has come to.
    async fn registered(&self, id: &CertificateId, pem: &str) -> Result<Minted, Failure> {
        let description = self
            .iot
            .describe_certificate()
            .certificate_id(id.as_str())
            .send()
            .await
            .map_err(|error| failure::of("iot:DescribeCertificate", &error))?
            .certificate_description
            .ok_or_else(|| Failure::bug(format!("certificate {id} has no description")))?;
        if description.status != Some(CertificateStatus::Active) {
            return Err(Failure::conflict(
                "csr",
                format!("the certificate {id} is no longer active"),
                "Somebody took it out of service meanwhile; create the device again.",
            ));
        }
        Ok(Minted {
            certificate_id: id.clone(),
            certificate_arn: description.certificate_arn.unwrap_or_default(),
            certificate_pem: pem.to_owned(),
        })
    }
}

impl Issuer for KmsCa {
    async fn prepare(&self, thing: &ThingName, csr: &Csr, now: Moment) -> Result<Mint, Failure> {
        let authority = self.active().await?;
        let validity = authority.validity(now, self.lifetime)?;
        let unsigned = device_certificate(&authority, thing, csr, validity, clock::serial()?)?;
        let signed = sign(&self.kms, &authority.key_arn, &unsigned).await?;
        Ok(Mint::signed(csr.public_key().clone(), signed, now))
    }

    async fn issue(
        &self,
        _thing: &ThingName,
        _csr: &Csr,
        mint: &Mint,
        _repeated: bool,
    ) -> Result<Minted, Failure> {
        let (Some(id), Some(pem)) = (&mint.certificate_id, &mint.certificate_pem) else {
            return Err(Failure::bug("registering before signing"));
        };
        let answer = self
            .iot
            .register_certificate_without_ca()
            .certificate_pem(pem)
            .status(CertificateStatus::Active)
            .send()
            .await;
        match answer {
            Ok(made) if made.certificate_id.as_deref() == Some(id.as_str()) => Ok(Minted {
                certificate_id: id.clone(),
                certificate_arn: made.certificate_arn.unwrap_or_default(),
                certificate_pem: pem.clone(),
            }),
            Ok(made) => Err(Failure::bug(format!(
                "AWS registered {id} as {:?}",
                made.certificate_id
            ))),
            Err(error)
                if error.as_service_error().is_some_and(
                    RegisterCertificateWithoutCAError::is_resource_already_exists_exception,
                ) =>
            {
                self.registered(id, pem).await
            }
            Err(error) => Err(failure::of("iot:RegisterCertificateWithoutCA", &error)),
        }
    }
}
