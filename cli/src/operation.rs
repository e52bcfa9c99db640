//! `lamp operation`: what takes longer than a request, and its proof.

use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;
use tokio::time::Instant;

use crate::api::{Api, Call};
use crate::bulk::Outcome;
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// How long `--wait` waits.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Patience {
    /// How many seconds to wait at most; then the exit code is 4
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    timeout: u64,
}

/// What can be done with an operation.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show where an operation stands: its steps, its rotation, its proof
    Show {
        /// The operation's id, as a create, a renewal or a delete answered
        id: String,
        /// Wait until it has ended
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        patience: Patience,
    },
}

pub(crate) async fn run(command: &Command, api: &Api, format: Format) -> Result<Exit, Failure> {
    let Command::Show { id, wait, patience } = command;
    let operation = if *wait {
        wait_for(api, id, *patience, ended).await?
    } else {
        observe(api, id).await?
    };
    if format.is_json() {
        output::document(&operation);
    } else {
        show(&operation);
    }
    Ok(exit(&operation))
}

async fn observe(api: &Api, id: &str) -> Result<Value, Failure> {
    Ok(api.send(Call::get(&["operations", id])).await?.body)
}

/// The operation once it has come far enough, or as it stands when patience has
/// ended.
pub(crate) async fn wait_for(
    api: &Api,
    id: &str,
    patience: Patience,
    enough: impl Fn(&Value) -> bool,
) -> Result<Value, Failure> {
    let until = Instant::now() + Duration::from_secs(patience.timeout);
    let mut pause = Duration::from_millis(250);
    loop {
        let operation = observe(api, id).await?;
        if enough(&operation) || Instant::now() + pause > until {
            return Ok(operation);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(Duration::from_secs(3));
    }
}

/// Whether nothing more will happen.
pub(crate) fn ended(operation: &Value) -> bool {
    exit(operation) != Exit::Pending
}

/// The exit code that an operation's status means. A proof with a line that is
/// not clear is no success, whatever the status says.
pub(crate) fn exit(operation: &Value) -> Exit {
    match operation["status"].as_str() {
        Some("DONE") if survivors(operation).next().is_some() => Exit::Failed,
        Some("DONE") => Exit::Done,
        Some("REFUSED" | "COMPENSATED") => Exit::Refused,
        Some("RUNNING" | "UNDOING") => Exit::Pending,
        _ => Exit::Failed,
    }
}

/// The proof's lines that found something left.
fn survivors(operation: &Value) -> impl Iterator<Item = &Value> {
    proof(operation).iter().filter(|line| line["clear"] != true)
}

fn proof(operation: &Value) -> &[Value] {
    operation["proof"].as_array().map_or(&[], Vec::as_slice)
}

/// The proof in a few words.
pub(crate) fn verdict(operation: &Value) -> String {
    let all = proof(operation).len();
    let left: Vec<_> = survivors(operation)
        .map(|line| output::plain(&line["subject"]))
        .collect();
    match (all, left.as_slice()) {
        (0, _) => String::new(),
        (_, []) => format!("{all} looked for, nothing left"),
        (_, left) => format!("left: {}", left.join(", ")),
    }
}

/// What became of many devices, one operation each; `told` heads what more
/// there is to say of it. One that has it all to tell is shown whole.
pub(crate) fn show_all(outcomes: &[Outcome], told: &str) {
    if let [
        Outcome {
            result: Ok((_, operation)),
            ..
        },
    ] = outcomes
        && (operation["proof"].is_array() || operation["rotation"].is_object())
    {
        show(operation);
        return;
    }
    let mut table = output::table(&["device", "", told, "operation"]);
    for outcome in outcomes {
        let row = match &outcome.result {
            Ok((exit, operation)) => {
                let status = output::plain(&operation["status"]);
                [
                    outcome.name.as_str().into(),
                    match exit {
                        Exit::Done => output::good(status),
                        Exit::Pending => output::open(status),
                        _ => output::bad(status),
                    },
                    said(operation).into(),
                    output::plain(&operation["operationId"]).into(),
                ]
            }
            Err(failure) => [
                outcome.name.as_str().into(),
                output::bad(failure.code),
                failure.reason.as_str().into(),
                failure.operation_id.clone().unwrap_or_default().into(),
            ],
        };
        table.add_row(row);
    }
    output::line(&table.to_string());
}

/// The most telling of an operation: its proof, why it failed, how far it is.
fn said(operation: &Value) -> String {
    [
        verdict(operation),
        output::plain(&operation["failure"]["reason"]),
        output::plain(&operation["rotation"]["phase"]),
        output::plain(&operation["message"]),
    ]
    .into_iter()
    .find(|said| !said.is_empty())
    .unwrap_or_default()
}

pub(crate) fn show(operation: &Value) {
    let operation = &output::readable(operation);
    let fields = [
        "operationId",
        "kind",
        "thingName",
        "status",
        "startedAt",
        "endedAt",
    ];
    let mut facts: Vec<_> = fields
        .into_iter()
        .filter(|name| !operation[*name].is_null())
        .map(|name| (name, output::plain(&operation[name])))
        .collect();
    let rotation = [
        "phase",
        "issuer",
        "oldCertificateId",
        "newCertificateId",
        "requestBefore",
        "proveBefore",
        "provenAt",
        "removeAt",
    ];
    for name in rotation {
        if !operation["rotation"][name].is_null() {
            facts.push((name, output::plain(&operation["rotation"][name])));
        }
    }
    for name in ["field", "reason", "remedy"] {
        if !operation["failure"][name].is_null() {
            facts.push((name, output::plain(&operation["failure"][name])));
        }
    }
    output::line(&output::facts(facts).to_string());
    show_steps(operation);
    show_proof(operation);
}

fn show_steps(operation: &Value) {
    let steps = operation["steps"].as_array().map_or(&[][..], Vec::as_slice);
    if steps.is_empty() {
        return;
    }
    let mut table = output::table(&["step", ""]);
    for step in steps {
        let (name, rest) = match step {
            Value::Object(fields) => {
                let named = ["name", "step"]
                    .into_iter()
                    .find(|name| fields.contains_key(*name));
                let mut rest = fields.clone();
                let name = named.and_then(|name| rest.remove(name)).unwrap_or_default();
                (output::plain(&name), output::plain(&Value::Object(rest)))
            }
            step => (output::plain(step), String::new()),
        };
        table.add_row([name, rest]);
    }
    output::line(&table.to_string());
}

fn show_proof(operation: &Value) {
    show_lines(&operation["proof"], "proof of");
}

/// What was looked for and found, a line each; nothing where there is none.
pub(crate) fn show_lines(lines: &Value, subject: &str) {
    let lines = lines.as_array().map_or(&[][..], Vec::as_slice);
    if lines.is_empty() {
        return;
    }
    let mut table = output::table(&[subject, "looked", "found", "clear"]);
    for line in lines {
        let clear = line["clear"] == true;
        table.add_row([
            output::plain(&line["subject"]).into(),
            output::plain(&line["looked"]).into(),
            output::plain(&line["found"]).into(),
            if clear {
                output::good("✓")
            } else {
                output::bad("✗")
            },
        ]);
    }
    output::line(&table.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_status_has_its_exit_code() {
        for (status, code) in [
            ("DONE", 0),
            ("RUNNING", 4),
            ("REFUSED", 3),
            ("COMPENSATED", 3),
            ("UNDOING", 4),
            ("STUCK", 1),
            ("FAILED", 1),
            ("", 1),
        ] {
            assert_eq!(exit(&json!({ "status": status })).code(), code, "{status}");
        }
    }

    #[test]
    fn a_proof_that_is_not_clear_is_no_success() {
        let line = |subject, clear| json!({ "subject": subject, "clear": clear });
        let clear = json!({ "status": "DONE", "proof": [line("thing", true)] });
        assert_eq!(
            (exit(&clear), verdict(&clear).as_str()),
            (Exit::Done, "1 looked for, nothing left")
        );
        let left =
            json!({ "status": "DONE", "proof": [line("thing", true), line("shadow", false)] });
        assert_eq!(
            (exit(&left), verdict(&left).as_str()),
            (Exit::Failed, "left: shadow")
        );
    }

    #[test]
    fn of_many_the_most_telling_is_said() {
        for (operation, text) in [
            (json!({ "status": "RUNNING" }), ""),
            (json!({ "rotation": { "phase": "ISSUED" } }), "ISSUED"),
            (
                json!({ "rotation": { "phase": "ROLLED_BACK" }, "failure": { "reason": "no proof came" } }),
                "no proof came",
            ),
            (
                json!({ "proof": [{ "subject": "thing", "clear": true }] }),
                "1 looked for, nothing left",
            ),
        ] {
            assert_eq!(said(&operation), text);
        }
    }
}
