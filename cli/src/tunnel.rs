//! `lamp tunnel`: a way to a device behind a firewall, for a while and for a
//! reason. A tunnel's token goes into a file for its owner's eyes only, and is
//! never printed.

mod token_file;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::api::{Api, Call};
use crate::failure::{Exit, Failure};
use crate::keys::{read_secret, token};
use crate::output::{self, Format};
use crate::proxy::{self, Cut, Endpoint, Listen, Told, Way};
use crate::settings::Target;

/// The largest page asked for.
const PAGE: usize = 100;
/// How often a tunnel that waits for its device is asked for again.
const ASK_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked whether the device has connected to its tunnel, and
/// the time before each.
const LOOKS: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The first of the ports that `--proxy` proposes.
const FIRST_PORT: usize = 5555;

/// What can be done with tunnels.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Open a tunnel to a device, and keep its token in a file
    ///
    /// AWS opens one tunnel a second: of several that are asked for at once, the
    /// others wait their turn.
    Open(OpenArguments),
    /// List a device's tunnels, the latest first
    List(ListArguments),
    /// Show a tunnel and its trail: who, when, why, and who closed it
    Show(Named),
    /// Replace a tunnel's tokens, of which each counts once
    Rotate(RotateArguments),
    /// Close a tunnel, for good
    Close(Named),
    /// Listen here, and carry what connects through a tunnel
    ///
    /// One client of each service at a time; another one is refused. A client that
    /// has said all and only listens (nc -N) hears what comes until nothing has come
    /// for five seconds: tunnels cannot tell a service that its client has said all.
    Connect(ConnectArguments),
}

/// What is asked for.
#[derive(Debug, Args)]
pub(crate) struct OpenArguments {
    /// The device
    thing: String,
    /// What is to be reached on it, by name; repeatable
    #[arg(long = "service", required = true, value_name = "NAME")]
    services: Vec<String>,
    /// For how long, at most 720
    #[arg(long, value_name = "N")]
    minutes: u64,
    /// Why, for whoever reads the trail
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Wait for a device that is not connected, for so many minutes at most
    #[arg(long, value_name = "MINUTES", num_args = 0..=1, default_missing_value = "60")]
    queue: Option<u64>,
    /// Ask as the same request again, which then goes on
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    kept: Kept,
    /// Replace the token file if there is one already
    #[arg(long, requires = "token_file")]
    force: bool,
}

/// What becomes of a token.
#[derive(Debug, Args)]
pub(crate) struct Kept {
    /// Where to keep the token [default: the tunnel's id, with .token]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Write the command that starts AWS's local proxy with it
    #[arg(long)]
    proxy: bool,
}

/// Whose tunnels.
#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// The device
    thing: String,
    /// How many tunnels at most
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Which tunnel.
#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The tunnel's id
    id: String,
}

/// Which tunnel, and what becomes of its token.
#[derive(Debug, Args)]
pub(crate) struct RotateArguments {
    /// The tunnel's id
    id: String,
    #[command(flatten)]
    kept: Kept,
}

/// How to get through a tunnel.
#[derive(Debug, Args)]
pub(crate) struct ConnectArguments {
    /// The file with the tunnel's token
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Where to listen on this machine, and for which of the tunnel's services
    /// if it has several; 0 is any free port; repeatable
    #[arg(long, required = true, value_name = "[SERVICE=]PORT")]
    listen: Vec<Listen>,
    /// The proxy server [default: the local cloud's, or that of the region]
    #[arg(long, env = "LAMP_TUNNEL_ENDPOINT", value_name = "URL")]
    tunnel_endpoint: Option<Endpoint>,
}

