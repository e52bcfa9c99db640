//! What a device brings: its name, its key, its signing request.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

use lamplighter_domain::csr::{PublicKeyId, sha256_hex};
use rcgen::{CertificateParams, KeyPair, PublicKeyData};

/// A name that nothing in the cloud has. None is the beginning of another.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}", token())
}

/// A trace that no other request has, in X-Ray's format.
pub fn trace() -> String {
    format!("1-5759e988-{:0>24}", token())
}

/// A text that no other call brings.
pub fn token() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let micros = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_micros();
    format!(
        "{micros:014x}{:04x}",
        NUMBER.fetch_add(1, Ordering::Relaxed)
    )
}

/// A key that stays with the device, and the request for a certificate of it.
#[derive(Debug)]
pub struct Key {
    /// The certificate signing request, as PEM.
    pub csr: String,
    /// The SHA-256 of its public key.
    pub id: String,
}

impl Key {
    /// Makes a P-256 key.
    pub fn make(thing: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let request = CertificateParams::new([thing.to_owned()])
            .and_then(|parameters| parameters.serialize_request(&key))
            .expect("a signing request");
        Self {
            csr: request.pem().expect("PEM"),
            id: public_key_of(&key),
        }
    }
}

/// The SHA-256 of the public half of a private key in PEM.
pub fn public_key_of_private(pem: &str) -> String {
    public_key_of(&KeyPair::from_pem(pem).expect("a private key"))
}

/// The SHA-256 of a certificate's public key.
pub fn public_key_of_certificate(pem: &str) -> String {
    let id = PublicKeyId::of_certificate(pem).expect("a certificate");
    id.as_str().to_owned()
}

fn public_key_of(key: &KeyPair) -> String {
    sha256_hex(&key.subject_public_key_info())
}
