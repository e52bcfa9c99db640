//! What Lamplighter does: the only crate that names the AWS SDK.
//!
//! The domain decides; here each decided step becomes a call, and each answer
//! becomes an observation or a [`Failure`](lamplighter_domain::Failure). Every
//! service stands behind a feature, so that a function links only what it
//! calls.

pub mod clock;
pub mod failure;
pub mod http;
pub mod setup;
#[cfg(feature = "dynamodb")]
pub mod table;
pub mod telemetry;
