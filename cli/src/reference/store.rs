//! The files in which a device keeps its wallet.
//!
//! Beside `x.key.pem` and `x.cert.pem`, which `lamp device create` left and
//! which are only read here, a device `x` has the directory `x.wallet`:
//!
//! | file | what |
//! | --- | --- |
//! | `wallet.json` | which pair is the current one, and what is under way |
//! | `{public key}.key.pem` | a private key, mode 0600, named by the SHA-256 of its public half |
//! | `{public key}.csr.pem` | the signing request for it, sent again as it is |
//! | `{certificate id}.cert.pem` | a certificate |
//! | `enrolling.json` | which key a token was used for, until that key is proved |
//! | `lock` | held while a process runs this device |
//!
//! `wallet.json` is the one pointer. It takes its place by a rename, what it
//! names is on the disk before it, and what it no longer names is removed
//! after it.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lamplighter_domain::csr::{self, Csr, PublicKeyId};
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::rotation::wallet::{Pair, Wallet};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::durable::{self, SECRET};
use crate::failure::Failure;
use crate::keys::{self, KeysDir, Renewed};

/// For all to read.
const PUBLIC: u32 = 0o644;

/// A pair as TLS wants it.
pub(super) struct Identity {
    /// The private key, as PEM.
    pub(super) key: Zeroizing<String>,
    /// The certificate, as PEM.
    pub(super) certificate: String,
}

/// A device's directory.
#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    /// The certificate that `lamp device create` left; none, for a device that
    /// has lost all it had.
    origin: Option<CertificateId>,
    /// Holds the lock for as long as the store is open.
    _lock: File,
}

/// `wallet.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    /// The certificate that the device was created with.
    origin: CertificateId,
    wallet: Wallet,
}

/// `enrolling.json`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Enrolling {
    /// The SHA-256 of the token: it admits one key.
    token_digest: String,
    /// That key.
    public_key: PublicKeyId,
}

impl Store {
    /// Opens the device's directory, and makes it from what `lamp device
    /// create` left if need be.
    ///
    /// # Errors
    /// When another process runs the device, and when there is no pair.
    pub(super) fn open(keys: &KeysDir, thing: &ThingName) -> Result<(Self, Wallet), Failure> {
        match Self::open_lost(keys, thing)? {
            (store, Some(wallet)) => {
                store.save(&wallet)?;
                Ok((store, wallet))
            }
            (_, None) => Err(no_pair(keys, thing)),
        }
    }

    /// The same for a device that may have lost its pair.
    ///
    /// # Errors
    /// When another process runs the device.
    pub(super) fn open_lost(
        keys: &KeysDir,
        thing: &ThingName,
    ) -> Result<(Self, Option<Wallet>), Failure> {
        let directory = keys.wallet_path(thing);
        durable::directory(&directory).map_err(keys::at(&directory))?;
        let lock = lock(&directory)?;
        let kept = read(&directory)?;
        let created = created(keys, thing, kept.as_ref())?;
        let mut store = Self {
            directory,
            origin: None,
            _lock: lock,
        };
        let wallet = match (kept, created) {
            (_, Some((pair, identity))) => {
                store.origin = Some(pair.certificate_id.clone());
                store.put(&key_file(&pair.public_key), &identity.key, SECRET)?;
                store.keep_certificate(&pair.certificate_id, &identity.certificate)?;
                Some(Wallet::new(pair))
            }
            (Some(kept), None) => {
                store.origin = Some(kept.origin);
                Some(kept.wallet)
            }
            // A renewal's pair may be all there is, and is still to be proved.
            (None, None) => match keys.renewed(thing)? {
                Some(renewed) => {
                    let pair = pair_of(&renewed)?;
                    let mut wallet = Wallet::new(pair.clone());
                    wallet.proving = Some(renewed.rotation_id.clone());
                    store.origin = Some(pair.certificate_id.clone());
                    store.keep_renewed(thing, &pair, &renewed)?;
                    Some(wallet)
                }
                None => None,
            },
        };
        Ok((store, wallet))
    }

    /// The key for a token: made and stored, unless it is there already.
    pub(super) fn key_for_token(
        &self,
        thing: &ThingName,
        token_digest: &str,
    ) -> Result<PublicKeyId, Failure> {
        let kept = self.enrolling()?;
        if let Some(kept) = kept.filter(|kept| kept.token_digest == token_digest) {
            return Ok(kept.public_key);
        }
        let public_key = self.make_key(thing)?;
        let enrolling = Enrolling {
            token_digest: token_digest.to_owned(),
            public_key: public_key.clone(),
        };
        let text = serde_json::to_string_pretty(&enrolling)
            .map_err(|error| Failure::failed(format!("the enrolment: {error}"), ""))?;
        self.put(ENROLLING, &text, SECRET)?;
        Ok(public_key)
    }

