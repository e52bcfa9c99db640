//! `lamp policy`: every device under a shared policy stopped by one switch.

use clap::Subcommand;
use serde_json::json;

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// What can be done with a shared policy.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deny everything to all devices whose groups share the policy
    Stop {
        /// The policy
        name: String,
        /// Show which groups and how many devices that would be, and stop none
        #[arg(long)]
        dry_run: bool,
        /// Why, for whoever finds the devices stopped
        #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
        reason: Option<String>,
    },
    /// Give the devices back what the policy allowed before
    Resume {
        /// The policy
        name: String,
    },
}

pub(crate) async fn run(command: &Command, api: &Api, format: Format) -> Result<Exit, Failure> {
    let call = match command {
        Command::Stop {
            name,
            dry_run,
            reason,
        } => {
            let reason = reason.as_deref().unwrap_or_default();
            Call::post(&["policies", name, "stop"])
                .body(json!({ "dryRun": dry_run, "reason": reason }))
        }
        Command::Resume { name } => Call::post(&["policies", name, "resume"]),
    };
    let answer = api.send(call).await?.body;
    if format.is_json() {
        output::document(&answer);
        return Ok(Exit::Done);
    }
    let more = if answer["more"] == true {
        " or more"
    } else {
        ""
    };
    let devices = format!("{}{more}", output::plain(&answer["devices"]));
    let facts = [
        ("policyName", output::plain(&answer["policyName"])),
        ("status", output::plain(&answer["status"])),
        ("devices", devices),
        ("certificates", output::plain(&answer["certificates"])),
    ];
    output::line(&output::facts(facts).to_string());
    let mut table = output::table(&["group", "devices"]);
    for (group, devices) in answer["groups"].as_object().into_iter().flatten() {
        table.add_row([group.clone(), output::plain(devices)]);
    }
    output::line(&table.to_string());
    output::note("AWS IoT takes minutes to heed a changed policy everywhere");
    Ok(Exit::Done)
}
