//! `lamp device credentials`: the vault's key, handed out once, straight into
//! a file that only its owner reads. It is never printed. The pair of a renewal
//! is put beside the one in use, for the device to take.

use clap::Args;
use lamplighter_domain::names::{OperationId, ThingName};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::thing_name;
use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::keys::{KeysArgument, KeysDir, Renewed};
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
    let api = connect().await?;
    let mut answer = ask(arguments, &api, &keys, &name).await?;
    let Value::String(key) = answer["privateKeyPem"].take() else {
        return Err(Failure::failed("the answer holds no private key", ""));
    };
    let key = Zeroizing::new(key);
    let certificate = output::plain(&answer["certificatePem"]);
    let mut kept = json!({
        "thingName": name.as_str(),
        "certificateId": answer["certificateId"],
    });
    if let Some(rotation) = answer["rotationId"].as_str() {
        let renewed = Renewed {
            rotation_id: OperationId::parse(rotation)?,
            certificate_pem: certificate,
            private_key_pem: key,
        };
        let path = keys.keep_renewed(&name, &renewed)?;
        kept["rotationId"] = answer["rotationId"].take();
        kept["renewedPath"] = path.to_string_lossy().into();
    } else {
        let path = keys.keep_key(&name, &key)?;
        kept["keyPath"] = path.to_string_lossy().into();
        let path = keys.keep_certificate(&name, &certificate)?;
        kept["certificatePath"] = path.to_string_lossy().into();
    }
    keys.forget_hand_out(&name)?;
    show(&kept, format);
    Ok(Exit::Done)
}

/// Asks for the pair. Where there is a key already, only a renewal's will do:
/// its own file lies beside until the device takes it.
async fn ask(
    arguments: &Arguments,
    api: &Api,
    keys: &KeysDir,
    name: &ThingName,
) -> Result<Value, Failure> {
    let has_one = keys.has_pair(name);
    let call = Call::post(&["devices", name.as_str(), "credentials"]);
    let call = if arguments.strict_once {
        call.once()
    } else {
        call.idempotency_key(&keys.hand_out_token(name)?)
    };
    let call = if has_one {
        call.body(json!({ "renewal": true }))
    } else {
        call
    };
    match api.send(call).await {
        Ok(answer) if has_one && answer.body["rotationId"].is_null() => {
            Err(Failure::failed("the answer is no renewal's pair", ""))
        }
        Ok(answer) => Ok(answer.body),
        Err(failure) => {
            // Gone for good; after any other refusal the next run may still
            // be the caller that the key was handed out to.
            if matches!(failure.status, Some(404 | 410)) {
                keys.forget_hand_out(name)?;
            }
            if failure.field.as_deref() == Some("renewal") {
                return Err(has_its_key(failure, keys, name));
            }
            Err(failure)
        }
    }
}

/// That only another key could be had, where nobody has asked for one.
fn has_its_key(failure: Failure, keys: &KeysDir, name: &ThingName) -> Failure {
    let path = keys.key_path(name);
    Failure {
        reason: format!("the key of {name} is here already, and {}", failure.reason),
        remedy: Some(format!(
            "Use {}. For a new key, `lamp device renew --vault {name}` first.",
            path.display()
        )),
        ..failure
    }
}

fn show(kept: &Value, format: Format) {
    if format.is_json() {
        output::document(kept);
        return;
    }
    let facts = kept.as_object().into_iter().flatten();
    let facts = facts.map(|(name, value)| (name.as_str(), output::plain(value)));
    output::line(&output::facts(facts).to_string());
    output::note("The vault hands this key out no second time: keep it well.");
    if kept["renewedPath"].is_string() {
        output::note(
            "`lamp device run` with this --keys-dir takes it, running or when it is started.",
        );
    }
}
