//! Certificate signing requests, checked before anything is done with one.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::failure::Failure;
use crate::quote::quoted;

/// A request's text is bounded before it is parsed: an RSA-4096 request with
/// a long subject is under 3 KiB, and `CreateCertificateFromCsr` takes 4,096
/// characters.
const MOST_BYTES: usize = 4096;

const REMEDY: &str = "Send a PEM certificate signing request (PKCS #10), signed by its own key: \
                      EC P-256 or P-384, or RSA of 2,048 to 4,096 bits.";

/// A signing request that parses, is signed by its own key, and whose key
/// AWS IoT accepts.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Csr {
    pem: String,
    public_key: PublicKeyId,
}

/// A public key, named by the SHA-256 of its `SubjectPublicKeyInfo` (RFC 5280).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PublicKeyId(String);

impl PublicKeyId {
    /// The id as 64 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key inside a PEM certificate, if the text is one.
    pub fn of_certificate(pem: &str) -> Option<Self> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
        let certificate = pem.parse_x509().ok()?;
        Some(Self(sha256_hex(certificate.public_key().raw)))
    }
}

impl Csr {
    /// Checks a PEM text. Of the text only the request itself is kept, so that
    /// nothing else that stood in it goes anywhere, and one request has one
    /// form however its lines end.
    pub fn parse(pem: &str) -> Result<Self, Failure> {
        if pem.contains("PRIVATE KEY") {
            return Err(key_given_away());
        }
        let refuse = |reason: &str| Failure::invalid("csr", reason, REMEDY);
        if pem.len() > MOST_BYTES {
            return Err(refuse("the signing request is longer than 4,096 bytes"));
        }
        let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
            .map_err(|_| refuse("the text is not PEM"))?;
        if parsed.label != "CERTIFICATE REQUEST" && parsed.label != "NEW CERTIFICATE REQUEST" {
            let label = quoted(&parsed.label);
            return Err(refuse(&format!("the PEM is a {label}")));
        }
        let (rest, request) = X509CertificationRequest::from_der(&parsed.contents)
            .map_err(|_| refuse("the PEM does not hold a PKCS #10 request"))?;
        if !rest.is_empty() {
            return Err(refuse("bytes follow the PKCS #10 request"));
        }
        let key = &request.certification_request_info.subject_pki;
        allowed_key(key).map_err(|reason| refuse(&reason))?;
        request
            .verify_signature()
            .map_err(|_| refuse("the request's signature does not verify with its own key"))?;
        Ok(Self {
            pem: canonical(&parsed.contents),
            public_key: PublicKeyId(sha256_hex(key.raw)),
        })
    }

    /// The request as PEM, in lines of 64 characters (RFC 7468) that end in
    /// LF.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The id of the key that is to be certified.
    pub fn public_key(&self) -> &PublicKeyId {
        &self.public_key
    }

    /// The key that is to be certified, as DER (RFC 5280, 4.1.2.7).
    pub fn subject_public_key_info(&self) -> Result<Vec<u8>, Failure> {
        let broken = || Failure::bug("a signing request that was checked does not parse");
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(self.pem.as_bytes()).map_err(|_| broken())?;
        let (_, request) =
            X509CertificationRequest::from_der(&pem.contents).map_err(|_| broken())?;
        Ok(request.certification_request_info.subject_pki.raw.to_vec())
    }
}

/// AWS IoT: "either an RSA key with a length of at least 2048 bits or an ECC
/// key from NIST P-256, NIST P-384 (or P-521) curves" (`CreateCertificateFromCsr`).
/// P-521 is left out: few device stacks have it.
fn allowed_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), String> {
    match key.parsed() {
        Ok(PublicKey::EC(_)) => allowed_curve(key),
        Ok(PublicKey::RSA(rsa)) => match rsa.key_size() {
            2048..=4096 => Ok(()),
            bits => Err(format!("the key is RSA with {bits} bits")),
        },
        Ok(_) => Err("the key is neither EC nor RSA".to_owned()),
        Err(_) => Err("the key does not parse".to_owned()),
    }
}

/// By the curve's name (RFC 5480, 2.1.1.1; SEC 2 for secp256k1): curves of one
/// size are not one curve.
fn allowed_curve(key: &SubjectPublicKeyInfo<'_>) -> Result<(), String> {
    let parameters = key.algorithm.parameters.as_ref();
    let curve = parameters.and_then(|parameters| parameters.as_oid().ok());
    match curve.map(|oid| oid.to_id_string()).as_deref() {
        Some("1.2.840.10045.3.1.7" | "1.3.132.0.34") => Ok(()),
        Some("1.3.132.0.35") => Err("the key is EC with 521 bits (P-521)".to_owned()),
        Some("1.3.132.0.10") => Err("the key is on the curve secp256k1".to_owned()),
        Some(other) => Err(format!("the key is on the curve {other}")),
        None => Err("the key does not name its curve".to_owned()),
    }
}

