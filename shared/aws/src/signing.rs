//! KMS's signature under a certificate.

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{MessageType, SigningAlgorithmSpec};
use lamplighter_domain::authority::{Signed, Unsigned};
use lamplighter_domain::{Failure, Kind};

use crate::failure;

/// Has KMS sign a certificate (ECDSA over its SHA-256; KMS answers DER).
pub async fn sign(kms: &Client, key_arn: &str, unsigned: &Unsigned) -> Result<Signed, Failure> {
    let answer = kms
        .sign()
        .key_id(key_arn)
        .message(Blob::new(unsigned.digest()))
        .message_type(MessageType::Digest)
        .signing_algorithm(SigningAlgorithmSpec::EcdsaSha256)
        .send()
        .await
        .map_err(|error| {
            let failure = failure::of("kms:Sign", &error);
            let unusable = error.as_service_error().is_some_and(|e| {
                e.is_disabled_exception()
                    || e.is_kms_invalid_state_exception()
                    || e.is_not_found_exception()
            });
            if unusable {
                return Failure::new(
                    Kind::Denied,
                    "the authority's key cannot be used",
                    "Enable the key in KMS, or cancel its deletion.",
                )
                .status(500)
                .operator(format!("{key_arn}: {}", failure.operator));
            }
            failure
        })?;
    let signature = answer.signature.map(Blob::into_inner).unwrap_or_default();
    unsigned.finish(&signature)
}
