//! `lamp group`: dynamic groups, and the queries that define them.

mod cases;
mod explain;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lamplighter_domain::group::Language;

use crate::failure::{Exit, Failure};
use crate::output::Format;

/// What can be done with dynamic groups.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Try a query on a device's document, or a file of cases; nothing is sent
    #[command(
        after_help = "A file of cases is a JSON array of {id, query, device, expected}, or \
                            one such object a line. The answer is one JSON object a line: {id, \
                            result: true, false or \"error\", message}."
    )]
    Test(Test),
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

    /// The device's document, a JSON file
    #[arg(long, value_name = "FILE", requires = "query")]
    device: Option<PathBuf>,

    /// Read the extensions too that AWS IoT does not understand: versions
    /// (<semver"1.10.0") and dynamicGroupNames
    #[arg(long)]
    beyond_aws: bool,
}

pub(crate) fn run(command: &Command, format: Format) -> Result<Exit, Failure> {
    let Command::Test(test) = command;
    let language = if test.beyond_aws {
        Language::Extended
    } else {
        Language::Aws
    };
    match (&test.cases, &test.query, &test.device) {
        (Some(file), _, _) => cases::run(file, language),
        (None, Some(query), Some(device)) => explain::run(query, device, language, format),
        _ => Err(Failure::usage(
            "neither cases nor a query with its device",
            "Give --cases FILE, or --query QUERY --device FILE.",
        )),
    }
}

/// A file's text.
fn read(file: &std::path::Path) -> Result<String, Failure> {
    std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display()), ""))
}