pub(crate) async fn run(
    command: &Command,
    connect: impl AsyncFn() -> Result<Api, Failure>,
    target: &Target,
    format: Format,
) -> Result<Exit, Failure> {
    let by_id = |id: &str| Call::get(&["tunnels", id]);
    match command {
        Command::Open(arguments) => open(arguments, &connect().await?, target, format).await,
        Command::List(arguments) => list(arguments, &connect().await?, format).await,
        Command::Show(named) => {
            let tunnel = connect().await?.send(by_id(&named.id)).await?.body;
            show(&tunnel, format);
            Ok(Exit::Done)
        }
        Command::Rotate(arguments) => {
            token_file::try_out(arguments.kept.token_file.as_deref())?;
            let call = Call::post(&["tunnels", &arguments.id, "rotation"]);
            let tunnel = connect().await?.send(call).await?.body;
            let tunnel = keep(tunnel, &arguments.kept, target)?;
            show(&tunnel, format);
            Ok(Exit::Done)
        }
        Command::Close(named) => {
            let call = Call::delete(&["tunnels", &named.id]);
            show(&connect().await?.send(call).await?.body, format);
            Ok(Exit::Done)
        }
        Command::Connect(arguments) => through(arguments, target, format).await,
    }
}

/// Asks for a tunnel until it is open. Whose reply was lost is not given the
/// token again, but a new one.
async fn open(
    arguments: &OpenArguments,
    api: &Api,
    target: &Target,
    format: Format,
) -> Result<Exit, Failure> {
    let file = arguments.kept.token_file.as_deref();
    if let Some(file) = file.filter(|_| !arguments.force) {
        token_file::not_there(file)?;
    }
    token_file::try_out(file)?;
    let mut body = json!({
        "services": arguments.services,
        "minutes": arguments.minutes,
        "reason": arguments.reason,
    });
    if let Some(minutes) = arguments.queue {
        body["waitMinutes"] = minutes.into();
    }
    let key = arguments.idempotency_key.clone().unwrap_or_else(token);
    let path = ["devices", &arguments.thing, "tunnels"];
    let call = Call::post(&path).body(body).idempotency_key(&key);
    let mut told = false;
    let tunnel = loop {
        let answer = api.send(call.clone()).await.map_err(as_options);
        let tunnel = answer?.body;
        let has_token = tunnel["sourceAccessToken"].is_string();
        match tunnel["status"].as_str().unwrap_or_default() {
            "OPEN" if has_token => break tunnel,
            "OPEN" => {
                let id = output::plain(&tunnel["tunnelId"]);
                let call = Call::post(&["tunnels", &id, "rotation"]);
                break api.send(call).await?.body;
            }
            "QUEUED" => {
                if !std::mem::replace(&mut told, true) {
                    output::note(&format!(
                        "{} is not connected; waiting for it (--idempotency-key {key} goes on \
                         later)",
                        arguments.thing
                    ));
                }
                tokio::time::sleep(ASK_EVERY).await;
            }
            _ => return Err(closed(&tunnel)),
        }
    };
    let tunnel = keep(tunnel, &arguments.kept, target)?;
    show(&tunnel, format);
    if !taken(&tunnel, api).await {
        output::note(&untaken(&tunnel));
    }
    Ok(Exit::Done)
}

/// The API's word for what is an option here.
fn as_options(mut failure: Failure) -> Failure {
    failure.remedy = failure
        .remedy
        .map(|remedy| remedy.replace("send waitMinutes", "add --queue"));
    failure
}

/// Whether the device has connected to its tunnel, or it cannot be told.
async fn taken(tunnel: &Value, api: &Api) -> bool {
    let id = output::plain(&tunnel["tunnelId"]);
    for _ in 0..LOOKS {
        tokio::time::sleep(LOOK_EVERY).await;
        let seen = api.send(Call::get(&["tunnels", &id])).await;
        match seen.map(|answer| answer.body["connected"]["destination"].as_bool()) {
            Ok(Some(false)) => {}
            _ => return true,
        }
    }
    false
}

/// That the tunnel that was asked for is closed, and what can be done.
fn closed(tunnel: &Value) -> Failure {
    let [ending, by] = ["ending", "closedBy"].map(|name| output::plain(&tunnel[name]));
    let remedy = match ending.as_str() {
        "DEVICE_REMOVED" => "Ask for another one once there is such a device again.",
        "COMPROMISED" => "Ask for another one when the case is closed.",
        _ => "Ask for another one.",
    };
    Failure::refused(
        "status",
        format!("the tunnel is closed: {ending}, by {by}"),
        remedy,
    )
}

