//! What the tests of the reference device share: a directory, an authority
//! that signs what a device asks for, and a broker.

pub(super) mod broker;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lamplighter_domain::names::ThingName;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
};

use super::JobSettings;
use crate::keys::KeysDir;

/// A directory of its own for each test, gone when the test is.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("lamp-device-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// What jobs may do: run the programs of a folder here, if it is there.
    pub(super) fn jobs(&self) -> Arc<JobSettings> {
        Arc::new(JobSettings {
            directory: self.0.clone(),
            handlers: Some(self.0.join("handlers")),
            users: std::collections::BTreeMap::new(),
            patience: Duration::from_secs(10),
        })
    }

    /// A keys directory as `lamp device create` leaves it.
    pub(super) fn keys(&self, thing: &ThingName, authority: &Authority) -> KeysDir {
        let keys = KeysDir::open(&self.0.join("keys")).unwrap();
        let request = keys.request(thing).unwrap();
        keys.keep_certificate(thing, &authority.certify(&request))
            .unwrap();
        keys
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A certificate authority of the test's own.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub(super) pem: String,
}

impl Authority {
    pub(super) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(parameters, key);
        Self { issuer, pem }
    }

    /// A key and a certificate for a server on this machine, as DER.
    pub(super) fn server(&self) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned()];
        let parameters = CertificateParams::new(names).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        (key.serialize_der(), certificate.der().to_vec())
    }

    /// A certificate for a signing request; another one each time.
    pub(super) fn certify(&self, csr: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(csr).unwrap();
        let serial = crate::api::random::<16>();
        request.params.serial_number = Some(serial.to_vec().into());
        request.signed_by(&self.issuer).unwrap().pem()
    }
}

pub(super) fn thing(name: &str) -> ThingName {
    ThingName::parse(name).unwrap()
}
