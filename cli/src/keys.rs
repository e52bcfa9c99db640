//! Private keys on this machine: made here, readable by their owner only, and
//! never overwritten (invariant 4).
//!
//! A device `x` has `x.key.pem`, `x.csr.pem` and `x.cert.pem` in the keys
//! directory, and `x.renewed.json` while the pair of a renewal waits for the
//! device to take it. The request is kept, because a request made anew from the same
//! key differs from the first and would be another request to the service.
//! Once the device was run here, `x.wallet` has what it connects with, which a
//! rotation replaces.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use lamplighter_domain::csr::sha256_hex;
use lamplighter_domain::names::{OperationId, ThingName};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PublicKeyData};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::api::random;
use crate::failure::Failure;

/// Where keys and certificates are kept, as the command line says.
#[derive(Debug, Args)]
pub(crate) struct KeysArgument {
    /// Where keys made here and certificates are kept
    #[arg(
        long,
        env = "LAMP_KEYS_DIR",
        default_value = "keys",
        value_name = "DIR"
    )]
    keys_dir: PathBuf,
}

impl KeysArgument {
    pub(crate) fn open(&self) -> Result<KeysDir, Failure> {
        KeysDir::open(&self.keys_dir)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.keys_dir
    }
}

/// A pair that the vault has handed out in a renewal. Not `Debug`, so that it
/// ends in no log by mistake.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Renewed {
    /// The renewal, in which the device is to prove the pair.
    pub(crate) rotation_id: OperationId,
    /// The certificate.
    pub(crate) certificate_pem: String,
    /// The private key.
    #[serde(serialize_with = "reveal", deserialize_with = "conceal")]
    pub(crate) private_key_pem: Zeroizing<String>,
}

fn reveal<S: Serializer>(key: &Zeroizing<String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(key)
}

fn conceal<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(deserializer).map(Zeroizing::new)
}

/// The directory that keys and certificates are kept in.
#[derive(Clone, Debug)]
pub(crate) struct KeysDir(PathBuf);

