//! The reference device: what a firmware engineer reads to implement the
//! rotation protocol of `docs/rotation-protocol.md`.
//!
//! Every decision is [`Wallet`](lamplighter_domain::rotation::wallet::Wallet)'s.
//! Around it, from the disk outwards: `durable` writes files that survive a
//! loss of power, `store` says which files, `keeper` stores each decision
//! before it is acted on, `session` is one MQTT connection, `shift` is what a
//! device does while it is connected, and `device` is its whole life. `jobs` has
//! a description of its own; `tunnels` begins the local proxy of `crate::proxy`.

mod backoff;
mod device;
mod dialer;
mod durable;
mod endpoint;
mod enrolling;
mod gap;
mod jobs;
mod keeper;
mod news;
mod protocol;
mod report;
mod session;
mod shift;
mod store;
#[cfg(test)]
mod testing;
mod tunnels;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use device::{Device, Vitals};
pub(crate) use dialer::{Dialer, trusting_the_system};
pub(crate) use endpoint::Endpoint;
pub(crate) use enrolling::Enrolling;
pub(crate) use jobs::Settings as JobSettings;
pub(crate) use keeper::Keeper;
pub(crate) use news::{Line, News, Wire};
pub(crate) use tunnels::{Offer, Settings as TunnelSettings};

/// How a device behaves, apart from the protocol.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// What it reports as its firmware's version, until a job has installed
    /// another one.
    pub(crate) first_firmware: Arc<str>,
    /// What jobs may do.
    pub(crate) jobs: Arc<JobSettings>,
    /// What tunnels may lead to.
    pub(crate) tunnels: Arc<TunnelSettings>,
    /// The time between two messages of telemetry.
    pub(crate) telemetry_every: Duration,
    /// The time until it first repeats what was not answered.
    pub(crate) repeat_every: Duration,
    /// What it does wrong, on purpose.
    pub(crate) misbehaviour: Option<Misbehaviour>,
}

/// Ways to break the protocol, for tests and demonstrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Misbehaviour {
    /// Uses its new certificate and never proves it
    RefuseProof,
    /// Does not react to being told to renew
    Ignore,
    /// Has lost its new key by the time the certificate comes
    NoStore,
}
