//! `lamp fleet run`: many reference devices in one process.

mod board;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Subcommand};
use lamplighter_domain::names::ThingName;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::device::{rows, thing_name};
use crate::failure::{Exit, Failure};
use crate::fleet::board::Board;
use crate::keys::{KeysArgument, KeysDir};
use crate::output::Format;
use crate::proxy;
use crate::reference::{
    Device, Dialer, Endpoint, Habits, JobSettings, Keeper, Line, Misbehaviour, News, Offer,
    TunnelSettings,
};
use crate::settings::{Broker, Target};

/// What can be done with many devices.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Be many devices: connect, report, and renew certificates when told to
    Run(Arguments),
}

/// Which devices, and how they live.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["devices", "from"])))]
pub(crate) struct Arguments {
    /// Run so many of the devices in the keys directory, by name
    #[arg(long, value_name = "N")]
    devices: Option<usize>,

    /// Run the devices of a CSV file; only its column thingName counts
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,

    /// Let a device break the rotation's protocol, for tests: refuse-proof,
    /// ignore or no-store; repeatable
    #[arg(long, value_name = "NAME=HOW", value_parser = misbehaviour)]
    misbehave: Vec<(String, Misbehaviour)>,

    /// How many devices connect in a second at first; AWS IoT takes 500 in
    /// most accounts
    #[arg(long, default_value_t = 100, value_name = "N")]
    connect_rate: u32,

    #[command(flatten)]
    life: Life,
}

/// What all devices of a command have in common.
#[derive(Debug, Args)]
pub(crate) struct Life {
    #[command(flatten)]
    keys: KeysArgument,

    /// Where to connect; port 443 uses ALPN [default port: 8883; default
    /// host: the local cloud's]
    #[arg(long, env = "LAMP_ENDPOINT", value_name = "HOST[:PORT]")]
    endpoint: Option<Endpoint>,

    /// The authority of the server's certificate (PEM) [default: those that
    /// this machine trusts, or the local cloud's]
    #[arg(long, value_name = "FILE")]
    server_ca: Option<PathBuf>,

    /// What a device without one has as its firmware's version. Several, with
    /// commas, are dealt out in turn. Once a job has installed another one, the
    /// device keeps to that
    #[arg(
        long,
        default_value = "1.0.0",
        value_name = "VERSION",
        value_delimiter = ','
    )]
    firmware: Vec<Arc<str>>,

    /// The programs that jobs may run, by their names; without, a job can have
    /// the certificate renewed and nothing else
    #[arg(long, value_name = "DIR")]
    handlers: Option<PathBuf>,

    /// As whom jobs may run them, beside the user that lamp runs as; repeatable.
    /// Only root becomes another user
    #[arg(long, value_name = "USER")]
    job_user: Vec<String>,

    /// How long a program of a job may take
    #[arg(long, default_value = "300", value_name = "SECONDS", value_parser = seconds)]
    job_timeout: Duration,

    /// Where devices keep what their jobs leave [default: the keys directory]
    #[arg(long, value_name = "DIR")]
    jobs_dir: Option<PathBuf>,

    /// What tunnels may lead to: a service's name and where it is, for instance
    /// SSH=127.0.0.1:22; repeatable
    #[arg(long, value_name = "NAME=HOST:PORT", value_delimiter = ',')]
    tunnel_services: Vec<Offer>,

    /// The proxy server of tunnels [default: the local cloud's, or that of the
    /// region that AWS names]
    #[arg(long, env = "LAMP_TUNNEL_ENDPOINT", value_name = "URL")]
    tunnel_endpoint: Option<proxy::Endpoint>,

    /// The time between two messages of telemetry
    #[arg(long, default_value = "5", value_name = "SECONDS", value_parser = seconds)]
    telemetry_every: Duration,

    /// The time until what was not answered is first said again
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    repeat_every: Duration,

    /// Stop after so long, instead of at Ctrl-C
    #[arg(long = "for", value_name = "SECONDS", value_parser = seconds)]
    stop_after: Option<Duration>,
}

impl Life {
    /// What jobs may do. The keys directory is there.
    pub(crate) fn jobs(&self) -> Result<JobSettings, Failure> {
        let directory = self.jobs_dir.as_deref().unwrap_or(self.keys.directory());
        let handlers = self.handlers.as_deref();
        JobSettings::new(directory, handlers, &self.job_user, self.job_timeout)
    }

