//! The source's side: listens on this machine, and carries what connects
//! through the tunnel.

use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use lamplighter_domain::tunnel::message::{Kind, Message};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::link::Link;
use super::{AGAIN_AFTER, Cut, Side, Way};

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

/// A connection that was accepted, and who waits for its end.
struct Accepted {
    door: usize,
    tcp: TcpStream,
    ended: oneshot::Sender<()>,
}

/// A port that is listened on.
struct Door {
    service: Option<String>,
    address: SocketAddr,
}

/// Carries connections until the tunnel is closed. `told` hears each time that
/// the tunnel is there: for each port, its address and service.
pub(crate) async fn carry(
    way: &Way,
    listens: &[Listen],
    told: impl Fn(&[(SocketAddr, String)]),
) -> Cut {
    let (accepted, mut waiting) = mpsc::channel(1);
    let (mut doors, mut tasks) = (Vec::new(), JoinSet::new());
    for listen in listens {
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, listen.port)).await;
        let listener = match bound.and_then(|bound| Ok((bound.local_addr()?, bound))) {
            Ok((address, listener)) => {
                doors.push(Door {
                    service: listen.service.clone(),
                    address,
                });
                listener
            }
            Err(error) => return Cut::Unfit(format!("port {}: {error}", listen.port)),
        };
        tasks.spawn(welcome(listener, doors.len() - 1, accepted.clone()));
    }
    let mut known = false;
    let mut stream_id = 0;
    loop {
        let cut = match Link::open(way, Side::Source).await {
            Ok(link) => {
                known = true;
                serve(link, &doors, &mut waiting, &mut stream_id, &told).await
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

/// Accepts one connection after the other: a service has one stream at a time.
async fn welcome(listener: TcpListener, door: usize, accepted: mpsc::Sender<Accepted>) {
    while let Ok((tcp, _)) = listener.accept().await {
        let (ended, end) = oneshot::channel();
        if accepted.send(Accepted { door, tcp, ended }).await.is_err() {
            return;
        }
        // It is dropped when the stream is over, and so is this.
        let _ = end.await;
    }
}

async fn serve(
    mut link: Link,
    doors: &[Door],
    waiting: &mut mpsc::Receiver<Accepted>,
    stream_id: &mut i32,
    told: &impl Fn(&[(SocketAddr, String)]),
) -> Cut {
    let mut services: Option<Vec<String>> = None;
    loop {
        tokio::select! {
            messages = link.next() => {
                for message in match messages {
                    Ok(messages) => messages,
                    Err(cut) => return cut,
                } {
                    if message.kind == Kind::ServiceIds {
                        match assigned(doors, &message.services) {
                            Ok(assigned) => {
                                told(&assigned);
                                services = Some(assigned.into_iter().map(|(_, name)| name).collect());
                            }
                            Err(reason) => return Cut::Unfit(reason),
                        }
                    } else {
                        link.take(message).await;
                    }
                }
            }
            Some(Accepted { door, tcp, ended }) = waiting.recv(), if services.is_some() => {
                let service = services.as_ref().and_then(|services| services.get(door));
                let service = service.map_or("", String::as_str);
                *stream_id = stream_id.wrapping_add(1).max(1);
                link.send(Message::of(Kind::StreamStart, service, *stream_id)).await;
                link.begin(service, *stream_id, async { Ok(tcp) }, Some(ended));
            }
        }
    }
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
