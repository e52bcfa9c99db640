//! The source's side: listens on this machine, and carries what connects
//! through the tunnel.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use lamplighter_domain::tunnel::message::{Kind, Message};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::link::Link;
use super::{AGAIN_AFTER, Cut, Side, Way};

/// Until a second client is refused: the first may just have gone.
const MOMENT: Duration = Duration::from_secs(1);
/// For the first byte from the other end, until something is said.
const SILENCE: Duration = if cfg!(test) {
    Duration::from_millis(500)
} else {
    Duration::from_secs(10)
};

/// `[SERVICE=]PORT`: where to listen, and for which service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    /// The service; without, the tunnel's only one.
    pub(crate) service: Option<String>,
    /// The port; 0 is any.
    pub(crate) port: u16,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, port) = match text.split_once('=') {
            Some((service, port)) => (Some(service.to_owned()), port),
            None => (None, text),
        };
        let port = port.parse().map_err(|_| format!("{port:?} is no port"))?;
        Ok(Self { service, port })
    }
}

/// What is told of meanwhile.
pub(crate) enum Told<'a> {
    /// The tunnel is there: the address and the service of each port.
    There(&'a [(SocketAddr, String)]),
    /// What a client sees nothing of but a connection that ends, or is silent.
    Note(String),
}

/// A connection that was accepted.
struct Accepted {
    door: usize,
    tcp: TcpStream,
    /// Told when the client has said all, and dropped when the stream is over.
    client: watch::Sender<bool>,
}

/// A port that is listened on.
struct Door {
    service: Option<String>,
    address: SocketAddr,
}

/// The ports, and who comes there.
struct Ports {
    doors: Vec<Door>,
    accepted: mpsc::Receiver<Accepted>,
    /// The doors at which somebody was refused.
    refused: mpsc::UnboundedReceiver<usize>,
    stream_id: i32,
    _welcoming: JoinSet<()>,
}

/// Carries connections until the tunnel is closed. `told` hears each time that
/// the tunnel is there, and what is amiss.
pub(crate) async fn carry(way: &Way, listens: &[Listen], told: impl Fn(Told<'_>)) -> Cut {
    let mut ports = match Ports::open(listens).await {
        Ok(ports) => ports,
        Err(cut) => return cut,
    };
    let mut known = false;
    // Why the connection before is over. If the tunnel is, too, the next attempt
    // says so, and nothing is to be tried again.
    let mut lost = None::<String>;
    loop {
        let link = Link::open(way, Side::Source).await;
        if let Some(reason) = lost.take()
            && matches!(link, Ok(_) | Err(Cut::Lost(_)))
        {
            told(Told::Note(format!("{reason}; it is tried again")));
        }
        let cut = match link {
            Ok(link) => {
                known = true;
                let cut = serve(link, &mut ports, &told).await;
                if let Cut::Lost(reason) = &cut {
                    lost = Some(reason.clone());
                }
                cut
            }
            Err(cut) => cut,
        };
        match cut {
            // A connection that was there once is worth another attempt.
            Cut::Lost(_) if known => sleep(AGAIN_AFTER).await,
            cut => return cut,
        }
    }
}

impl Ports {
    async fn open(listens: &[Listen]) -> Result<Self, Cut> {
        let (accept, accepted) = mpsc::channel(1);
        let (refuse, refused) = mpsc::unbounded_channel();
        let (mut doors, mut welcoming) = (Vec::new(), JoinSet::new());
        for Listen { service, port } in listens {
            let unfit = |error: io::Error| Cut::Unfit(format!("port {port}: {error}"));
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).await;
            let listener = bound.map_err(unfit)?;
            let (door, refuse) = (doors.len(), refuse.clone());
            doors.push(Door {
                service: service.clone(),
                address: listener.local_addr().map_err(unfit)?,
            });
            // Whoever heard of it may have gone.
            let refuse = move || {
                let _ = refuse.send(door);
            };
            welcoming.spawn(welcome(listener, door, accept.clone(), refuse));
        }
        Ok(Self {
            doors,
            accepted,
            refused,
            stream_id: 0,
            _welcoming: welcoming,
        })
    }
}

/// Accepts one connection after the other: a service has one stream at a time.
async fn welcome(
    listener: TcpListener,
    door: usize,
    accepted: mpsc::Sender<Accepted>,
    refuse: impl Fn(),
) {
    let mut next = None;
    loop {
        let tcp = match next {
            Some(tcp) => tcp,
            None => match listener.accept().await {
                Ok((tcp, _)) => tcp,
                Err(_) => return,
            },
        };
        let (client, said_all) = watch::channel(false);
        let came = Accepted { door, tcp, client };
        if accepted.send(came).await.is_err() {
            return;
        }
        next = busy(&listener, said_all, &refuse).await;
    }
}

/// Waits for the end of a stream; answers who has the next turn, if anybody
/// waits. Who comes meanwhile is refused, after a moment, for a client that has
/// just gone is noticed no sooner. Once a client has said all and is only to
/// hear the rest, the next one waits.
async fn busy(
    listener: &TcpListener,
    mut said_all: watch::Receiver<bool>,
    refuse: &impl Fn(),
) -> Option<TcpStream> {
    let mut next: Option<(TcpStream, Instant)> = None;
    loop {
        let lingers = *said_all.borrow_and_update();
        let until = next.as_ref().map(|(_, until)| *until);
        let until = until.filter(|_| !lingers);
        tokio::select! {
            changed = said_all.changed() => if changed.is_err() {
                return next.map(|(tcp, _)| tcp);
            },
            () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {
                next = None;
                refuse();
            }
            Ok((tcp, _)) = listener.accept() => {
                if next.is_some() {
                    refuse();
                } else {
                    next = Some((tcp, Instant::now() + MOMENT));
                }
            }
        }
    }
}

