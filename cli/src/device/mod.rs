//! `lamp device`: a thing, its certificate, its memberships and its record,
//! taken as one.

mod create;
mod credentials;
mod delete;
mod enrol;
mod list;
mod many;
mod preregister;
mod renew;
mod run;
mod update;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use clap::Subcommand;
use lamplighter_domain::names::ThingName;

use crate::api::Api;
use crate::failure::{Exit, Failure};
use crate::fleet_csv::{self, Row};
use crate::output::Format;
use crate::settings::Target;

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create devices; one that is there as asked for is left as it is
    Create(create::Arguments),
    /// List devices, filtered
    List(list::Arguments),
    /// Show one device's record
    Show {
        /// The device's thing name
        name: String,
    },
    /// Delete devices and everything linked to them
    Delete(delete::Arguments),
    /// Change devices' attributes, groups, billing group and thing type
    Update(update::Arguments),
    /// Renew devices' certificates, with proof
    Renew(renew::Arguments),
    /// Fetch a device's private key from the vault, which hands it out once
    Credentials(credentials::Arguments),
    /// Issue a one-time token for a device that lost its key or slept too long
    EnrolmentToken(enrol::Issue),
    /// Be a device that comes back with a token: enrol, connect, and prove it
    Enrol(enrol::Enrol),
    /// Let devices claim these names, under a profile of the catalog
    Preregister(preregister::Arguments),
    /// Be a device: connect, report, and renew its certificate when told to
    Run(run::Arguments),
}

pub(crate) async fn run(
    command: &Command,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    (target, tries): (&Target, u32),
    format: Format,
) -> Result<Exit, Failure> {
    match command {
        Command::Create(arguments) => create::run(arguments, connect, format).await,
        Command::List(arguments) => list::run(arguments, &connect().await?, format).await,
        Command::Show { name } => list::show(name, &connect().await?, format).await,
        Command::Delete(arguments) => delete::run(arguments, &connect().await?, format).await,
        Command::Update(arguments) => update::run(arguments, connect, format).await,
        Command::Renew(arguments) => renew::run(arguments, &connect().await?, format).await,
        Command::Credentials(arguments) => credentials::run(arguments, connect, format).await,
        Command::EnrolmentToken(issue) => enrol::issue(issue, &connect().await?, format).await,
        Command::Enrol(arguments) => enrol::enrol(arguments, target, tries, format).await,
        Command::Preregister(arguments) => preregister::run(arguments, connect, format).await,
        Command::Run(arguments) => run::run(arguments, target, format).await,
    }
}

/// The rows of a devices file.
pub(crate) fn rows(file: &Path) -> Result<Vec<Row>, Failure> {
    let within = |mut failure: Failure| {
        failure.reason = format!("{}: {}", file.display(), failure.reason);
        failure
    };
    let source = File::open(file)
        .map_err(|error| {
            Failure::usage(
                error.to_string(),
                "Give a CSV file that is there and may be read.",
            )
        })
        .map_err(within)?;
    fleet_csv::read(source).map_err(within)
}

/// A name that is safe as part of a file's name, by the service's own rule.
pub(crate) fn thing_name(name: &str) -> Result<ThingName, Failure> {
    Ok(ThingName::parse(name)?)
}

/// `NAME=VALUE`, as an argument.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

fn pairs(pairs: &[(String, String)]) -> BTreeMap<String, String> {
    pairs.iter().cloned().collect()
}