impl KeysDir {
    /// The directory, made if need be; git is told to leave it alone.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let made = !path.exists();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(at(path))?;
        if made {
            let ignore = path.join(".gitignore");
            fs::write(&ignore, "*\n").map_err(at(&ignore))?;
        }
        Ok(Self(path.to_owned()))
    }

    pub(crate) fn key_path(&self, thing: &ThingName) -> PathBuf {
        self.0.join(format!("{thing}.key.pem"))
    }

    pub(crate) fn certificate_path(&self, thing: &ThingName) -> PathBuf {
        self.0.join(format!("{thing}.cert.pem"))
    }

    /// Where the device itself keeps what it connects with.
    pub(crate) fn wallet_path(&self, thing: &ThingName) -> PathBuf {
        self.0.join(format!("{thing}.wallet"))
    }

    /// The pair of a renewal, until the device has taken it.
    pub(crate) fn renewed_path(&self, thing: &ThingName) -> PathBuf {
        self.0.join(format!("{thing}.renewed.json"))
    }

    fn request_path(&self, thing: &ThingName) -> PathBuf {
        self.0.join(format!("{thing}.csr.pem"))
    }

    fn hand_out_path(&self, thing: &ThingName) -> PathBuf {
        self.0.join(format!("{thing}.handout"))
    }

    /// The certificate signing request (CSR) of the device's key, both made on
    /// the first call and the same ever after.
    pub(crate) fn request(&self, thing: &ThingName) -> Result<String, Failure> {
        let path = self.request_path(thing);
        let key = self.key(thing)?;
        if path.exists() {
            return fs::read_to_string(&path).map_err(at(&path));
        }
        let request = sign_request(thing, &key)?;
        match create(&path, request.as_bytes(), 0o644) {
            Ok(()) => Ok(request),
            // Somebody else was faster; there is one request only.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::read_to_string(&path).map_err(at(&path))
            }
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// The device's P-256 key, made on the first call.
    fn key(&self, thing: &ThingName) -> Result<KeyPair, Failure> {
        let path = self.key_path(thing);
        if !path.exists() {
            let key = generate(thing)?;
            let pem = Zeroizing::new(key.serialize_pem());
            match create(&path, pem.as_bytes(), 0o600) {
                Ok(()) => return Ok(key),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(at(&path)(error)),
            }
        }
        let pem = read_secret(&path)?;
        KeyPair::from_pem(&pem).map_err(|error| {
            Failure::refused(
                "keys-dir",
                format!("{} is not a private key: {error}", path.display()),
                "Move the file away; it is never overwritten.",
            )
        })
    }

    /// The device's private key as PEM, if there is one.
    pub(crate) fn secret(&self, thing: &ThingName) -> Result<Option<Zeroizing<String>>, Failure> {
        let path = self.key_path(thing);
        path.exists().then(|| read_secret(&path)).transpose()
    }

    /// The device's certificate as PEM, if there is one.
    pub(crate) fn certificate(&self, thing: &ThingName) -> Result<Option<String>, Failure> {
        let path = self.certificate_path(thing);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => text.map(Some).map_err(at(&path)),
        }
    }

    /// Every device that has a key and a certificate here, by name.
    pub(crate) fn things(&self) -> Result<Vec<ThingName>, Failure> {
        let mut things = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(at(&self.0))? {
            let name = entry.map_err(at(&self.0))?.file_name();
            let thing = name.to_str().and_then(|n| n.strip_suffix(".cert.pem"));
            if let Some(Ok(thing)) = thing.map(ThingName::parse)
                && self.key_path(&thing).exists()
            {
                things.push(thing);
            }
        }
        things.sort();
        Ok(things)
    }

    /// Whether there is a key of that device already.
    pub(crate) fn has_pair(&self, thing: &ThingName) -> bool {
        self.key_path(thing).exists() || self.wallet_path(thing).exists()
    }

    /// Keeps a key that was handed out.
    pub(crate) fn keep_key(&self, thing: &ThingName, pem: &str) -> Result<PathBuf, Failure> {
        let path = self.key_path(thing);
        create(&path, pem.as_bytes(), 0o600).map_err(at(&path))?;
        Ok(path)
    }

    /// Keeps the pair of a renewal for the device, in one step: its file is
    /// whole or not there. One that lies there still is of an earlier renewal,
    /// which is over.
    pub(crate) fn keep_renewed(
        &self,
        thing: &ThingName,
        renewed: &Renewed,
    ) -> Result<PathBuf, Failure> {
        let text = serde_json::to_string(renewed).map(Zeroizing::new);
        let text = text.map_err(|error| Failure::failed(format!("the pair: {error}"), ""))?;
        let path = self.renewed_path(thing);
        let beside = self.0.join(format!(".{thing}.renewed.{}", token()));
        create(&beside, text.as_bytes(), 0o600)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(at(&path))?;
        Ok(path)
    }

    /// The pair of a renewal, if one lies here for the device.
    pub(crate) fn renewed(&self, thing: &ThingName) -> Result<Option<Renewed>, Failure> {
        let path = self.renewed_path(thing);
        if !path.exists() {
            return Ok(None);
        }
        let text = read_secret(&path)?;
        serde_json::from_str(&text).map(Some).map_err(|error| {
            Failure::refused(
                "keys-dir",
                format!("{} is no pair of a renewal: {error}", path.display()),
                "Run `lamp device credentials` again.",
            )
        })
    }

    /// Keeps a certificate. It is public, and a device made anew has a new one.
    pub(crate) fn keep_certificate(
        &self,
        thing: &ThingName,
        pem: &str,
    ) -> Result<PathBuf, Failure> {
        let path = self.certificate_path(thing);
        let beside = self.0.join(format!(".{thing}.cert.{}", token()));
        create(&beside, pem.as_bytes(), 0o644)
            .and_then(|()| fs::rename(&beside, &path))
            .map_err(at(&path))?;
        Ok(path)
    }

    /// The idempotency key to ask for this device's key with. It is on disk
    /// before the first request, so that even a crash between the reply and
    /// the key's file loses no key: the next run asks as the same caller.
    pub(crate) fn hand_out_token(&self, thing: &ThingName) -> Result<String, Failure> {
        let path = self.hand_out_path(thing);
        let fresh = token();
        match create(&path, fresh.as_bytes(), 0o600) {
            Ok(()) => Ok(fresh),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::read_to_string(&path).map_err(at(&path))
            }
            Err(error) => Err(at(&path)(error)),
        }
    }

    /// Forgets that idempotency key, when the key is safe or cannot be had.
    pub(crate) fn forget_hand_out(&self, thing: &ThingName) -> Result<(), Failure> {
        let path = self.hand_out_path(thing);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&path)(error)),
            _ => Ok(()),
        }
    }
}

/// The request to have a key certified that is there already.
pub(crate) fn request_for(thing: &ThingName, key: &str) -> Result<String, Failure> {
    let key = KeyPair::from_pem(key)
        .map_err(|error| Failure::failed(format!("no private key: {error}"), ""))?;
    sign_request(thing, &key)
}

/// A new P-256 key as PEM, and the request to have it certified.
pub(crate) fn new_key(thing: &ThingName) -> Result<(Zeroizing<String>, String), Failure> {
    let key = generate(thing)?;
    let request = sign_request(thing, &key)?;
    Ok((Zeroizing::new(key.serialize_pem()), request))
}

fn generate(thing: &ThingName) -> Result<KeyPair, Failure> {
    KeyPair::generate().map_err(|error| Failure::failed(format!("no key for {thing}: {error}"), ""))
}