fn key_given_away() -> Failure {
    Failure::invalid(
        "csr",
        "the text has a private key in it",
        "That key is compromised now: make a new one, keep it on the device, and send only the \
         certificate signing request of the new key.",
    )
}

fn canonical(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned();
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, others) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = others;
    }
    pem.push_str("-----END CERTIFICATE REQUEST-----\n");
    pem
}

/// When a PEM certificate ends, in seconds since 1970, if the text is one.
pub fn not_after(pem: &str) -> Option<i64> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    Some(pem.parse_x509().ok()?.validity().not_after.timestamp())
}

/// The certificate id that a PEM certificate must have, if the text is one.
pub fn certificate_id(pem: &str) -> Option<crate::names::CertificateId> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    pem.parse_x509().ok()?;
    Some(crate::names::CertificateId::of_der(&pem.contents))
}

/// The SHA-256 of some bytes, as 64 hex digits.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

/// Bytes as lower-case hex digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|b| [b >> 4, b & 15])
        .map(|n| char::from(b"0123456789abcdef"[usize::from(n)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519,
    };

    fn csr(algorithm: &'static rcgen::SignatureAlgorithm) -> String {
        let key = KeyPair::generate_for(algorithm).unwrap();
        CertificateParams::new(vec!["milan-0001".to_owned()])
            .unwrap()
            .serialize_request(&key)
            .unwrap()
            .pem()
            .unwrap()
    }

    fn refused(pem: &str, reason: &str) {
        let failure = Csr::parse(pem).unwrap_err();
        assert_eq!(failure.field.as_deref(), Some("csr"));
        assert!(failure.reason.contains(reason), "{failure:?}");
    }

    #[test]
    fn elliptic_curve_requests_are_accepted() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            let parsed = Csr::parse(&csr(algorithm)).unwrap();
            assert_eq!(parsed.public_key().as_str().len(), 64);
        }
    }

    #[test]
    fn rsa_of_1024_bits_is_refused_and_2048_accepted() {
        refused(
            include_str!("../fixtures/rsa-1024.csr.pem"),
            "RSA with 1024 bits",
        );
        Csr::parse(include_str!("../fixtures/rsa-2048.csr.pem")).unwrap();
    }

    #[test]
    fn other_keys_are_refused() {
        refused(&csr(&PKCS_ED25519), "neither EC nor RSA");
        refused(include_str!("../fixtures/p-521.csr.pem"), "521 bits");
        refused(include_str!("../fixtures/secp256k1.csr.pem"), "secp256k1");
    }

    #[test]
    fn one_request_has_one_form_and_nothing_beside_it_is_kept() {
        let pem = csr(&PKCS_ECDSA_P256_SHA256);
        let parsed = Csr::parse(&pem).unwrap();
        for other in [
            pem.replace('\n', "\r\n"),
            pem.trim_end().to_owned(),
            format!("my password is hunter2\n{pem}and so on\n"),
            pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        ] {
            assert_eq!(Csr::parse(&other).unwrap(), parsed, "{other}");
        }
        assert_eq!(Csr::parse(parsed.pem()).unwrap(), parsed);
        assert!(parsed.pem().lines().all(|line| line.len() <= 64));
    }

    #[test]
    fn a_private_key_is_refused_and_not_repeated() {
        let key = KeyPair::generate().unwrap().serialize_pem();
        let secret = key.lines().nth(1).unwrap();
        let request = csr(&PKCS_ECDSA_P256_SHA256);
        let mislabelled = key.replace("PRIVATE KEY", "SECRET");
        for text in [
            key.clone(),
            format!("{request}{key}"),
            format!("{key}{request}"),
            mislabelled,
        ] {
            let failure = Csr::parse(&text).unwrap_err();
            assert_eq!(failure.field.as_deref(), Some("csr"));
            assert!(!format!("{failure:?}").contains(secret), "{failure:?}");
        }
        let failure = Csr::parse(&format!("{request}{key}")).unwrap_err();
        assert!(failure.remedy.contains("compromised"), "{failure:?}");
    }

    #[test]
    fn junk_is_refused() {
        refused("", "not PEM");
        refused(
            "-----BEGIN CERTIFICATE REQUEST-----\n!!\n-----END CERTIFICATE REQUEST-----\n",
            "not PEM",
        );
        refused(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            "the PEM is a",
        );
        refused(
            "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
            "PKCS #10",
        );
        refused(&"x".repeat(5000), "longer");
    }

    #[test]
    fn a_broken_signature_is_refused() {
        let pem = csr(&PKCS_ECDSA_P256_SHA256);
        let (_, parsed) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        // The subject's last letter changes; the DER stays well formed.
        let at = parsed
            .contents
            .windows(10)
            .position(|w| w == b"milan-0001")
            .unwrap();
        let mut der = parsed.contents.clone();
        der[at + 9] = b'2';
        refused(&canonical(&der), "signature");
    }
}