/// What is said of a tunnel that its device has not connected to.
fn untaken(tunnel: &Value) -> String {
    let [thing, id] = ["thingName", "tunnelId"].map(|name| output::plain(&tunnel[name]));
    format!(
        "{thing} has not connected to its tunnel, so nothing gets through. Its log says why: a \
         light takes a tunnel only to what it offers (device run --tunnel-services), and four at \
         once. Then `lamp tunnel rotate {id}` tells it again, and `lamp tunnel close {id}` ends it."
    )
}

/// Keeps the token of an answer in its file, and says where.
fn keep(mut tunnel: Value, kept: &Kept, target: &Target) -> Result<Value, Failure> {
    let Value::String(token) = tunnel["sourceAccessToken"].take() else {
        return Err(Failure::failed("the answer holds no token", ""));
    };
    let token = Zeroizing::new(token);
    if let Some(fields) = tunnel.as_object_mut() {
        fields.remove("sourceAccessToken");
    }
    let own = format!("{}.token", output::plain(&tunnel["tunnelId"]));
    let file = kept.token_file.clone().unwrap_or_else(|| own.into());
    token_file::write(&file, &token)?;
    tunnel["tokenFile"] = file.to_string_lossy().into();
    if kept.proxy {
        let command = localproxy(&tunnel, &file, &target.region()?);
        tunnel["command"] = command.into();
    }
    Ok(tunnel)
}

