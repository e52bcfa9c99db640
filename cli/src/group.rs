//! `lamp group`: dynamic groups, and the queries that define them.

mod cases;
mod explain;
mod list;
mod put;
mod watch;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lamplighter_domain::group::Language;

use crate::api::Api;
use crate::failure::{Exit, Failure};
use crate::output::Format;

/// What can be done with dynamic groups.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List all dynamic groups
    List,
    /// Show one dynamic group: its definition, and how far it is
    Show(Named),
    /// List the members of a dynamic group
    Members(list::Members),
    /// List the dynamic groups that a device is in, and those whose static group in
    /// AWS has no room for it
    Of(Device),
    /// Define a dynamic group, or change its definition; --dry-run says first
    /// who would enter and leave
    Put(put::Arguments),
    /// Remove a dynamic group; its members leave it
    Delete(Named),
    /// Follow who enters and leaves a dynamic group, as it happens
    Watch(watch::Arguments),
    /// Try a query on a device, or a file of cases
    #[command(
        after_help = "A file of cases is a JSON array of {id, query, device, expected}, or \
                            one such object a line. The answer is one JSON object a line: {id, \
                            result: true, false or \"error\", message}. Nothing is sent, unless \
                            the document of a device in the registry is asked for."
    )]
    Test(Test),
}

/// Which group.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The group's name
    name: String,
}

/// Which device.
#[derive(Debug, Args)]
pub(crate) struct Device {
    /// The device
    thing: String,
}

/// Either a file of cases, or one query and one device.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Run the cases of this file; exit code 1 if one that has an expected
    /// result, and is not marked ambiguous, comes out otherwise
    #[arg(long, value_name = "FILE", conflicts_with_all = ["query", "device"])]
    cases: Option<PathBuf>,

    /// Say whether this query holds for the device, and which clause decided
    #[arg(long, requires = "device", required_unless_present = "cases")]
    query: Option<String>,

    /// The device's document, a JSON file; or the name of a device in the
    /// registry, where there is no such file
    #[arg(long, value_name = "FILE|THING", requires = "query")]
    device: Option<String>,

    /// Read the extensions too that AWS IoT does not understand: versions
    /// (<semver"1.10.0") and dynamicGroupNames
    #[arg(long)]
    beyond_aws: bool,
}

pub(crate) async fn run(
    command: &Command,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    match command {
        Command::List => list::all(&connect().await?, format).await,
        Command::Show(named) => list::show(&named.name, &connect().await?, format).await,
        Command::Members(members) => list::members(members, &connect().await?, format).await,
        Command::Of(device) => list::of_device(&device.thing, &connect().await?, format).await,
        Command::Put(arguments) => put::run(arguments, connect, format).await,
        Command::Delete(named) => put::delete(&named.name, &connect().await?, format).await,
        Command::Watch(arguments) => watch::run(arguments, &connect().await?, format).await,
        Command::Test(arguments) => test(arguments, connect, format).await,
    }
}

async fn test(
    test: &Test,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    let language = if test.beyond_aws {
        Language::Extended
    } else {
        Language::Aws
    };
    match (&test.cases, &test.query, &test.device) {
        (Some(file), _, _) => cases::run(file, language),
        (None, Some(query), Some(device)) => {
            let parsed = explain::parse(query, language)?;
            let document = explain::document(device, connect).await?;
            Ok(explain::explain(&parsed, &document, format))
        }
        _ => Err(Failure::usage(
            "neither cases nor a query with its device",
            "Give --cases FILE, or --query QUERY --device FILE|THING.",
        )),
    }
}

/// A file's text.
fn read(file: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(
            format!("{}: {error}", file.display()),
            "Give a file that is there.",
        )
    })
}
