//! `lamp device delete`: answered with an operation, followed to its proof.

use clap::Args;

use crate::api::{Api, Call};
use crate::bulk::{self, CONCURRENCY};
use crate::failure::{Exit, Failure};
use crate::operation::{self, Patience};
use crate::output::Format;
use crate::progress;

/// Which devices, and whether to wait.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The devices' thing names
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,

    /// Wait for each operation's end and print its proof; without, the exit
    /// code is 4 while anything still runs
    #[arg(long)]
    wait: bool,

    #[command(flatten)]
    patience: Patience,

    /// How many devices are deleted at a time
    #[arg(long, default_value_t = CONCURRENCY, value_name = "N")]
    concurrency: usize,
}

pub(super) async fn run(arguments: &Arguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    let bar = progress::bar("deleting", arguments.names.len());
    let items = arguments
        .names
        .iter()
        .map(|name| (name.clone(), ()))
        .collect();
    let outcomes = bulk::each(
        items,
        arguments.concurrency,
        format,
        &bar,
        async |name, ()| {
            let answer = api.send(Call::delete(&["devices", name])).await?.body;
            let operation = match (arguments.wait, answer["operationId"].as_str()) {
                (true, Some(id)) => {
                    operation::wait_for(api, id, arguments.patience, operation::ended).await?
                }
                _ => answer,
            };
            // What is not there needs no operation to be gone.
            let absent = operation["status"] == "ABSENT";
            Ok((
                if absent {
                    Exit::Done
                } else {
                    operation::exit(&operation)
                },
                operation,
            ))
        },
    )
    .await;
    if !format.is_json() {
        operation::show_all(&outcomes, "proof");
    }
    Ok(bulk::conclude(&outcomes))
}
