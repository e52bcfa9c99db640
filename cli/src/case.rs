//! `lamp case`: cases of compromise, and `lamp cert compromised`, which opens one.

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::operation;
use crate::output::{self, Format};

/// What can be done with cases.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what a case has found, and whether the device is cut off
    Show(Named),
    /// Close a case: the device may be enrolled anew, its old certificates stay
    /// revoked
    Close(Named),
}

/// Which case.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The case's id
    id: String,
}

/// What is reported.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("verdict").required(true))]
pub(crate) struct Report {
    /// The device
    thing: String,
    /// Somebody else may hold its key: replace the certificate first
    #[arg(long, group = "verdict")]
    suspected: bool,
    /// Somebody else holds its key: cut the device off at once
    #[arg(long, group = "verdict")]
    confirmed: bool,
    /// Why, for whoever looks at the case
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Which of the device's certificates, if not the one it has
    #[arg(long, value_name = "ID")]
    certificate: Option<String>,
}

pub(crate) async fn run(command: &Command, api: &Api, format: Format) -> Result<Exit, Failure> {
    let call = match command {
        Command::Show(named) => Call::get(&["cases", &named.id]),
        Command::Close(named) => Call::post(&["cases", &named.id, "closing"]),
    };
    Ok(shown(&api.send(call).await?.body, format))
}

/// Reports a certificate. The same report again goes on with the same case, so
/// it may be sent again.
pub(crate) async fn report(report: &Report, api: &Api, format: Format) -> Result<Exit, Failure> {
    let verdict = if report.confirmed {
        "confirmed"
    } else {
        "suspected"
    };
    let mut body = json!({ "verdict": verdict, "reason": report.reason });
    if let Some(id) = &report.certificate {
        body["certificateId"] = id.as_str().into();
    }
    let path = ["devices", &report.thing, "certificate", "compromise"];
    let answer = api.send(Call::post(&path).body(body)).await?;
    Ok(shown(&answer.body, format))
}

fn shown(case: &Value, format: Format) -> Exit {
    if format.is_json() {
        output::document(case);
    } else {
        show(case);
    }
    exit(case)
}

/// A device that is not yet cut off, or a certificate not yet replaced, is
/// pending.
fn exit(case: &Value) -> Exit {
    let done = ["closedAt", "securedAt", "replacedAt"];
    if done.iter().any(|name| !case[*name].is_null()) {
        Exit::Done
    } else {
        Exit::Pending
    }
}

fn show(case: &Value) {
    let readable = output::readable(case);
    let facts = [
        "caseId",
        "thingName",
        "verdict",
        "status",
        "certificateId",
        "reason",
        "reportedBy",
        "openedAt",
        "deadline",
        "replacedAt",
        "securedAt",
        "hindrance",
        "closedAt",
        "closedBy",
    ]
    .into_iter()
    .filter(|name| !readable[*name].is_null())
    .map(|name| (name, output::plain(&readable[name])));
    output::line(&output::facts(facts).to_string());
    operation::show_lines(&case["found"], "cut off");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_its_exit_code() {
        for (case, code) in [
            (json!({ "status": "OPEN" }), 4),
            (json!({ "status": "OPEN", "securedAt": 1 }), 0),
            (json!({ "status": "OPEN", "replacedAt": 1 }), 0),
            (json!({ "status": "CLOSED", "closedAt": 1 }), 0),
        ] {
            assert_eq!(exit(&case).code(), code, "{case}");
        }
    }
}
