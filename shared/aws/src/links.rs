//! What AWS links to a device, looked at and cut: shared by deletions, which
//! cut everything, and cases of compromise, which cut what can still act.

mod effects;
mod look;

use std::future::Future;

use aws_config::SdkConfig;
use futures_util::stream::{self, StreamExt as _};
use lamplighter_domain::Failure;

use crate::setup;

pub use crate::objects::Bucket;
pub(crate) use crate::outcome::{Outcome, outcome};
pub(crate) use effects::carry_out;
pub(crate) use look::{absent, all_pages};

/// The clients and buckets that lead to it.
#[derive(Clone)]
pub struct Links {
    /// Things and certificates.
    pub iot: aws_sdk_iot::Client,
    /// Shadows, connections and retained messages.
    pub data: aws_sdk_iotdataplane::Client,
    /// Tunnels.
    pub tunnels: aws_sdk_iotsecuretunneling::Client,
    /// Where sealed keys lie.
    pub custody: Bucket,
    /// Where copies of them lie.
    pub replica: Option<Bucket>,
}

impl Links {
    /// Builds the clients, and reads the buckets' names from the environment.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        let s3 = setup::s3(sdk);
        Ok(Self {
            iot: aws_sdk_iot::Client::new(sdk),
            data: aws_sdk_iotdataplane::Client::new(sdk),
            tunnels: aws_sdk_iotsecuretunneling::Client::new(sdk),
            custody: Bucket::new(setup::required("CUSTODY_BUCKET")?, s3.clone()),
            replica: setup::optional("REPLICA_BUCKET").map(|name| Bucket::new(name, s3)),
        })
    }
}

/// The most calls at a time for one device: the account's quotas are others' too.
const AT_A_TIME: usize = 8;

/// Runs all to their ends, some at a time, in any order.
pub(crate) async fn at_once<F: Future>(work: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    stream::iter(work)
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await
}
