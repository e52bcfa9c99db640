//! `lamp ca`: the certificate authority whose key never leaves KMS.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::api::{Answer, Api, Call};
use crate::failure::{Exit, Failure};
use crate::output::{self, Format};

/// What can be done with the authority.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make the authority; once it is there, only say what is there
    Init(Certificate),
    /// Make the next authority: new certificates come from it, those of the one
    /// before stay valid until it ends
    Rotate {
        #[command(flatten)]
        certificate: Certificate,
        /// The authority to be followed, which a script knows from `ca list`;
        /// without it the one that is active now
        #[arg(long, value_name = "ID")]
        replaces: Option<String>,
    },
    /// Show the authorities that devices may have certificates of
    List,
}

/// What an authority's certificate says.
#[derive(Debug, Args)]
pub(crate) struct Certificate {
    /// The common name, for example "Milan lights"
    #[arg(long)]
    subject: Option<String>,

    /// For how many years it is valid (10, where it is not said)
    #[arg(long)]
    years: Option<u32>,
}

impl Certificate {
    fn body(&self) -> Value {
        let mut body = json!({});
        if let Some(subject) = &self.subject {
            body["subject"] = Value::from(subject.as_str());
        }
        if let Some(years) = self.years {
            body["years"] = Value::from(years);
        }
        body
    }
}

pub(crate) async fn run(
    command: &Command,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    format: Format,
) -> Result<Exit, Failure> {
    let api = connect().await?;
    match command {
        Command::Init(certificate) => {
            let call = Call::post(&["authorities"]).body(certificate.body());
            made(api.send(call).await?, format);
        }
        Command::Rotate {
            certificate,
            replaces,
        } => {
            let mut body = certificate.body();
            body["replaces"] = match replaces {
                Some(id) => Value::from(id.as_str()),
                None => active(&api).await?,
            };
            let call = Call::post(&["authorities", "rotation"]).body(body);
            made(api.send(call).await?, format);
        }
        Command::List => list(&listed(&api).await?, format),
    }
    Ok(Exit::Done)
}

async fn listed(api: &Api) -> Result<Value, Failure> {
    Ok(api.send(Call::get(&["authorities"])).await?.body)
}

/// The id of the active authority. Named in the request, it lets a request
/// whose reply was lost be sent again without making a third.
async fn active(api: &Api) -> Result<Value, Failure> {
    let listed = listed(api).await?;
    let id = listed["items"][0]["authorityId"].clone();
    if id.is_null() {
        return Err(Failure::refused(
            "replaces",
            "there is no authority yet",
            "Make it with `lamp ca init`.",
        ));
    }
    Ok(id)
}

fn made(answer: Answer, format: Format) {
    let fresh = answer.status == 201;
    let mut authority = answer.body;
    if format.is_json() {
        authority["created"] = Value::from(fresh);
        output::document(&authority);
        return;
    }
    let authority = output::readable(&authority);
    let names = ["authorityId", "subject", "status", "notBefore", "notAfter"];
    let facts = names.map(|name| (name, output::plain(&authority[name])));
    output::line(&output::facts(facts).to_string());
    output::note(if fresh {
        "made; every new certificate of kms-ca comes from it"
    } else {
        "was there; nothing was made"
    });
}

fn list(listed: &Value, format: Format) {
    if format.is_json() {
        output::document(listed);
        return;
    }
    let mut table = output::table(&["authority", "subject", "", "from", "until"]);
    for authority in listed["items"].as_array().into_iter().flatten() {
        let authority = output::readable(authority);
        let status = output::plain(&authority["status"]);
        table.add_row([
            output::short(&output::plain(&authority["authorityId"])).into(),
            output::plain(&authority["subject"]).into(),
            match status.as_str() {
                "ACTIVE" => output::good(status),
                "RETIRING" => output::open(status),
                _ => output::bad(status),
            },
            output::plain(&authority["notBefore"]).into(),
            output::plain(&authority["notAfter"]).into(),
        ]);
    }
    output::line(&table.to_string());
}
