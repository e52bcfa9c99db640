//! `lamp catalog`: the fleet's declared organisation, compared and applied.

mod show;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use lamplighter_domain::fields::Unique;
use serde_json::Value;

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};
use crate::progress;

/// Between two requests of one application, while AWS settles.
const PAUSE: Duration = Duration::from_secs(2);
/// How often an application that moves nobody is repeated: until an update that
/// was broken off holds its device no more.
const MOST_IDLE: u32 = 30;

/// What can be done with a catalog.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what applying it would do, and change nothing
    Plan {
        #[command(flatten)]
        which: Which,

        /// End with exit code 4 when there is something to do
        #[arg(long)]
        detailed_exit_code: bool,
    },
    /// Make what is missing, and change or remove what a catalog made
    Apply {
        #[command(flatten)]
        which: Which,

        /// Send one request, even if it leaves something to be done
        #[arg(long)]
        once: bool,
    },
}

/// Which catalog, and what may be done for it.
#[derive(Debug, Args)]
pub(crate) struct Which {
    /// The catalog, a YAML file
    file: PathBuf,

    /// Take devices out of groups and billing groups that are no longer
    /// declared, instead of refusing to remove them
    #[arg(long)]
    drain: bool,
}

impl Which {
    fn call(&self) -> Result<Call, Failure> {
        let call = Call::put(&["catalog"]).body(read(&self.file)?);
        Ok(if self.drain {
            call.query("drain", "true")
        } else {
            call
        })
    }
}

pub(crate) async fn run(
    command: &Command,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    match command {
        Command::Plan {
            which,
            detailed_exit_code,
        } => {
            let call = which.call()?.query("dryRun", "true");
            let answer = connect().await?.send(call).await?.body;
            write(&answer, true, format);
            Ok(planned(&answer, *detailed_exit_code))
        }
        Command::Apply { which, once } => {
            let call = which.call()?;
            let answer = apply(&connect().await?, &call, *once).await?;
            write(&answer, false, format);
            for (reason, names) in answer["progress"]["failures"]
                .as_object()
                .into_iter()
                .flatten()
            {
                output::note(&format!("{}: {reason}", output::plain(names)));
            }
            Ok(exit(&answer))
        }
    }
}

/// Sends a catalog until all that can be done is done. The answer tells what
/// was changed by all of the requests.
async fn apply(api: &Api, call: &Call, once: bool) -> Result<Value, Failure> {
    let mut answer = api.send(call.clone()).await?.body;
    let mut changes = answer["changes"].take();
    let (mut moved, mut idle) = (0, 0);
    let mut bar = None;
    while answer["status"] == "PENDING" && !once && answer["progress"]["stalled"] != true {
        let count = |field: &str| answer["progress"][field].as_u64().unwrap_or_default();
        idle = if count("moved") == 0 { idle + 1 } else { 0 };
        if idle > MOST_IDLE {
            break;
        }
        moved += count("moved");
        let bar = bar.get_or_insert_with(|| progress::bar("moving", 0));
        bar.set_length(moved + count("left"));
        bar.set_position(moved);
        if idle > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        answer = api.send(call.clone()).await?.body;
        add(&mut changes, answer["changes"].take());
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if let Some(last) = answer["progress"]["moved"].as_u64() {
        answer["progress"]["moved"] = (moved + last).into();
    }
    answer["changes"] = changes;
    Ok(answer)
}

/// Adds the changes that were not there before.
fn add(changes: &mut Value, more: Value) {
    let (Value::Array(all), Value::Array(more)) = (changes, more) else {
        return;
    };
    let same = |a: &Value, b: &Value| {
        ["action", "kind", "name"]
            .iter()
            .all(|field| a[field] == b[field])
    };
    for change in more {
        if !all.iter().any(|known| same(known, &change)) {
            all.push(change);
        }
    }
}

/// What a plan means. One that was asked for in detail tells whether there is
/// something to do, now or later.
fn planned(answer: &Value, detailed: bool) -> Exit {
    let to_do = ["changes", "waiting"]
        .iter()
        .any(|part| is_filled(&answer[part]));
    match exit(answer) {
        Exit::Done if detailed && to_do => Exit::Pending,
        exit => exit,
    }
}

/// What an answer means: refused, still to be done, or done. What is left alone,
/// and what was applied but for a part that has to wait, is left to be done.
fn exit(answer: &Value) -> Exit {
    if is_filled(&answer["refused"]) {
        Exit::Refused
    } else if answer["progress"]["stalled"] == true {
        Exit::Failed
    } else if answer["status"] == "PENDING"
        || is_filled(&answer["kept"])
        || (answer["status"] == "DONE" && is_filled(&answer["waiting"]))
    {
        Exit::Pending
    } else {
        Exit::Done
    }
}

fn is_filled(list: &Value) -> bool {
    list.as_array().is_some_and(|list| !list.is_empty())
}

fn write(answer: &Value, dry_run: bool, format: Format) {
    if format.is_json() {
        output::document(answer);
    } else {
        show::show(answer, dry_run);
    }
}

/// The catalog as JSON.
fn read(file: &Path) -> Result<Value, Failure> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        Failure::usage(
            format!("{}: {error}", file.display()),
            "Give a catalog that is there.",
        )
    })?;
    parse(&text).map_err(|error| {
        Failure::usage(
            format!("{}: {error}", file.display()),
            "examples/street-lights/catalog.yaml shows every part of a catalog.",
        )
    })
}

/// YAML in which no mapping has a key twice; the error names the line.
pub(crate) fn parse(text: &str) -> Result<Value, serde_yaml_ng::Error> {
    serde_yaml_ng::from_str(text).map(|Unique(value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn how_an_application_ends() {
        for (answer, wanted) in [
            (json!({"status": "DONE"}), Exit::Done),
            (json!({"status": "PLANNED", "changes": [{}]}), Exit::Done),
            (json!({"status": "PENDING"}), Exit::Pending),
            (json!({"status": "DONE", "kept": [{}]}), Exit::Pending),
            (json!({"status": "DONE", "waiting": [{}]}), Exit::Pending),
            (json!({"status": "PLANNED", "waiting": [{}]}), Exit::Done),
            (
                json!({"status": "PENDING", "progress": {"stalled": true}}),
                Exit::Failed,
            ),
            (json!({"status": "REFUSED", "refused": [{}]}), Exit::Refused),
        ] {
            assert_eq!(exit(&answer), wanted, "{answer}");
        }
    }

    #[test]
    fn a_plan_in_detail_tells_what_there_is_to_do() {
        for (answer, plain, detailed) in [
            (json!({"status": "PLANNED"}), Exit::Done, Exit::Done),
            (
                json!({"status": "PLANNED", "changes": [{}]}),
                Exit::Done,
                Exit::Pending,
            ),
            (
                json!({"status": "PLANNED", "waiting": [{}]}),
                Exit::Done,
                Exit::Pending,
            ),
            (
                json!({"status": "PLANNED", "changes": [{}], "refused": [{}]}),
                Exit::Refused,
                Exit::Refused,
            ),
        ] {
            assert_eq!(planned(&answer, false), plain, "{answer}");
            assert_eq!(planned(&answer, true), detailed, "{answer}");
        }
    }

    #[test]
    fn changes_of_several_requests_are_told_once() {
        let change = |name: &str| json!({"action": "drain", "kind": "group", "name": name});
        let mut all = json!([change("a")]);
        add(&mut all, json!([change("a"), change("b")]));
        assert_eq!(all, json!([change("a"), change("b")]));
    }
}
