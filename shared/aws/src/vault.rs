//! Custody: private keys sealed under KMS and kept in S3 (invariant 4).
//!
//! A key is sealed with AES-256-GCM under a data key from KMS. The encryption
//! context, which is also the additional authenticated data, names the thing
//! and the public key: a sealed key put in another device's place opens for
//! neither.

use aws_config::SdkConfig;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::DataKeySpec;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamplighter_domain::Failure;
use lamplighter_domain::csr::{Csr, PublicKeyId};
use lamplighter_domain::names::ThingName;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::failure::{self, Cause};
use crate::setup;

/// The custody bucket, and the key that everything in it is sealed under.
#[derive(Clone)]
pub struct Vault {
    /// S3's client.
    pub s3: aws_sdk_s3::Client,
    /// KMS's client.
    pub kms: aws_sdk_kms::Client,
    /// The custody bucket.
    pub bucket: String,
    /// The custody key's ARN.
    pub key_arn: String,
}

/// A key that was made here and has not been sealed yet.
pub struct FreshKey {
    /// The signing request for it.
    pub csr: Csr,
    pkcs8: Zeroizing<String>,
}

/// A key as it lies in the bucket. The signing request lies beside it, so that
/// a creation that is taken up again certifies the same key.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SealedKey {
    thing_name: ThingName,
    public_key: PublicKeyId,
    csr_pem: String,
    data_key: String,
    nonce: String,
    sealed: String,
}

/// Makes a P-256 key and a signing request for it.
pub fn make_key(thing_name: &ThingName) -> Result<FreshKey, Failure> {
    let broken = |error: rcgen::Error| Failure::bug(format!("making a key: {error}"));
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(broken)?;
    let mut params = CertificateParams::new(Vec::<String>::new()).map_err(broken)?;
    params
        .distinguished_name
        .push(DnType::CommonName, thing_name.as_str());
    let pem = params
        .serialize_request(&key)
        .map_err(broken)?
        .pem()
        .map_err(broken)?;
    Ok(FreshKey {
        csr: Csr::parse(&pem)?,
        pkcs8: Zeroizing::new(key.serialize_pem()),
    })
}