fn sign_request(thing: &ThingName, key: &KeyPair) -> Result<String, Failure> {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = DistinguishedName::new();
    parameters
        .distinguished_name
        .push(DnType::CommonName, thing.as_str());
    parameters
        .serialize_request(key)
        .and_then(|request| request.pem())
        .map_err(|error| Failure::failed(format!("no CSR for {thing}: {error}"), ""))
}

/// The id of the public half of a private key in PEM, if the text is one.
pub(crate) fn public_key_id(pem: &str) -> Option<String> {
    let key = KeyPair::from_pem(pem).ok()?;
    Some(sha256_hex(&key.subject_public_key_info()))
}

/// Reads a private key that nobody but its owner can read.
pub(crate) fn read_secret(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let mode = fs::metadata(path).map_err(at(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Failure::refused(
            "keys-dir",
            format!(
                "{} has mode {mode:o}: others may read this key",
                path.display()
            ),
            "If nobody else has seen it, run `chmod 600` on it; else make a new one.",
        ));
    }
    fs::read_to_string(path)
        .map(Zeroizing::new)
        .map_err(at(path))
}

/// A name that nobody else chooses.
pub(crate) fn token() -> String {
    use std::fmt::Write as _;
    random::<16>().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Writes a file that does not exist yet, whole or not at all: it is written
/// beside, and a hard link, unlike a rename, refuses to replace anything.
fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", token()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| {
            // The process's umask can only have narrowed the mode.
            file.set_permissions(Permissions::from_mode(mode))?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::hard_link(&beside, path)
        });
    let _ = fs::remove_file(&beside);
    written
}

pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> Failure + '_ {
    move |error| Failure::failed(format!("{}: {error}", path.display()), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own for each test, gone when the test is.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new() -> Self {
            Self(std::env::temp_dir().join(format!("lamp-keys-{}", token())))
        }

        fn keys(&self) -> KeysDir {
            KeysDir::open(&self.0).unwrap()
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn thing(name: &str) -> ThingName {
        ThingName::parse(name).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_key_is_its_owners_only_and_made_once() {
        let scratch = Scratch::new();
        let request = scratch.keys().request(&thing("a:b_c")).unwrap();
        assert!(
            request.starts_with("-----BEGIN CERTIFICATE REQUEST-----"),
            "{request}"
        );
        let path = scratch.0.join("a:b_c.key.pem");
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&scratch.0), 0o700);
        let key = fs::read(&path).unwrap();
        assert_eq!(
            scratch.keys().request(&thing("a:b_c")).unwrap(),
            request,
            "the same again"
        );
        assert_eq!(fs::read(&path).unwrap(), key);
        assert_eq!(
            fs::read_dir(&scratch.0).unwrap().count(),
            3,
            "no file is left beside"
        );
    }

    #[test]
    fn a_lost_request_is_made_again_from_the_same_key() {
        let scratch = Scratch::new();
        scratch.keys().request(&thing("x")).unwrap();
        let key = fs::read(scratch.0.join("x.key.pem")).unwrap();
        fs::remove_file(scratch.0.join("x.csr.pem")).unwrap();
        scratch.keys().request(&thing("x")).unwrap();
        assert_eq!(fs::read(scratch.0.join("x.key.pem")).unwrap(), key);
    }

    #[test]
    fn no_key_is_ever_overwritten() {
        let scratch = Scratch::new();
        let keys = scratch.keys();
        keys.keep_key(&thing("x"), "the first").unwrap();
        assert!(keys.keep_key(&thing("x"), "the second").is_err());
        assert!(keys.has_pair(&thing("x")) && !keys.has_pair(&thing("y")));
        assert_eq!(
            fs::read_to_string(keys.key_path(&thing("x"))).unwrap(),
            "the first"
        );
        let refusal = keys.request(&thing("x")).unwrap_err();
        assert!(
            refusal.reason.contains("is not a private key"),
            "{}",
            refusal.reason
        );
    }

    #[test]
    fn a_key_that_others_can_read_is_refused() {
        let scratch = Scratch::new();
        let keys = scratch.keys();
        keys.request(&thing("x")).unwrap();
        fs::set_permissions(keys.key_path(&thing("x")), Permissions::from_mode(0o644)).unwrap();
        let refusal = keys.request(&thing("x")).unwrap_err();
        assert!(refusal.reason.contains("mode 644"), "{}", refusal.reason);
    }

    #[test]
    fn a_hand_out_is_asked_for_as_the_same_caller_until_it_is_settled() {
        let scratch = Scratch::new();
        let keys = scratch.keys();
        let first = keys.hand_out_token(&thing("x")).unwrap();
        assert_eq!(keys.hand_out_token(&thing("x")).unwrap(), first);
        keys.forget_hand_out(&thing("x")).unwrap();
        keys.forget_hand_out(&thing("x")).unwrap();
        assert_ne!(keys.hand_out_token(&thing("x")).unwrap(), first);
    }
}
