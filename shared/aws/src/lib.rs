//! What Lamplighter does: the only crate that names the AWS SDK.
//!
//! The domain decides; here each decided step becomes a call, and each answer
//! becomes an observation or a [`Failure`](lamplighter_domain::Failure). Every
//! service stands behind a feature, so that a function links only what it
//! calls.

#[cfg(feature = "dynamodb")]
pub mod claims;
pub mod clock;
#[cfg(all(feature = "dynamodb", feature = "iot", feature = "kms", feature = "s3"))]
pub mod create;
pub mod failure;
pub mod http;
#[cfg(feature = "iot")]
pub mod issuer;
#[cfg(feature = "iotdata")]
pub mod replies;
pub mod server_ca;
pub mod setup;
#[cfg(feature = "dynamodb")]
pub mod table;
pub mod telemetry;
#[cfg(feature = "iot")]
pub mod things;
#[cfg(all(feature = "kms", feature = "s3"))]
pub mod vault;