/// The command that starts AWS's local proxy ("Running the local proxy",
/// aws-iot-securetunneling-localproxy). A token among its arguments would be
/// seen by whoever lists processes, so it goes by the environment.
fn localproxy(tunnel: &Value, file: &Path, region: &str) -> String {
    let services = tunnel["services"].as_array().map_or(&[][..], Vec::as_slice);
    let ports = services.iter().enumerate().map(|(index, service)| {
        let service = output::plain(service);
        format!("{service}={}", FIRST_PORT + index)
    });
    let ports = ports.collect::<Vec<_>>().join(",");
    let file = quoted(&file.to_string_lossy());
    format!(
        "AWSIOT_TUNNEL_ACCESS_TOKEN=\"$(cat {file})\" localproxy --region {region} \
         --source-listen-port {ports}"
    )
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

async fn list(arguments: &ListArguments, api: &Api, format: Format) -> Result<Exit, Failure> {
    let mut table = output::table(&[
        "tunnel", "status", "services", "asked", "by", "ended", "why",
    ]);
    let mut left = arguments.limit.unwrap_or(usize::MAX);
    let mut cursor = None::<String>;
    while left > 0 {
        let mut call = Call::get(&["devices", &arguments.thing, "tunnels"])
            .query("limit", &left.min(PAGE).to_string());
        if let Some(cursor) = &cursor {
            call = call.query("cursor", cursor);
        }
        let page = api.send(call).await?.body;
        let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        for tunnel in items {
            if format.is_json() {
                output::document(tunnel);
            } else {
                table.add_row(row(tunnel));
            }
        }
        left -= items.len().min(left);
        match page["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    if !format.is_json() {
        output::line(&table.to_string());
    }
    Ok(Exit::Done)
}

fn row(tunnel: &Value) -> [comfy_table::Cell; 7] {
    let shown = output::readable(tunnel);
    let text = |name: &str| output::plain(&shown[name]);
    let status = match text("status").as_str() {
        "OPEN" => output::good("OPEN"),
        "CLOSED" => text("ending").into(),
        other => output::open(other),
    };
    [
        text("tunnelId").into(),
        status,
        text("services").into(),
        text("askedAt").into(),
        text("askedBy").into(),
        text("closedAt").into(),
        text("reason").into(),
    ]
}

fn show(tunnel: &Value, format: Format) {
    if format.is_json() {
        output::document(tunnel);
        return;
    }
    let readable = output::readable(tunnel);
    let facts = [
        "tunnelId",
        "thingName",
        "status",
        "services",
        "minutes",
        "reason",
        "waitsUntilDeadline",
        "expiresAt",
        "ending",
        "connected",
        "tokenFile",
    ]
    .into_iter()
    .filter(|name| !readable[*name].is_null())
    .map(|name| (name, output::plain(&readable[name])));
    output::line(&output::facts(facts).to_string());
    let mut trail = output::table(&["when", "what", "by"]);
    for event in tunnel["events"].as_array().into_iter().flatten() {
        let at = lamplighter_domain::time::Moment(event["at"].as_u64().unwrap_or_default());
        let (what, by) = (output::plain(&event["what"]), output::plain(&event["by"]));
        trail.add_row([at.rfc3339(), what, by]);
    }
    output::line(&trail.to_string());
    if let Some(command) = tunnel["command"].as_str() {
        output::line(command);
    }
}

/// Carries connections until the tunnel is closed.
async fn through(
    arguments: &ConnectArguments,
    target: &Target,
    format: Format,
) -> Result<Exit, Failure> {
    let token = read_secret(&arguments.token_file).map_err(|failure| Failure {
        field: Some("token-file".to_owned()),
        remedy: failure.remedy.or_else(|| {
            Some("Give the file that `lamp tunnel open` has named as tokenFile.".to_owned())
        }),
        ..failure
    })?;
    let token = Zeroizing::new(token.trim().to_owned());
    let endpoint = match &arguments.tunnel_endpoint {
        Some(endpoint) => endpoint.clone(),
        None => target.tunnels()?,
    };
    let way = Way::new(endpoint, token);
    let connected = std::cell::Cell::new(false);
    let cut = proxy::carry(&way, &arguments.listen, |told| match told {
        Told::Note(note) => output::note(&note),
        Told::There(ports) => {
            connected.set(true);
            for (address, service) in ports {
                if format.is_json() {
                    let (address, service) = (address.to_string(), service.as_str());
                    output::document(&json!({"listening": address, "service": service}));
                } else {
                    output::line(&format!("{service} is at {address}"));
                }
            }
        }
    })
    .await;
    match cut {
        // It was there, and is no more: somebody closed it, or its time is over.
        Cut::Refused(reason) if connected.get() => {
            output::note(&reason);
            Ok(Exit::Done)
        }
        Cut::Refused(reason) => Err(Failure::refused(
            "token-file",
            reason,
            "Get a new token with `lamp tunnel rotate`, or open another tunnel.",
        )),
        Cut::Unfit(reason) => Err(Failure::refused("listen", reason, "Give another --listen.")),
        Cut::Lost(reason) => Err(Failure::failed(reason, "Check the network.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxys_command_is_exact_and_has_no_token() {
        let tunnel = json!({"services": ["SSH", "VNC"]});
        let file = Path::new("it's.token");
        assert_eq!(
            localproxy(&tunnel, file, "eu-south-1"),
            r#"AWSIOT_TUNNEL_ACCESS_TOKEN="$(cat 'it'\''s.token')" localproxy --region eu-south-1 --source-listen-port SSH=5555,VNC=5556"#
        );
    }

    #[test]
    fn what_is_said_names_options_and_the_tunnel() {
        let remedy = json!({"remedy": "Ask again when it is, or send waitMinutes to have it."});
        let failure = as_options(Failure::from_answer(409, &remedy));
        let wanted = "Ask again when it is, or add --queue to have it.";
        assert_eq!(failure.remedy.as_deref(), Some(wanted));
        let said = untaken(&json!({"thingName": "x", "tunnelId": "tunnel-1"}));
        assert!(said.starts_with("x has not connected"), "{said}");
        assert!(said.contains("`lamp tunnel close tunnel-1`"), "{said}");
        for (ending, by, wanted) in [
            ("NEVER_CONNECTED", "time", "Ask for another one."),
            (
                "COMPROMISED",
                "case case-1",
                "Ask for another one when the case is closed.",
            ),
        ] {
            let failure = closed(&json!({"ending": ending, "closedBy": by}));
            assert_eq!(failure.remedy.as_deref(), Some(wanted));
            let reason = format!("the tunnel is closed: {ending}, by {by}");
            assert_eq!(failure.reason, reason);
        }
    }
}
