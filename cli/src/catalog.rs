//! `lamp catalog`: the fleet's declared organisation, compared and applied.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::Value;

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// What can be done with a catalog.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what applying it would do, and change nothing
    Plan {
        /// The catalog, a YAML file
        file: PathBuf,
    },
    /// Create what is missing of it; nothing that is there is changed
    Apply {
        /// The catalog, a YAML file
        file: PathBuf,
    },
}

pub(crate) async fn run(
    command: &Command,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    let (file, dry_run) = match command {
        Command::Plan { file } => (file, true),
        Command::Apply { file } => (file, false),
    };
    let mut call = Call::put(&["catalog"]).body(read(file)?);
    if dry_run {
        call = call.query("dryRun", "true");
    }
    let answer = connect().await?.send(call).await?.body;
    if format.is_json() {
        output::document(&answer);
    } else {
        show(&answer, dry_run);
    }
    let refused = answer["refused"]
        .as_array()
        .is_some_and(|refused| !refused.is_empty());
    Ok(if refused { Exit::Refused } else { Exit::Done })
}

/// The catalog as JSON.
fn read(file: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::usage(format!("{}: {error}", file.display()), ""))?;
    parse(&text).map_err(|error| {
        Failure::usage(
            format!("{}: {error}", file.display()),
            "examples/street-lights/catalog.yaml shows every part of a catalog.",
        )
    })
}

fn parse(text: &str) -> Result<Value, serde_yaml_ng::Error> {
    serde_yaml_ng::from_str(text)
}

fn show(answer: &Value, dry_run: bool) {
    let created = if dry_run {
        "would be created"
    } else {
        "created"
    };
    let mut table = output::table(&["what", "name", "", "why"]);
    for (part, verb) in [
        ("created", created),
        ("unchanged", "as declared"),
        ("refused", "refused"),
    ] {
        for item in answer[part].as_array().into_iter().flatten() {
            let (kind, name, reason) = described(item);
            let verb = match part {
                "created" => output::good(verb),
                "refused" => output::bad(verb),
                _ => verb.into(),
            };
            table.add_row([kind.into(), name.into(), verb, reason.into()]);
        }
    }
    output::line(&table.to_string());
}

/// Kind, name and reason of one entry of an answer.
fn described(item: &Value) -> (String, String, String) {
    match item {
        Value::String(text) => {
            let (kind, name) = text.split_once('/').unwrap_or(("", text));
            (kind.to_owned(), name.to_owned(), String::new())
        }
        item => (
            output::plain(&item["kind"]),
            output::plain(&item["name"]),
            output::plain(&item["reason"]),
        ),
    }
}