async fn serve(mut link: Link, ports: &mut Ports, told: &impl Fn(Told<'_>)) -> Cut {
    let mut services: Option<Vec<String>> = None;
    // The streams through which nothing has come yet, and until when it may.
    let mut silent: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        let known = services.as_deref().unwrap_or_default();
        let due = silent.values().min().copied();
        tokio::select! {
            messages = link.next() => {
                for message in match messages {
                    Ok(messages) => messages,
                    Err(cut) => return cut,
                } {
                    if message.kind == Kind::ServiceIds {
                        match assigned(&ports.doors, &message.services) {
                            Ok(assigned) => {
                                told(Told::There(&assigned));
                                services = Some(assigned.into_iter().map(|(_, name)| name).collect());
                            }
                            Err(reason) => return Cut::Unfit(reason),
                        }
                    } else {
                        heard(&message, &link, &mut silent, told);
                        link.take(message).await;
                    }
                }
            }
            Some(Accepted { door, tcp, client }) = ports.accepted.recv(), if services.is_some() => {
                let service = known.get(door).map_or("", String::as_str);
                let id = ports.stream_id.wrapping_add(1).max(1);
                ports.stream_id = id;
                link.send(Message::of(Kind::StreamStart, service, id)).await;
                link.begin(service, id, async { Ok(tcp) }, Some(client));
                silent.insert(service.to_owned(), Instant::now() + SILENCE);
            }
            Some(door) = ports.refused.recv(), if services.is_some() => {
                let service = known.get(door).map_or("", String::as_str);
                told(Told::Note(format!(
                    "{service}: another client was refused: it carries one stream at a time"
                )));
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                for service in overdue(&mut silent) {
                    told(Told::Note(format!(
                        "{service}: nothing has come back for {} s; if the light is not connected \
                         to the tunnel, its log says why; if it has restarted, it wants a new \
                         token: lamp tunnel rotate",
                        SILENCE.as_secs()
                    )));
                }
            }
        }
    }
}

/// A message of the other end is one that it is there; of its going only the
/// proxy server tells.
fn heard(
    message: &Message,
    link: &Link,
    silent: &mut BTreeMap<String, Instant>,
    told: &impl Fn(Told<'_>),
) {
    let service = &message.service;
    match message.kind {
        Kind::Data => {
            silent.remove(service);
        }
        Kind::StreamReset => {
            let waits = silent.remove(service).is_some();
            // Whose client has gone ends at the other end, too.
            if waits && link.carries(service, message.stream_id) {
                told(Told::Note(format!(
                    "{service}: the light's end closed the stream before anything came back; \
                     the light's log says whether its {service} was there"
                )));
            }
        }
        Kind::SessionReset => {
            silent.clear();
            let note =
                "the light's end of the tunnel has gone, or begun anew: its streams are over";
            told(Told::Note(note.to_owned()));
        }
        Kind::StreamStart | Kind::ServiceIds | Kind::Other(_) => {}
    }
}

/// The services whose time is over; each is named once.
fn overdue(silent: &mut BTreeMap<String, Instant>) -> Vec<String> {
    let now = Instant::now();
    let over = silent.iter().filter(|(_, until)| **until <= now);
    let over: Vec<_> = over.map(|(service, _)| service.clone()).collect();
    silent.retain(|_, until| *until > now);
    over
}

/// Which service each port is for.
fn assigned(doors: &[Door], services: &[String]) -> Result<Vec<(SocketAddr, String)>, String> {
    let list = services.join(", ");
    let service = |door: &Door| match (&door.service, services) {
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(format!(
            "the tunnel has the services {list}: say which port is for which"
        )),
        (Some(name), _) if services.contains(name) => Ok(name.clone()),
        (Some(name), _) => Err(format!("the tunnel has no service {name}, but {list}")),
    };
    let pairs = doors.iter().map(|door| Ok((door.address, service(door)?)));
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_find_their_services() {
        let door = |service: Option<&str>| Door {
            service: service.map(str::to_owned),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        };
        let check = |wanted: Option<&str>, there: &[&str], found: Option<&str>| {
            let there: Vec<_> = there.iter().map(|name| (*name).to_owned()).collect();
            let got = assigned(&[door(wanted)], &there);
            let got = got.ok().map(|pairs| pairs[0].1.clone());
            assert_eq!(got.as_deref(), found, "{wanted:?} of {there:?}");
        };
        check(None, &["SSH"], Some("SSH"));
        check(None, &["SSH", "VNC"], None);
        check(Some("VNC"), &["SSH", "VNC"], Some("VNC"));
        check(Some("FTP"), &["SSH", "VNC"], None);
    }

    #[test]
    fn ports_are_read() {
        let listen = |service: Option<&str>, port| {
            Ok(Listen {
                service: service.map(str::to_owned),
                port,
            })
        };
        assert_eq!("5555".parse(), listen(None, 5555));
        assert_eq!("SSH=0".parse(), listen(Some("SSH"), 0));
        for wrong in ["", "SSH", "SSH=", "70000"] {
            wrong.parse::<Listen>().expect_err(wrong);
        }
    }
}