    /// What tunnels may lead to.
    fn tunnels(&self, target: &Target) -> TunnelSettings {
        let given = self.tunnel_endpoint.clone();
        let endpoint = given.or_else(|| target.local_tunnels());
        TunnelSettings::new(&self.tunnel_services, endpoint)
    }

    /// The version that the n-th device has at first.
    fn firmware(&self, index: usize) -> Arc<str> {
        let versions = self.firmware.len().max(1);
        let dealt = self.firmware.get(index % versions);
        dealt.cloned().unwrap_or_else(|| "1.0.0".into())
    }

    pub(crate) fn keys(&self) -> &KeysArgument {
        &self.keys
    }

    fn broker(&self, target: &Target) -> Result<Broker, Failure> {
        Broker::resolve(self.endpoint.clone(), self.server_ca.clone(), target)
    }
}

/// When devices have lived long enough, but for Ctrl-C and the time that was
/// asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Not before that.
    Told,
    /// A device hears that its new certificate is its only one.
    Retired,
}

/// One of the devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) thing: ThingName,
    pub(crate) misbehaviour: Option<Misbehaviour>,
}

pub(crate) async fn run(
    command: &Command,
    target: &Target,
    format: Format,
) -> Result<Exit, Failure> {
    let Command::Run(arguments) = command;
    let members = members(arguments)?;
    let pace = Duration::from_secs(1) / arguments.connect_rate.max(1);
    let life = &arguments.life;
    let broker = life.broker(target)?;
    let tunnels = life.tunnels(target);
    live_paced(members, pace, (life, tunnels), broker, Until::Told, format).await
}

/// Runs devices until Ctrl-C, or for as long as was asked.
pub(crate) async fn live(
    members: Vec<Member>,
    life: &Life,
    target: &Target,
    format: Format,
) -> Result<Exit, Failure> {
    let broker = life.broker(target)?;
    let lives = (life, life.tunnels(target));
    live_paced(members, Duration::ZERO, lives, broker, Until::Told, format).await
}

/// Runs a device until it hears that its new certificate is its only one, which
/// is pending as long as it does not. Where nothing else says where to connect,
/// `endpoint` does.
pub(crate) async fn until_retired(
    member: Member,
    life: &Life,
    endpoint: &str,
    target: &Target,
    format: Format,
) -> Result<Exit, Failure> {
    let broker = life.broker(target).or_else(|nowhere| {
        let endpoint = endpoint.parse().map_err(|_| nowhere)?;
        let server_ca = life.server_ca.clone();
        Ok::<_, Failure>(Broker {
            endpoint,
            server_ca,
        })
    })?;
    live_paced(
        vec![member],
        Duration::ZERO,
        (life, life.tunnels(target)),
        broker,
        Until::Retired,
        format,
    )
    .await
}

async fn live_paced(
    members: Vec<Member>,
    pace: Duration,
    (life, tunnels): (&Life, TunnelSettings),
    broker: Broker,
    until: Until,
    format: Format,
) -> Result<Exit, Failure> {
    let dialer = Arc::new(Dialer::new(broker.endpoint, broker.server_ca.as_deref())?);
    let keys = life.keys.open()?;
    let jobs = Arc::new(life.jobs()?);
    let tunnels = Arc::new(tunnels);
    let (wire, heard) = mpsc::unbounded_channel();
    let (stop, stopping) = watch::channel(false);
    let mut board = Board::new(format, members.len());
    let mut devices = JoinSet::new();
    for (index, member) in members.into_iter().enumerate() {
        let keeper = Keeper::open(&keys, &member.thing)?;
        let (name, dialer) = (member.thing.clone(), Arc::clone(&dialer));
        let habits = Habits {
            first_firmware: life.firmware(index),
            jobs: Arc::clone(&jobs),
            tunnels: Arc::clone(&tunnels),
            telemetry_every: life.telemetry_every,
            repeat_every: life.repeat_every,
            misbehaviour: member.misbehaviour,
        };
        let device = Device::new(name, keeper, dialer, habits, wire.clone())?;
        board.watch(member.thing.clone(), device.vitals());
        let delay = pace * u32::try_from(index).unwrap_or(u32::MAX);
        devices.spawn(one(device, delay, stopping.clone()));
    }
    // The last of the devices hangs up when it has stopped.
    drop(wire);
    let retired = watch_over(&mut board, heard, &stop, until, life.stop_after).await;
    let mut exit = match until {
        Until::Retired if !retired => Exit::Pending,
        _ => Exit::Done,
    };
    while let Some(ended) = devices.join_next().await {
        exit = exit.and(ended.unwrap_or(Exit::Failed));
    }
    board.conclude();
    Ok(exit)
}

