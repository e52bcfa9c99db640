//! X.509 certificates (RFC 5280) in two passes, because KMS signs elsewhere.
//!
//! The first pass captures the bytes that are to be signed; the second is
//! given the signature. A certificate leaves here only if both passes made the
//! same bytes and its signature verifies under its issuer's key.

use std::cell::RefCell;
use std::time::Duration;

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
    SignatureAlgorithm, SigningKey, SubjectPublicKeyInfo, date_time_ymd,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;

use super::{Authority, AuthorityId, AuthorityPlan, MOST_COMMON_NAME, Validity};
use crate::csr::{Csr, hex};
use crate::failure::Failure;
use crate::names::{CertificateId, ThingName};
use crate::time::Moment;

/// A certificate's serial number: 128 random bits. As a positive number it has
/// at most 17 of the 20 octets that RFC 5280, 4.1.2.2, allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial(pub(super) [u8; 16]);

impl Serial {
    /// The number from randomness that the shell supplies; zero is no serial.
    pub fn from_random(bytes: [u8; 16]) -> Result<Self, Failure> {
        if bytes == [0; 16] {
            return Err(Failure::bug("no randomness for a serial number"));
        }
        Ok(Self(bytes))
    }
}

/// A certificate that lacks nothing but its signature.
#[derive(Debug)]
pub struct Unsigned {
    params: CertificateParams,
    public_key: SubjectPublicKeyInfo,
    /// The issuer's certificate; a certificate without one is its own issuer.
    issuer_pem: Option<String>,
    issuer_key: SubjectPublicKeyInfo,
    to_be_signed: Vec<u8>,
}

/// A certificate that is signed and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Its id, as AWS IoT will compute it.
    pub certificate_id: CertificateId,
    /// The certificate.
    pub certificate_pem: String,
}

/// The certificate of an authority, which its own key signs. `public_key` is
/// the key's `SubjectPublicKeyInfo`, as `kms:GetPublicKey` gives it.
pub fn authority_certificate(
    plan: &AuthorityPlan,
    public_key: &[u8],
    serial: Serial,
) -> Result<Unsigned, Failure> {
    let key = public_key_of(public_key)?;
    if key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
        return Err(Failure::bug(format!("{} is no P-256 key", plan.key_arn)));
    }
    let validity = Validity {
        not_before: plan.not_before,
        not_after: plan.not_after,
    };
    let mut params = params(&plan.subject, validity, serial);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method =
        KeyIdMethod::PreSpecified(AuthorityId::of(public_key, &serial).bytes());
    Unsigned::new(params, key.clone(), None, key)
}

/// A device's certificate: the thing's name and the key of the signing request;
/// nothing else that the request may say.
pub fn device_certificate(
    authority: &Authority,
    thing_name: &ThingName,
    csr: &Csr,
    validity: Validity,
    serial: Serial,
) -> Result<Unsigned, Failure> {
    if thing_name.as_str().len() > MOST_COMMON_NAME {
        return Err(Failure::invalid(
            "thingName",
            format!(
                "a certificate's common name holds {MOST_COMMON_NAME} characters (RFC 5280), the \
                 thing name has {}",
                thing_name.as_str().len()
            ),
            "Use a shorter name, or the issuer aws-iot.",
        ));
    }
    let key = public_key_of(&csr.subject_public_key_info()?).map_err(|_| {
        Failure::invalid(
            "csr",
            "the key's algorithm is written in a way that cannot be certified",
            "Make the key and its signing request with a current OpenSSL or mbed TLS.",
        )
    })?;
    let mut params = params(thing_name.as_str(), validity, serial);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let der = der_of(&authority.certificate_pem)?;
    let issuer_key = public_key_of(parsed(&der)?.public_key().raw)?;
    Unsigned::new(
        params,
        key,
        Some(authority.certificate_pem.clone()),
        issuer_key,
    )
}

impl Unsigned {
    fn new(
        params: CertificateParams,
        public_key: SubjectPublicKeyInfo,
        issuer_pem: Option<String>,
        issuer_key: SubjectPublicKeyInfo,
    ) -> Result<Self, Failure> {
        let mut unsigned = Self {
            params,
            public_key,
            issuer_pem,
            issuer_key,
            to_be_signed: Vec::new(),
        };
        (unsigned.to_be_signed, _) = unsigned.encode(&[])?;
        Ok(unsigned)
    }

    /// What is to be signed: the DER of the `TBSCertificate`.
    pub fn to_be_signed(&self) -> &[u8] {
        &self.to_be_signed
    }