impl Vault {
    /// The stack's vault.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            s3: setup::s3(sdk),
            kms: aws_sdk_kms::Client::new(sdk),
            bucket: setup::required("CUSTODY_BUCKET")?,
            key_arn: setup::required("CUSTODY_KEY_ARN")?,
        })
    }

    /// Seals a key; the answer is what [`store`](Self::store) puts in the bucket.
    pub async fn seal(&self, thing_name: &ThingName, key: &FreshKey) -> Result<Vec<u8>, Failure> {
        let public_key = key.csr.public_key();
        let answer = self
            .kms
            .generate_data_key()
            .key_id(&self.key_arn)
            .key_spec(DataKeySpec::Aes256)
            .encryption_context("thingName", thing_name.as_str())
            .encryption_context("publicKeySha256", public_key.as_str())
            .send()
            .await
            .map_err(|error| failure::of("kms:GenerateDataKey", &error))?;
        let plain = Zeroizing::new(answer.plaintext.map(Blob::into_inner).unwrap_or_default());
        let data_key = answer
            .ciphertext_blob
            .map(Blob::into_inner)
            .unwrap_or_default();

        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Failure::bug("no randomness"))?;
        let mut text = key.pkcs8.as_bytes().to_vec();
        cipher(&plain)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                aad(thing_name, public_key),
                &mut text,
            )
            .map_err(|_| Failure::bug("sealing failed"))?;
        let sealed = SealedKey {
            thing_name: thing_name.clone(),
            public_key: public_key.clone(),
            csr_pem: key.csr.pem().to_owned(),
            data_key: STANDARD.encode(data_key),
            nonce: STANDARD.encode(nonce),
            sealed: STANDARD.encode(text),
        };
        serde_json::to_vec(&sealed).map_err(|error| Failure::bug(format!("a sealed key: {error}")))
    }

    /// Puts a sealed key in the bucket unless one is there, and answers the
    /// signing request of the one that is there now.
    pub async fn store(
        &self,
        object_key: &str,
        sealed: Vec<u8>,
        csr: &Csr,
    ) -> Result<Csr, Failure> {
        let put = self
            .s3
            .put_object()
            .bucket(&self.bucket)
            .key(object_key)
            .if_none_match("*")
            .server_side_encryption(ServerSideEncryption::AwsKms)
            .ssekms_key_id(&self.key_arn)
            .content_type("application/json")
            .body(ByteStream::from(sealed))
            .send()
            .await;
        match put {
            Ok(_) => Ok(csr.clone()),
            Err(error) if failure::cause(&error) == Cause::Condition => {
                Csr::parse(&self.read(object_key).await?.csr_pem)
            }
            Err(error) => Err(failure::of("s3:PutObject", &error)),
        }
    }

    /// Opens the sealed key of one device: PKCS #8 in PEM.
    pub async fn open(
        &self,
        object_key: &str,
        thing_name: &ThingName,
        public_key: &PublicKeyId,
    ) -> Result<Zeroizing<String>, Failure> {
        let key = self.read(object_key).await?;
        let broken = || {
            Failure::bug(format!(
                "the sealed key {object_key} does not open for {thing_name}"
            ))
        };
        let decode = |text: &str| STANDARD.decode(text).map_err(|_| broken());
        let answer = self
            .kms
            .decrypt()
            .key_id(&self.key_arn)
            .ciphertext_blob(Blob::new(decode(&key.data_key)?))
            .encryption_context("thingName", thing_name.as_str())
            .encryption_context("publicKeySha256", public_key.as_str())
            .send()
            .await
            .map_err(|error| match error.as_service_error() {
                Some(e) if e.is_invalid_ciphertext_exception() => broken(),
                _ => failure::of("kms:Decrypt", &error),
            })?;
        let plain = Zeroizing::new(answer.plaintext.map(Blob::into_inner).unwrap_or_default());
        let nonce = Nonce::try_assume_unique_for_key(&decode(&key.nonce)?).map_err(|_| broken())?;
        let mut text = Zeroizing::new(decode(&key.sealed)?);
        let opened = cipher(&plain)?
            .open_in_place(nonce, aad(thing_name, public_key), &mut text)
            .map_err(|_| broken())?;
        String::from_utf8(opened.to_vec())
            .map(Zeroizing::new)
            .map_err(|_| broken())
    }

    /// Deletes every version of a key object.
    pub async fn purge(&self, object_key: &str) -> Result<(), Failure> {
        let mut pages = self
            .s3
            .list_object_versions()
            .bucket(&self.bucket)
            .prefix(object_key)
            .send()
            .await
            .map_err(|error| failure::of("s3:ListBucketVersions", &error))?;
        let markers = pages.delete_markers.take().unwrap_or_default();
        let versions = pages.versions.take().unwrap_or_default();
        let ids = versions
            .into_iter()
            .filter_map(|v| v.version_id)
            .chain(markers.into_iter().filter_map(|m| m.version_id));
        for id in ids {
            self.s3
                .delete_object()
                .bucket(&self.bucket)
                .key(object_key)
                .version_id(id)
                .send()
                .await
                .map_err(|error| failure::of("s3:DeleteObjectVersion", &error))?;
        }
        Ok(())
    }

    async fn read(&self, object_key: &str) -> Result<SealedKey, Failure> {
        let object = self
            .s3
            .get_object()
            .bucket(&self.bucket)
            .key(object_key)
            .send()
            .await
            .map_err(|error| failure::of("s3:GetObject", &error))?;
        let bytes = object
            .body
            .collect()
            .await
            .map_err(|_| Failure::busy("s3:GetObject broke off", 1))?;
        serde_json::from_slice(&bytes.into_bytes())
            .map_err(|_| Failure::bug(format!("the object {object_key} is not a sealed key")))
    }
}

fn cipher(key: &[u8]) -> Result<LessSafeKey, Failure> {
    let key =
        UnboundKey::new(&AES_256_GCM, key).map_err(|_| Failure::bug("KMS gave no AES-256 key"))?;
    Ok(LessSafeKey::new(key))
}

fn aad(thing_name: &ThingName, public_key: &PublicKeyId) -> Aad<Vec<u8>> {
    Aad::from(format!("{}\0{}", thing_name.as_str(), public_key.as_str()).into_bytes())
}
