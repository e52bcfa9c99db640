//! The destination's side: connects what comes through the tunnel to services
//! beside the device.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use lamplighter_domain::tunnel::message::{Kind, Message};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::{AGAIN_AFTER, Cut, Side, Way};

/// The services that a device offers: where each is, by its name.
pub(crate) type Services = BTreeMap<String, String>;

/// What becomes of the streams.
pub(crate) enum Event<'a> {
    /// One begins, to this service.
    Begun(&'a str),
    /// Why there was nobody at a service's address.
    Unreached(String),
}

/// For a connection to a service.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a connection to the proxy server is tried in a row: a token that
/// is of no use any more is refused, so this is for servers that are not there.
const TRIES: u32 = 20;

/// Serves a tunnel until it is closed. `told` hears of each stream.
pub(crate) async fn serve(way: &Way, services: &Services, told: impl Fn(Event<'_>)) -> Cut {
    let mut tries = 0;
    loop {
        tries += 1;
        let cut = match Link::open(way, Side::Destination).await {
            Ok(link) => {
                tries = 0;
                follow(link, services, &told).await
            }
            Err(cut) => cut,
        };
        match cut {
            Cut::Lost(_) if tries < TRIES => sleep(AGAIN_AFTER).await,
            cut => return cut,
        }
    }
}

async fn follow(mut link: Link, services: &Services, told: &impl Fn(Event<'_>)) -> Cut {
    let (fail, mut failed) = unbounded_channel();
    loop {
        let next = tokio::select! {
            next = link.next() => next,
            Some(reason) = failed.recv() => {
                told(Event::Unreached(reason));
                continue;
            }
        };
        let messages = match next {
            Ok(messages) => messages,
            Err(cut) => return cut,
        };
        for message in messages {
            match message.kind {
                Kind::StreamStart => {
                    let (name, id) = (&message.service, message.stream_id);
                    if let Some((service, address)) = service(name, services) {
                        told(Event::Begun(service));
                        let tcp = dial(service.clone(), address.clone(), fail.clone());
                        link.begin(name, id, tcp, None);
                    } else {
                        link.send(Message::of(Kind::StreamReset, name, id)).await;
                    }
                }
                Kind::ServiceIds => {
                    let missing = message.services.iter();
                    if let Some(name) = missing.clone().find(|name| !services.contains_key(*name)) {
                        return Cut::Unfit(format!("no service {name} is offered here"));
                    }
                }
                _ => link.take(message).await,
            }
        }
    }
}

/// The service that a stream is for, and where it is.
fn service<'a>(name: &str, services: &'a Services) -> Option<(&'a String, &'a String)> {
    match name {
        // A source of the protocol's first version names no service.
        "" => services.iter().next().filter(|_| services.len() == 1),
        name => services.get_key_value(name),
    }
}

async fn dial(
    service: String,
    address: String,
    failed: UnboundedSender<String>,
) -> io::Result<TcpStream> {
    let tcp = timeout(PATIENCE, TcpStream::connect(&address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    if let Err(error) = &tcp {
        // The connection to the proxy server may have gone meanwhile.
        let _ = failed.send(format!("the service {service} at {address}: {error}"));
    }
    tcp
}