    /// The SHA-256 of what is to be signed, for `kms:Sign` with the message
    /// type `DIGEST`.
    pub fn digest(&self) -> Vec<u8> {
        digest::digest(&digest::SHA256, &self.to_be_signed)
            .as_ref()
            .to_vec()
    }

    /// The certificate with the signature that KMS gave (DER, ECDSA with
    /// SHA-256).
    ///
    /// # Errors
    /// [`Kind::Bug`](crate::Kind::Bug) if the signature is not the issuer's.
    pub fn finish(&self, signature: &[u8]) -> Result<Signed, Failure> {
        let (signed_bytes, certificate) = self.encode(signature)?;
        if signed_bytes != self.to_be_signed {
            return Err(Failure::bug("a certificate changed while it was signed"));
        }
        let certificate_id = CertificateId::of_der(certificate.der());
        let parsed = parsed(certificate.der())?;
        let issuer_key = self.issuer_key.subject_public_key_info();
        let (_, issuer_key) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&issuer_key)
            .map_err(|_| Failure::bug("an issuer's key does not parse"))?;
        if parsed.public_key().raw != self.public_key.subject_public_key_info() {
            return Err(Failure::bug("a certificate of another key was made"));
        }
        parsed.verify_signature(Some(&issuer_key)).map_err(|_| {
            Failure::bug(format!(
                "the signature of {certificate_id} is not its issuer's"
            ))
        })?;
        Ok(Signed {
            certificate_id,
            certificate_pem: certificate.pem(),
        })
    }

    /// One pass: the bytes that were to be signed, and the certificate.
    fn encode(&self, signature: &[u8]) -> Result<(Vec<u8>, rcgen::Certificate), Failure> {
        let hand = Hand {
            key: &self.issuer_key,
            signature,
            signed: RefCell::default(),
        };
        let certificate = match &self.issuer_pem {
            None => self.params.self_signed(&hand),
            Some(pem) => Issuer::from_ca_cert_pem(pem, &hand)
                .and_then(|issuer| self.params.signed_by(&self.public_key, &issuer)),
        };
        let certificate =
            certificate.map_err(|error| Failure::bug(format!("making a certificate: {error}")))?;
        Ok((hand.signed.into_inner(), certificate))
    }
}

/// Signs nothing: it remembers what is to be signed and gives the signature
/// that it was given.
struct Hand<'a> {
    key: &'a SubjectPublicKeyInfo,
    signature: &'a [u8],
    signed: RefCell<Vec<u8>>,
}

impl PublicKeyData for Hand<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl SigningKey for Hand<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.signed.replace(message.to_vec());
        Ok(self.signature.to_vec())
    }
}

fn params(common_name: &str, validity: Validity, serial: Serial) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    let date =
        |moment: Moment| date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.epoch_seconds());
    params.not_before = date(validity.not_before);
    params.not_after = date(validity.not_after);
    params.serial_number = Some(SerialNumber::from_slice(&serial.0));
    params.use_authority_key_identifier_extension = true;
    params
}

fn public_key_of(der: &[u8]) -> Result<SubjectPublicKeyInfo, Failure> {
    SubjectPublicKeyInfo::from_der(der)
        .map_err(|error| Failure::bug(format!("a public key does not parse: {error}")))
}

fn parsed(der: &[u8]) -> Result<X509Certificate<'_>, Failure> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|_| Failure::bug("a certificate does not parse"))
}

fn der_of(pem: &str) -> Result<Vec<u8>, Failure> {
    x509_parser::pem::parse_x509_pem(pem.as_bytes())
        .map(|(_, pem)| pem.contents)
        .map_err(|_| Failure::bug("a certificate is no PEM"))
}

/// The subject key identifier of a PEM certificate.
pub(super) fn subject_key_id(pem: &str) -> Option<AuthorityId> {
    key_id(pem, |extension| match extension {
        ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
        _ => None,
    })
}

/// The authority key identifier of a PEM certificate.
pub(super) fn authority_key_id(pem: &str) -> Option<AuthorityId> {
    key_id(pem, |extension| match extension {
        ParsedExtension::AuthorityKeyIdentifier(id) => {
            id.key_identifier.as_ref().map(|id| id.0.to_vec())
        }
        _ => None,
    })
}

fn key_id(pem: &str, of: impl Fn(&ParsedExtension<'_>) -> Option<Vec<u8>>) -> Option<AuthorityId> {
    let der = der_of(pem).ok()?;
    let certificate = parsed(&der).ok()?;
    let id = certificate
        .extensions()
        .iter()
        .find_map(|extension| of(extension.parsed_extension()))?;
    AuthorityId::parse(&hex(&id)).ok()
}
