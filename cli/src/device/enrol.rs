//! `lamp device enrolment-token` and `lamp device enrol`: the operator's part
//! in getting a device back in, and the device's own.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use lamplighter_domain::enrolment::Token;
use serde_json::json;
use zeroize::Zeroizing;

use super::thing_name;
use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::fleet::{self, Life, Member};
use crate::output::{self, Format};
use crate::reference::Enrolling;
use crate::settings::{Settings, Target};

/// For which device, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Issue {
    /// The device's thing name
    name: String,

    /// Why the device cannot renew its certificate itself
    #[arg(long, value_name = "TEXT")]
    reason: String,

    /// For how long the token admits a key
    #[arg(long, default_value_t = 60, value_name = "MINUTES")]
    minutes: u64,
}

/// Which device, its token, and how it lives.
#[derive(Debug, Args)]
pub(crate) struct Enrol {
    /// The device's thing name, which is also its MQTT client id
    #[arg(long, value_name = "NAME")]
    thing: String,

    /// The file with the token; - is standard input. On the command line
    /// everybody on this machine could read it
    #[arg(long, value_name = "FILE")]
    token: PathBuf,

    #[command(flatten)]
    life: Life,
}

/// Issues a token. Sent again after a lost reply it is another one, and the
/// lost one is worth nothing.
pub(super) async fn issue(issue: &Issue, api: &Api, format: Format) -> Result<Exit, Failure> {
    let name = thing_name(&issue.name)?;
    let body = json!({ "reason": issue.reason, "minutes": issue.minutes });
    let call = Call::post(&["devices", name.as_str(), "enrolment-tokens"]).body(body);
    let answer = api.send(call).await?.body;
    if format.is_json() {
        output::document(&answer);
    } else {
        let readable = output::readable(&answer);
        let names = ["thingName", "token", "expiresAt"];
        let facts = names.map(|name| (name, output::plain(&readable[name])));
        output::line(&output::facts(facts).to_string());
        output::note("It is shown this once, and admits one key.");
    }
    Ok(Exit::Done)
}

/// Enrols as nobody in AWS would, and then is the device until it hears that
/// its new certificate is its only one.
pub(super) async fn enrol(
    arguments: &Enrol,
    target: &Target,
    tries: u32,
    format: Format,
) -> Result<Exit, Failure> {
    let thing = thing_name(&arguments.thing)?;
    let token = Token::parse(read(&arguments.token)?.trim())?;
    let keys = arguments.life.keys().open()?;
    // What cannot be lived by is refused before the token is spent.
    arguments.life.jobs()?;
    let enrolling = Enrolling::open(&keys, &thing, &token)?;
    let body = json!({
        "thingName": thing.as_str(), "token": token.reveal(), "csr": enrolling.signing_request()?,
    });
    let api = Api::new(Settings::of_nobody(target)?, tries);
    let answer = api.send(Call::post(&["enrolments"]).body(body)).await?.body;
    let certificate = enrolling.enrolled(&answer)?;
    let endpoint = output::plain(&answer["endpoint"]);
    if format.is_json() {
        output::document(&json!({
            "event": "enrolled", "thingName": thing.as_str(), "endpoint": endpoint,
            "certificateId": certificate, "rotationId": answer["rotationId"],
        }));
    } else {
        let id = output::short(certificate.as_str());
        output::note(&format!("{thing} is enrolled with certificate {id}"));
    }
    let member = Member {
        thing,
        misbehaviour: None,
    };
    let life = &arguments.life;
    fleet::until_retired(member, life, &endpoint, target, format).await
}

/// The token, without what surrounds it.
fn read(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let read = if path == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|read| *text = read)
    };
    let unreadable = |error| {
        Failure::usage(
            format!("{}: {error}", path.display()),
            "Put what `lamp device enrolment-token` answered into a file and name that, or give - \
             to be asked on standard input.",
        )
    };
    read.map_err(unreadable)?;
    Ok(text)
}
