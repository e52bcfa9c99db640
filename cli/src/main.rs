//! `lamp`: the operator's command line of Lamplighter.
//!
//! Each command group has a file of its own; what they share is the signed
//! client (`api`), the keys on this machine (`keys`), and how results are
//! written (`output`) and failures end (`failure`). The reference device, which
//! `lamp device run` and `lamp fleet run` start, is in `reference`; what carries a
//! connection through a tunnel, at either end, in `proxy`.

mod api;
mod bulk;
mod ca;
mod case;
mod catalog;
mod cert;
mod cost;
mod device;
mod failure;
mod fleet;
mod fleet_csv;
mod group;
mod job;
mod keys;
mod operation;
mod output;
mod policy;
mod progress;
mod proxy;
mod reference;
mod settings;
mod sweep;
mod tunnel;

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Parser, Subcommand};
use lamplighter_domain::time::Moment;

use crate::api::Api;
use crate::failure::{Exit, Failure};
use crate::output::Format;
use crate::settings::{HEADING, Settings, Target};

const ABOUT: &str = "Creates, shows and removes devices on AWS IoT Core, by Lamplighter's API";

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 usage, 3 refused, 4 pending \
                          (an operation still runs, or the service was busy).";

#[derive(Debug, Parser)]
#[command(name = "lamp", version, about = ABOUT, after_help = EXIT_CODES)]
struct Lamp {
    #[command(subcommand)]
    group: Group,

    /// How results are written to standard output
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, help_heading = HEADING)]
    output: Format,

    /// How often a request is sent at most, when the service is busy or no
    /// reply comes
    #[arg(long, global = true, default_value_t = 8, value_name = "TIMES", help_heading = HEADING)]
    tries: u32,

    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Subcommand)]
enum Group {
    /// The certificate authority whose key never leaves KMS
    #[command(subcommand)]
    Ca(ca::Command),
    /// The fleet's declared organisation
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Devices: a thing, its certificate, its memberships and its record
    #[command(subcommand)]
    Device(Box<device::Command>),
    /// Many devices at once
    #[command(subcommand)]
    Fleet(Box<fleet::Command>),
    /// Dynamic groups: the devices for which a query holds
    #[command(subcommand, name = "group")]
    Groups(group::Command),
    /// Certificates: when each is due for renewal, and what is reported of them
    #[command(subcommand)]
    Cert(cert::Command),
    /// Cases of compromise: devices that were, or may have to be, cut off
    #[command(subcommand)]
    Case(case::Command),
    /// Shared policies: every device under one stopped at once
    #[command(subcommand)]
    Policy(policy::Command),
    /// What each billing group costs in a month
    Cost(cost::Arguments),
    /// Sweeps: the renewal of what is due
    #[command(subcommand)]
    Sweep(sweep::Command),
    /// Jobs: one thing done by many devices, wave after wave
    #[command(subcommand)]
    Job(job::Command),
    /// Tunnels: a way to a device behind a firewall, for a while and for a reason
    #[command(subcommand)]
    Tunnel(tunnel::Command),
    /// What takes longer than a request
    #[command(subcommand)]
    Operation(operation::Command),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let lamp = Lamp::parse();
    let exit = run(&lamp).await.unwrap_or_else(|failure| {
        if lamp.output.is_json() {
            output::document(&output::failure_document(&[], &failure));
        }
        output::note(&failure.text());
        failure.exit
    });
    exit.into()
}

async fn run(lamp: &Lamp) -> Result<Exit, Failure> {
    let connect = async || Ok(Api::new(Settings::resolve(&lamp.target).await?, lamp.tries));
    match &lamp.group {
        Group::Ca(command) => ca::run(command, connect, lamp.output).await,
        Group::Catalog(command) => catalog::run(command, connect, lamp.output).await,
        Group::Device(command) => {
            device::run(command, connect, (&lamp.target, lamp.tries), lamp.output).await
        }
        Group::Fleet(command) => fleet::run(command, &lamp.target, lamp.output).await,
        Group::Groups(command) => group::run(command, connect, lamp.output).await,
        Group::Cert(command) => cert::run(command, &connect().await?, lamp.output, now()).await,
        Group::Case(command) => case::run(command, &connect().await?, lamp.output).await,
        Group::Policy(command) => policy::run(command, &connect().await?, lamp.output).await,
        Group::Cost(arguments) => cost::run(arguments, &connect().await?, lamp.output).await,
        Group::Sweep(command) => sweep::run(command, &connect().await?, lamp.output).await,
        Group::Job(command) => job::run(command, &connect().await?, lamp.output).await,
        Group::Tunnel(command) => tunnel::run(command, connect, &lamp.target, lamp.output).await,
        Group::Operation(command) => operation::run(command, &connect().await?, lamp.output).await,
    }
}

fn now() -> Moment {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
