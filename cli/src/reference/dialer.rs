//! What every connection has in common: the broker's address, and TLS.

use std::path::Path;
use std::sync::Arc;

use rumqttc::TlsConfiguration;
use rumqttc::tokio_rustls::rustls::client::Resumption;
use rumqttc::tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use rumqttc::tokio_rustls::rustls::pki_types::pem::PemObject;
use rumqttc::tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rumqttc::tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use rumqttc::tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Endpoint;
use super::store::Identity;
use crate::failure::Failure;

/// Makes the TLS side of connections. The server's name is sent with every
/// handshake (SNI), as AWS IoT asks for; only an IP address has none to send.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(super) endpoint: Endpoint,
    /// Everything but the client's certificate.
    base: ClientConfig,
    provider: CryptoProvider,
}

impl Dialer {
    /// Trusts the authorities in a PEM file, or else those that this machine
    /// trusts; Amazon's are among the latter.
    pub(crate) fn new(endpoint: Endpoint, server_ca: Option<&Path>) -> Result<Self, Failure> {
        let provider = aws_lc_rs::default_provider();
        let mut base = match server_ca {
            Some(file) => trusting(authorities(file)?, &provider)?,
            None => trusting_the_system()?,
        };
        base.alpn_protocols = endpoint.alpn();
        // A resumed session would still be the old certificate's: the proof of
        // a new one needs a handshake of its own.
        base.resumption = Resumption::disabled();
        Ok(Self {
            endpoint,
            base,
            provider,
        })
    }

    /// TLS with a client certificate.
    ///
    /// # Errors
    /// Says why the pair cannot be used.
    pub(super) fn tls(&self, identity: &Identity) -> Result<TlsConfiguration, String> {
        let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("the certificate: {error}"))?;
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes())
            .map_err(|error| format!("the private key: {error}"))?;
        let pair = CertifiedKey::from_der(chain, key, &self.provider)
            .map_err(|error| format!("the certificate and the key: {error}"))?;
        let mut config = self.base.clone();
        config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(pair));
        Ok(TlsConfiguration::Rustls(Arc::new(config)))
    }
}

fn trusting(roots: RootCertStore, provider: &CryptoProvider) -> Result<ClientConfig, Failure> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider.clone()))
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(format!("TLS: {error}"), ""))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// TLS that trusts whom this machine trusts.
pub(crate) fn trusting_the_system() -> Result<ClientConfig, Failure> {
    match TlsConfiguration::try_default_rustls() {
        Ok(TlsConfiguration::Rustls(config)) => Ok(ClientConfig::clone(&config)),
        Ok(_) => Err(Failure::failed("no TLS is built in", "")),
        Err(error) => Err(Failure::failed(
            format!("this machine's trusted authorities: {error}"),
            "Name the server's with --server-ca.",
        )),
    }
}

fn authorities(file: &Path) -> Result<RootCertStore, Failure> {
    let unusable = |reason: &dyn std::fmt::Display| {
        let reason = format!("{}: {reason}", file.display());
        Failure::usage(reason, "Name a PEM file with the server's CA.")
    };
    let pem = std::fs::read(file).map_err(|error| unusable(&error))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unusable(&error))?;
        roots.add(certificate).map_err(|error| unusable(&error))?;
    }
    if roots.is_empty() {
        return Err(unusable(&"no certificate is in it"));
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::keeper::Keeper;
    use crate::reference::testing::{Authority, Scratch, thing};
    use lamplighter_domain::rotation::wallet::Tried;

    #[test]
    fn a_pair_that_does_not_fit_is_found_before_it_is_used() {
        let (scratch, authority, name) = (Scratch::new(), Authority::new(), thing("x"));
        let keys = scratch.keys(&name, &authority);
        let ca = keys.certificate_path(&name);
        let dialer = Dialer::new("localhost:443".parse().unwrap(), Some(&ca)).unwrap();
        assert_eq!(dialer.base.alpn_protocols, [b"x-amzn-mqtt-ca"]);
        assert!(dialer.base.enable_sni);
        let keeper = Keeper::open(&keys, &name).unwrap();
        let mut identity = keeper.identity(Tried::Current).unwrap();
        dialer.tls(&identity).unwrap();
        let (other, _) = crate::keys::new_key(&name).unwrap();
        identity.key = other;
        dialer.tls(&identity).unwrap_err();
    }

    #[test]
    fn an_unusable_authority_is_a_usage_error() {
        let scratch = Scratch::new();
        let empty = scratch.path().join("empty.pem");
        std::fs::write(&empty, "").unwrap();
        for file in [empty, scratch.path().join("nowhere.pem")] {
            let failure = Dialer::new("a".parse().unwrap(), Some(&file)).unwrap_err();
            assert_eq!(failure.exit.code(), 2, "{failure:?}");
        }
    }
}
