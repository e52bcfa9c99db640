//! `lamp sweep`: the renewal of what is due, a day's worth at a time.

use clap::{Args, Subcommand};
use lamplighter_domain::time::Day;
use serde_json::{Value, json};

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// What can be done with sweeps.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Start a sweep now
    Start(StartArguments),
    /// Show how far a sweep has come
    Show(Named),
    /// Let a sweep begin that awaits approval
    Approve(Named),
    /// Start nothing more for now; what has begun goes on
    Pause(Named),
    /// Go on with a paused sweep
    Resume(Named),
    /// End a sweep; what has begun goes on
    Abort(Named),
    /// Begin an ended sweep again, with what has failed only
    Retry(Named),
}

/// How to start.
#[derive(Debug, Args)]
pub(crate) struct StartArguments {
    /// Show what would be started, and until when, and start nothing
    #[arg(long)]
    dry_run: bool,
    /// Look from this day on, instead of from where the last sweep ended
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    since: Option<String>,
    /// The same key again is the same sweep
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// Which sweep.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The sweep's id
    id: String,
}

fn day(text: &str) -> Result<String, String> {
    Day::parse(text)
        .map(|day| day.to_string())
        .ok_or_else(|| "write a day as YYYY-MM-DD".to_owned())
}

pub(crate) async fn run(command: &Command, api: &Api, format: Format) -> Result<Exit, Failure> {
    let call = match command {
        Command::Start(arguments) => start(arguments),
        Command::Show(named) => Call::get(&["sweeps", &named.id]),
        Command::Approve(named) => post(named, "approval"),
        Command::Pause(named) => post(named, "pause"),
        Command::Resume(named) => post(named, "resume"),
        Command::Abort(named) => post(named, "abort"),
        Command::Retry(named) => post(named, "retry"),
    };
    let sweep = api.send(call).await?.body;
    if format.is_json() {
        output::document(&sweep);
    } else {
        show(&sweep);
    }
    Ok(exit(&sweep))
}

fn post(named: &Named, command: &str) -> Call {
    Call::post(&["sweeps", &named.id, command])
}

fn start(arguments: &StartArguments) -> Call {
    let mut body = json!({ "dryRun": arguments.dry_run });
    if let Some(since) = &arguments.since {
        body["since"] = since.as_str().into();
    }
    let call = Call::post(&["sweeps"]).body(body);
    match &arguments.idempotency_key {
        Some(key) => call.idempotency_key(key),
        // A dry run changes nothing; a sweep without a key is started once.
        None if arguments.dry_run => call,
        None => call.once(),
    }
}

fn exit(sweep: &Value) -> Exit {
    match sweep["status"].as_str().unwrap_or_default() {
        "DONE" | "DRY_RUN" => Exit::Done,
        "ABORTED" => Exit::Refused,
        _ => Exit::Pending,
    }
}

fn show(sweep: &Value) {
    let sweep = output::readable(sweep);
    // First what a sweep has come to, then whatever else is recorded.
    let first = [
        "sweepId", "status", "reason", "due", "started", "renewed", "failed", "silent", "inFlight",
        "carried", "doneAt",
    ];
    output::line(&output::facts_of(&sweep, &first).to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_exit_code() {
        for (status, code) in [
            ("DONE", 0),
            ("DRY_RUN", 0),
            ("ABORTED", 3),
            ("RUNNING", 4),
            ("PAUSED", 4),
            ("AWAITING_APPROVAL", 4),
        ] {
            assert_eq!(exit(&json!({ "status": status })).code(), code, "{status}");
        }
    }
}
