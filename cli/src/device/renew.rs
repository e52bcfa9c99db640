//! `lamp device renew`: answered with an operation, followed to its end.

use clap::Args;
use serde_json::{Value, json};

use super::many::Many;
use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::keys;
use crate::operation;
use crate::output::Format;

/// Which devices, and whether to wait.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    many: Many,

    /// For a device that can make no signing request: make its new key in the
    /// vault. Bring it what `lamp device credentials` fetches then
    #[arg(long)]
    vault: bool,

    /// Who tells the devices [default: whoever the stack is set to]
    #[arg(long, value_name = "WHO", value_parser = ["mqtt", "job"], conflicts_with = "vault")]
    messenger: Option<String>,

    /// Wait until each device has proved its new certificate, or until the old
    /// one is kept; without, the exit code is 4 while anything still runs
    #[arg(long)]
    wait: bool,
}

pub(super) async fn run(arguments: &Arguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    let Arguments {
        many,
        vault,
        messenger,
        wait,
    } = arguments;
    let mut body = serde_json::Map::new();
    if *vault {
        body.insert("custody".to_owned(), json!("vault"));
    }
    if let Some(messenger) = messenger {
        body.insert("messenger".to_owned(), json!(messenger));
    }
    let body = Value::Object(body);
    let renew = async |name: &str| {
        // Sent again after a lost reply, it is the same renewal, even if that
        // has ended meanwhile.
        let call = Call::post(&["devices", name, "certificate", "renewal"])
            .idempotency_key(&keys::token());
        let answer = api.send(call.body(body.clone())).await?.body;
        let operation = match (wait, answer["operationId"].as_str()) {
            (true, Some(id)) => operation::wait_for(api, id, many.patience, decided).await?,
            _ => answer,
        };
        Ok((exit(&operation), operation))
    };
    Ok(many.each("renewing", "how far", format, renew).await)
}

/// A proved certificate is renewed: what is left to do is to delete the old
/// one, after its time of grace.
fn exit(operation: &Value) -> Exit {
    match operation::exit(operation) {
        Exit::Pending if operation["rotation"]["provenAt"].is_u64() => Exit::Done,
        exit => exit,
    }
}

fn decided(operation: &Value) -> bool {
    exit(operation) != Exit::Pending
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_done_once_it_is_proved() {
        for (operation, code) in [
            (
                json!({"status": "RUNNING", "rotation": {"phase": "ISSUED"}}),
                4,
            ),
            (
                json!({"status": "RUNNING", "rotation": {"phase": "RETIRED", "provenAt": 1}}),
                0,
            ),
            (
                json!({"status": "DONE", "rotation": {"phase": "DONE", "provenAt": 1}}),
                0,
            ),
            (
                json!({"status": "FAILED", "rotation": {"phase": "ROLLED_BACK"}}),
                1,
            ),
        ] {
            assert_eq!(exit(&operation).code(), code, "{operation}");
        }
    }
}
