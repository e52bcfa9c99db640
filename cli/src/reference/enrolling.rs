//! A device without a certificate that works, and what it stores on its way to
//! one: its key before the token is used, and the certificate before it is
//! tried. Broken off anywhere, the same token goes on with the same key.

use lamplighter_domain::csr::PublicKeyId;
use lamplighter_domain::enrolment::Token;
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::rotation::wallet::Wallet;
use serde_json::Value;

use super::protocol::Accepted;
use super::store::Store;
use crate::failure::Failure;
use crate::keys::KeysDir;

/// A device that enrols. While it is open no other process runs the device.
pub(crate) struct Enrolling {
    store: Store,
    wallet: Option<Wallet>,
    public_key: PublicKeyId,
}

impl Enrolling {
    /// Opens what the device has left, and makes sure of the token's key.
    ///
    /// # Errors
    /// When another process runs the device.
    pub(crate) fn open(keys: &KeysDir, thing: &ThingName, token: &Token) -> Result<Self, Failure> {
        let (store, wallet) = Store::open_lost(keys, thing)?;
        let public_key = store.key_for_token(thing, &token.digest())?;
        Ok(Self {
            store,
            wallet,
            public_key,
        })
    }

    /// The signing request for the token's key; the same each time.
    pub(crate) fn signing_request(&self) -> Result<String, Failure> {
        self.store.signing_request(&self.public_key)
    }

    /// The service's answer came. From here the device is run as any other.
    ///
    /// # Errors
    /// When the answer holds no certificate for the token's key.
    pub(crate) fn enrolled(self, answer: &Value) -> Result<CertificateId, Failure> {
        let wrong = |reason: String| Failure::failed(format!("the answer: {reason}"), "");
        let accepted: Accepted =
            serde_json::from_value(answer.clone()).map_err(|error| wrong(error.to_string()))?;
        let pair = accepted.pair().map_err(wrong)?;
        if pair.public_key != self.public_key {
            return Err(wrong("the certificate is for another key".to_owned()));
        }
        let id = pair.certificate_id.clone();
        self.store
            .keep_certificate(&id, &accepted.certificate_pem)?;
        let (wallet, _) = Wallet::enrolled(self.wallet, accepted.rotation_id, pair);
        self.store.save(&wallet)?;
        Ok(id)
    }
}

#[cfg(test)]
mod tests;
