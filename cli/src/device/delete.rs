//! `lamp device delete`: answered with an operation, followed to its proof.

use clap::Args;

use super::many::Many;
use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::operation;
use crate::output::Format;

/// Which devices, and whether to wait.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    many: Many,

    /// Wait for each operation's end and print its proof; without, the exit
    /// code is 4 while anything still runs
    #[arg(long)]
    wait: bool,
}

pub(super) async fn run(arguments: &Arguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    let Arguments { many, wait } = arguments;
    let delete = async |name: &str| {
        let answer = api.send(Call::delete(&["devices", name])).await?.body;
        let operation = match (wait, answer["operationId"].as_str()) {
            (true, Some(id)) => {
                operation::wait_for(api, id, many.patience, operation::ended).await?
            }
            _ => answer,
        };
        // What is not there needs no operation to be gone.
        let exit = if operation["status"] == "ABSENT" {
            Exit::Done
        } else {
            operation::exit(&operation)
        };
        Ok((exit, operation))
    };
    Ok(many.each("deleting", "proof", format, delete).await)
}
