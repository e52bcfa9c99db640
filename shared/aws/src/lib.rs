//! What Lamplighter does: the only crate that names the AWS SDK.
//!
//! The domain decides; here each decided step becomes a call, and each answer
//! becomes an observation or a [`Failure`](lamplighter_domain::Failure). Every
//! service stands behind a feature, so that a function links only what it
//! calls.

#[cfg(feature = "iot")]
pub mod account;
#[cfg(all(feature = "dynamodb", feature = "eventbridge", feature = "sfn"))]
pub mod announce;
#[cfg(all(feature = "dynamodb", feature = "kms"))]
pub mod authorities;
#[cfg(all(feature = "dynamodb", feature = "iot"))]
pub mod catalog;
#[cfg(feature = "iot")]
pub mod certificates;
#[cfg(feature = "dynamodb")]
pub mod claims;
pub mod clock;
#[cfg(all(
    feature = "dynamodb",
    feature = "iot",
    feature = "iotdata",
    feature = "iottunnel",
    feature = "kms",
    feature = "s3",
    feature = "sfn"
))]
pub mod compromise;
#[cfg(feature = "dynamodb")]
pub mod costs;
#[cfg(all(feature = "dynamodb", feature = "iot", feature = "kms", feature = "s3"))]
pub mod create;
#[cfg(feature = "custom-resource")]
pub mod custom_resource;
#[cfg(feature = "dynamodb")]
pub mod definitions;
#[cfg(all(
    feature = "dynamodb",
    feature = "iot",
    feature = "iotdata",
    feature = "iottunnel",
    feature = "s3",
    feature = "sfn"
))]
pub mod delete;
#[cfg(feature = "iot")]
mod describe;
#[cfg(feature = "dynamodb")]
pub mod due;
#[cfg(all(feature = "dynamodb", feature = "sfn"))]
pub mod enrolment;
pub mod failure;
#[cfg(feature = "dynamodb")]
pub mod group_queries;
#[cfg(all(feature = "dynamodb", feature = "iot", feature = "iotdata"))]
pub mod group_sweep;
#[cfg(feature = "sfn")]
pub mod group_sweep_start;
#[cfg(all(feature = "dynamodb", feature = "iot", feature = "iotdata"))]
pub mod groups;
#[cfg(all(feature = "dynamodb", feature = "kms", feature = "s3"))]
pub mod handout;
pub mod http;
#[cfg(feature = "iot")]
pub mod issuer;
#[cfg(feature = "dynamodb")]
pub mod job_views;
#[cfg(all(
    feature = "dynamodb",
    feature = "iot",
    feature = "iotdata",
    feature = "s3",
    feature = "sfn"
))]
pub mod jobs;
#[cfg(all(feature = "dynamodb", feature = "sfn"))]
mod journal;
#[cfg(feature = "dynamodb")]
mod key_owners;
#[cfg(all(
    feature = "iot",
    feature = "iotdata",
    feature = "iottunnel",
    feature = "s3",
    feature = "sfn"
))]
pub mod links;
#[cfg(all(feature = "dynamodb", feature = "eventbridge", feature = "sfn"))]
mod members;
#[cfg(feature = "iot")]
mod memberships;
#[cfg(all(feature = "s3", feature = "sfn"))]
mod objects;
#[cfg(feature = "iot")]
pub mod organisation;
#[cfg(all(feature = "s3", feature = "sfn"))]
mod outcome;
#[cfg(feature = "iot")]
pub mod policy_versions;
#[cfg(feature = "dynamodb")]
pub mod preregister;
#[cfg(feature = "dynamodb")]
pub mod query;
pub mod queue;
#[cfg(feature = "dynamodb")]
mod reads;
#[cfg(all(
    feature = "dynamodb",
    feature = "iot",
    feature = "iotdata",
    feature = "kms",
    feature = "s3",
    feature = "sfn"
))]
pub mod renewal;
#[cfg(feature = "iotdata")]
pub mod replies;
#[cfg(feature = "dynamodb")]
mod rotations;
pub mod server_ca;
pub mod setup;
#[cfg(feature = "kms")]
pub mod signing;
#[cfg(all(feature = "dynamodb", feature = "iot"))]
pub mod stops;
#[cfg(feature = "dynamodb")]
pub mod sweep_rows;
#[cfg(all(feature = "dynamodb", feature = "sfn"))]
pub mod sweeps;
#[cfg(feature = "dynamodb")]
pub mod table;
pub mod telemetry;
#[cfg(feature = "iot")]
pub mod things;
#[cfg(all(feature = "dynamodb", feature = "iotdata", feature = "iottunnel"))]
pub mod tunnels;
#[cfg(feature = "dynamodb")]
pub mod type_names;
#[cfg(feature = "dynamodb")]
mod update_rows;
#[cfg(all(feature = "dynamodb", feature = "iot"))]
pub mod updates;
#[cfg(all(feature = "kms", feature = "s3"))]
pub mod vault;
#[cfg(feature = "sfn")]
mod workflows;