    fn enrolling(&self) -> Result<Option<Enrolling>, Failure> {
        read_json(&self.directory.join(ENROLLING))
    }

    /// Makes a key and the signing request for it.
    pub(super) fn make_key(&self, thing: &ThingName) -> Result<PublicKeyId, Failure> {
        let (key, request) = keys::new_key(thing)?;
        let public_key = Csr::parse(&request)?.public_key().clone();
        self.put(&key_file(&public_key), &key, SECRET)?;
        self.put(&request_file(&public_key), &request, PUBLIC)?;
        Ok(public_key)
    }

    /// Stores a pair that was handed out. A request is made with its key as
    /// with one made here: by that the certificate is asked for again, should
    /// the broker refuse it at first.
    pub(super) fn keep_renewed(
        &self,
        thing: &ThingName,
        pair: &Pair,
        renewed: &Renewed,
    ) -> Result<(), Failure> {
        let request = keys::request_for(thing, &renewed.private_key_pem)?;
        self.put(
            &key_file(&pair.public_key),
            &renewed.private_key_pem,
            SECRET,
        )?;
        self.put(&request_file(&pair.public_key), &request, PUBLIC)?;
        self.keep_certificate(&pair.certificate_id, &renewed.certificate_pem)
    }

    /// The signing request that was made with a key.
    pub(super) fn signing_request(&self, key: &PublicKeyId) -> Result<String, Failure> {
        self.read(&request_file(key))
    }

    /// Stores a certificate.
    pub(super) fn keep_certificate(&self, id: &CertificateId, pem: &str) -> Result<(), Failure> {
        self.put(&certificate_file(id), pem, PUBLIC)
    }

    /// Stores the wallet, and removes what it no longer names.
    pub(super) fn save(&self, wallet: &Wallet) -> Result<(), Failure> {
        let origin = self.origin.as_ref();
        let document = Document {
            origin: origin.unwrap_or(&wallet.current.certificate_id).clone(),
            wallet: wallet.clone(),
        };
        let text = serde_json::to_string_pretty(&document)
            .map_err(|error| Failure::failed(format!("the wallet: {error}"), ""))?;
        self.put(WALLET, &text, SECRET)?;
        self.tidy(wallet)
    }

    /// The files of a pair.
    pub(super) fn identity(&self, pair: &Pair) -> Result<Identity, Failure> {
        let path = self.directory.join(key_file(&pair.public_key));
        Ok(Identity {
            key: keys::read_secret(&path)?,
            certificate: self.read(&certificate_file(&pair.certificate_id))?,
        })
    }

