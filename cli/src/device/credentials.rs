//! `lamp device credentials`: the vault's key, handed out once, straight into
//! a file that only its owner reads. It is never printed.

use clap::Args;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::thing_name;
use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::keys::KeysArgument;
use crate::output::{self, Format};

/// Whose key, and where to.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The device's thing name
    name: String,

    #[command(flatten)]
    keys: KeysArgument,

    /// Ask without an idempotency key: the key is then gone if the reply is
    /// lost. Otherwise the same request is answered again for some minutes
    #[arg(long)]
    strict_once: bool,
}

pub(super) async fn run(
    arguments: &Arguments,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    let name = thing_name(&arguments.name)?;
    let keys = arguments.keys.open()?;
    keys.expect_no_key(&name)?;
    let api = connect().await?;
    let call = Call::post(&["devices", name.as_str(), "credentials"]);
    let call = if arguments.strict_once {
        call.once()
    } else {
        call.idempotency_key(&keys.hand_out_token(&name)?)
    };
    let mut answer = match api.send(call).await {
        Ok(answer) => answer.body,
        Err(failure) => {
            // Gone for good; after any other refusal the next run may still
            // be the caller that the key was handed out to.
            if matches!(failure.status, Some(404 | 410)) {
                keys.forget_hand_out(&name)?;
            }
            return Err(failure);
        }
    };
    let Value::String(key) = answer["privateKeyPem"].take() else {
        return Err(Failure::failed("the answer holds no private key", ""));
    };
    let key_path = keys.keep_key(&name, &Zeroizing::new(key))?;
    keys.forget_hand_out(&name)?;
    let certificate = output::plain(&answer["certificatePem"]);
    let certificate_path = keys.keep_certificate(&name, &certificate)?;
    let kept = json!({
        "thingName": name.as_str(),
        "certificateId": answer["certificateId"],
        "certificatePath": certificate_path.to_string_lossy(),
        "keyPath": key_path.to_string_lossy(),
    });
    if format.is_json() {
        output::document(&kept);
    } else {
        let names = ["thingName", "certificateId", "certificatePath", "keyPath"];
        let facts = names.map(|name| (name, output::plain(&kept[name])));
        output::line(&output::facts(facts).to_string());
        output::note("The vault hands this key out no second time: keep it well.");
    }
    Ok(Exit::Done)
}
