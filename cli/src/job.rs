//! `lamp job`: jobs given to many devices, wave after wave.

mod run;
mod show;
mod watch;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a job of the catalog to devices, or show who would get it
    Run(Box<run::Arguments>),
    /// List jobs, or those of one device, the newest first
    List(ListArguments),
    /// Show how far a job has come, with its failures by reason
    Show(Named),
    /// Follow a job until it ends or waits for its operator
    Watch(watch::Arguments),
    /// Let the wave begin that waits for approval
    Approve(ApproveArguments),
    /// Break the wave off and begin none; who has not begun has a turn later
    Pause(Named),
    /// Go on with a paused job
    Resume(Named),
    /// End a job; devices that have begun go on, unless told otherwise
    Cancel(CancelArguments),
    /// Give an ended job again to those that failed or were not reached
    Retry(Named),
}

/// Which job.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The job's id
    id: String,
}

/// Which jobs, and how many.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Only the jobs of this device, with what became of each
    #[arg(long, value_name = "THING")]
    device: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 25, value_name = "N")]
    limit: u32,
    /// The nextCursor of the page before
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

/// Which wave.
#[derive(Debug, Args)]
pub(crate) struct ApproveArguments {
    /// The job's id
    id: String,
    /// The wave that may begin, so that no other is approved by mistake
    #[arg(long, value_name = "NUMBER")]
    wave: u32,
}

/// How far.
#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// The job's id
    id: String,
    /// Cancel it on devices that have begun, too
    #[arg(long)]
    running: bool,
}

pub(crate) async fn run(command: &Command, api: &Api, format: Format) -> Result<Exit, Failure> {
    let call = match command {
        Command::Run(arguments) => return run::run(arguments, api, format).await,
        Command::List(arguments) => return list(arguments, api, format).await,
        Command::Watch(arguments) => return watch::run(arguments, api, format).await,
        Command::Show(named) => Call::get(&["jobs", &named.id]),
        Command::Approve(arguments) => {
            post(&arguments.id, "approve").body(json!({ "wave": arguments.wave }))
        }
        Command::Pause(named) => post(&named.id, "pause"),
        Command::Resume(named) => post(&named.id, "resume"),
        Command::Cancel(arguments) => {
            post(&arguments.id, "cancel").body(json!({ "running": arguments.running }))
        }
        Command::Retry(named) => post(&named.id, "retry"),
    };
    Ok(shown(&api.send(call).await?.body, format))
}

fn post(id: &str, command: &str) -> Call {
    Call::post(&["jobs", id, command])
}

async fn list(arguments: &ListArguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    let call = match &arguments.device {
        Some(thing) => Call::get(&["devices", thing, "jobs"]),
        None => Call::get(&["jobs"]),
    };
    let mut call = call.query("limit", &arguments.limit.to_string());
    if let Some(cursor) = &arguments.cursor {
        call = call.query("cursor", cursor);
    }
    let page = api.send(call).await?.body;
    if format.is_json() {
        output::document(&page);
    } else if arguments.device.is_some() {
        show::of_device(&page);
    } else {
        show::list(&page);
    }
    Ok(Exit::Done)
}

fn shown(job: &Value, format: Format) -> Exit {
    if format.is_json() {
        output::document(job);
    } else {
        show::job(job);
    }
    exit(job)
}

fn exit(job: &Value) -> Exit {
    match job["status"].as_str().unwrap_or_default() {
        "DONE" | "DRY_RUN" => Exit::Done,
        "STOPPED" => Exit::Refused,
        _ => Exit::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_exit_code() {
        for (status, code) in [
            ("DONE", 0),
            ("DRY_RUN", 0),
            ("STOPPED", 3),
            ("RUNNING", 4),
            ("PAUSED", 4),
            ("AWAITING_APPROVAL", 4),
            ("FOLLOWING", 4),
        ] {
            assert_eq!(exit(&json!({ "status": status })).code(), code, "{status}");
        }
    }
}