    fn tidy(&self, wallet: &Wallet) -> Result<(), Failure> {
        let mut named = named(wallet);
        // Until its key is proved, an enrolment that was broken off goes on with
        // the same key.
        if let Some(Enrolling { public_key, .. }) = self.enrolling()? {
            let proved = wallet.current.public_key == public_key && wallet.proving.is_none();
            if !proved {
                let files = [key_file(&public_key), request_file(&public_key)];
                named.extend(files.into_iter().chain([ENROLLING.to_owned()]));
            }
        }
        let entries = fs::read_dir(&self.directory).map_err(keys::at(&self.directory))?;
        for entry in entries {
            let path = entry.map_err(keys::at(&self.directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !named.contains(name.as_ref()) {
                durable::remove(&path).map_err(keys::at(&path))?;
            }
        }
        Ok(())
    }

    fn put(&self, name: &str, content: &str, mode: u32) -> Result<(), Failure> {
        let path = self.directory.join(name);
        durable::put(&path, content.as_bytes(), mode).map_err(keys::at(&path))
    }

    fn read(&self, name: &str) -> Result<String, Failure> {
        let path = self.directory.join(name);
        fs::read_to_string(&path).map_err(keys::at(&path))
    }
}

const WALLET: &str = "wallet.json";
const ENROLLING: &str = "enrolling.json";
const LOCK: &str = "lock";

fn key_file(key: &PublicKeyId) -> String {
    format!("{}.key.pem", key.as_str())
}

fn request_file(key: &PublicKeyId) -> String {
    format!("{}.csr.pem", key.as_str())
}

fn certificate_file(id: &CertificateId) -> String {
    format!("{id}.cert.pem")
}

/// The files that a wallet needs, and no others.
fn named(wallet: &Wallet) -> BTreeSet<String> {
    let pairs = [Some(&wallet.current), wallet.fallback.as_ref()];
    let of_pairs = pairs.into_iter().flatten().flat_map(|pair| {
        [
            key_file(&pair.public_key),
            certificate_file(&pair.certificate_id),
        ]
    });
    let of_staged = wallet.staged.iter().flat_map(|staged| {
        [
            Some(key_file(&staged.public_key)),
            Some(request_file(&staged.public_key)),
            staged.certificate_id.as_ref().map(certificate_file),
        ]
    });
    [WALLET.to_owned(), LOCK.to_owned()]
        .into_iter()
        .chain(of_pairs)
        .chain(of_staged.flatten())
        .collect()
}

/// How long a lock that is held may yet be given up. A process that is being
/// started has a copy of every open file until its program begins, also of a
/// lock that was closed here meanwhile (flock(2), execve(2)).
const LINGERS: Duration = Duration::from_millis(20);
const LINGERS_TIMES: u32 = 10;

/// Keeps other processes out for as long as the file is open.
fn lock(directory: &Path) -> Result<File, Failure> {
    let path = directory.join(LOCK);
    let file = File::create(&path).map_err(keys::at(&path))?;
    for _ in 0..LINGERS_TIMES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LINGERS),
            Err(TryLockError::Error(error)) => return Err(keys::at(&path)(error)),
        }
    }
    Err(Failure::refused(
        "keys-dir",
        format!("another process runs the device of {}", directory.display()),
        "Stop it first: two with one name would cut each other off.",
    ))
}

fn read(directory: &Path) -> Result<Option<Document>, Failure> {
    read_json(&directory.join(WALLET))
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Failure> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(keys::at(path))?,
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display()), ""))
}

/// A pair that was handed out, its key and its certificate being of each other.
pub(super) fn pair_of(renewed: &Renewed) -> Result<Pair, Failure> {
    let certificate = &renewed.certificate_pem;
    let ids = csr::certificate_id(certificate).zip(PublicKeyId::of_certificate(certificate));
    let of_key = keys::public_key_id(&renewed.private_key_pem);
    match ids {
        Some((certificate_id, public_key)) if of_key.as_deref() == Some(public_key.as_str()) => {
            Ok(Pair {
                certificate_id,
                public_key,
            })
        }
        _ => Err(Failure::refused(
            "keys-dir",
            "what was handed out is not a key and its certificate",
            "Run `lamp device credentials` again.",
        )),
    }
}

/// Removes the file of a pair that was taken.
pub(super) fn remove_renewed(keys: &KeysDir, thing: &ThingName) -> Result<(), Failure> {
    let path = keys.renewed_path(thing);
    durable::remove(&path).map_err(keys::at(&path))
}

/// The pair that `lamp device create` left, if this directory does not know it:
/// a device that was never run, or that was deleted and created anew. After a
/// rotation the certificate there belongs to another key, and counts for
/// nothing.
fn created(
    keys: &KeysDir,
    thing: &ThingName,
    kept: Option<&Document>,
) -> Result<Option<(Pair, Identity)>, Failure> {
    let Some(certificate) = keys.certificate(thing)? else {
        return Ok(None);
    };
    let ids = csr::certificate_id(&certificate).zip(PublicKeyId::of_certificate(&certificate));
    let Some((certificate_id, public_key)) = ids else {
        return Ok(None);
    };
    if kept.is_some_and(|kept| kept.origin == certificate_id) {
        return Ok(None);
    }
    match keys.secret(thing)? {
        Some(key) if keys::public_key_id(&key).as_deref() == Some(public_key.as_str()) => {
            let pair = Pair {
                certificate_id,
                public_key,
            };
            Ok(Some((pair, Identity { key, certificate })))
        }
        _ => Ok(None),
    }
}

fn no_pair(keys: &KeysDir, thing: &ThingName) -> Failure {
    Failure::refused(
        "keys-dir",
        format!(
            "{} and {} are not a key and its certificate",
            keys.key_path(thing).display(),
            keys.certificate_path(thing).display()
        ),
        "Run `lamp device create`, or `lamp device credentials` for a key in the vault, with the \
         same --keys-dir; for a device that has lost its key, `lamp device enrol`.",
    )
}