/// One device's life, which may begin later than others'.
async fn one(device: Device, delay: Duration, stopping: watch::Receiver<bool>) -> Exit {
    let mut early = stopping.clone();
    tokio::select! {
        () = tokio::time::sleep(delay) => {}
        _ = early.wait_for(|stop| *stop) => return Exit::Done,
    }
    match device.run(stopping).await {
        Ok(()) => Exit::Done,
        Err(failure) => failure.exit,
    }
}

/// Shows what the devices tell until all have stopped, and stops them in time.
/// Answers whether one has heard that its old certificate is retired.
async fn watch_over(
    board: &mut Board,
    mut heard: mpsc::UnboundedReceiver<Line>,
    stop: &watch::Sender<bool>,
    until: Until,
    stop_after: Option<Duration>,
) -> bool {
    let mut look = tokio::time::interval(board::LOOK_EVERY);
    let enough = enough(stop_after);
    tokio::pin!(enough);
    let mut asked_to_stop = false;
    let mut retired = false;
    loop {
        tokio::select! {
            line = heard.recv() => {
                let Some(line) = line else { return retired };
                board.line(&line);
                retired |= matches!(line.news, News::Retired { .. });
            }
            _ = look.tick() => board.look(),
            () = &mut enough, if !asked_to_stop => {
                asked_to_stop = true;
                board.end();
                let _ = stop.send(true);
            }
        }
        if retired && until == Until::Retired && !asked_to_stop {
            asked_to_stop = true;
            board.end();
            let _ = stop.send(true);
        }
    }
}

/// Until Ctrl-C, until a polite kill, or for as long as was asked.
async fn enough(stop_after: Option<Duration>) {
    let asked = async {
        match stop_after {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = asked => {}
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// The devices that are asked for.
fn members(arguments: &Arguments) -> Result<Vec<Member>, Failure> {
    let things = match (&arguments.from, arguments.devices) {
        (Some(file), _) => rows(file)?
            .iter()
            .map(|row| thing_name(&row.thing_name))
            .collect::<Result<_, _>>()?,
        (None, most) => first(arguments.life.keys.directory(), most.unwrap_or_default())?,
    };
    let mut members: Vec<_> = things
        .into_iter()
        .map(|thing| Member {
            thing,
            misbehaviour: None,
        })
        .collect();
    for (name, how) in &arguments.misbehave {
        let found = members
            .iter_mut()
            .find(|member| member.thing.as_str() == name);
        let Some(member) = found else {
            return Err(Failure::usage(
                format!("--misbehave names {name}, which is not run"),
                "Name one of the devices.",
            ));
        };
        member.misbehaviour = Some(*how);
    }
    Ok(members)
}

fn first(keys_dir: &Path, most: usize) -> Result<Vec<ThingName>, Failure> {
    let mut things = KeysDir::open(keys_dir)?.things()?;
    if things.len() < most || most == 0 {
        return Err(Failure::usage(
            format!("{} has {} devices", keys_dir.display(), things.len()),
            "Create more with `lamp device create`, or ask for fewer.",
        ));
    }
    things.truncate(most);
    Ok(things)
}

/// `NAME=HOW`, as an argument.
fn misbehaviour(text: &str) -> Result<(String, Misbehaviour), String> {
    let (name, how) = text
        .split_once('=')
        .ok_or_else(|| "write it as NAME=HOW".to_owned())?;
    let how = <Misbehaviour as clap::ValueEnum>::from_str(how, false)
        .map_err(|_| format!("{how:?} is not refuse-proof, ignore or no-store"))?;
    Ok((name.to_owned(), how))
}

/// A time in seconds, fractions allowed, as an argument.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "give seconds".to_owned())?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => Err("give seconds, more than none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_misbehaviours_are_read() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        for wrong in ["0", "-1", "soon", "1e30", "NaN"] {
            seconds(wrong).expect_err(wrong);
        }
        assert_eq!(
            misbehaviour("a=no-store"),
            Ok(("a".to_owned(), Misbehaviour::NoStore))
        );
        for wrong in ["a", "a=steal", "no-store"] {
            misbehaviour(wrong).expect_err(wrong);
        }
    }
}
