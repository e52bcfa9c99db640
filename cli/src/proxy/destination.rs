//! The destination's side: connects what comes through the tunnel to services
//! beside the device.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use lamplighter_domain::tunnel::message::{Kind, Message};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::link::Link;
use super::{AGAIN_AFTER, Cut, Side, Way};

/// The services that a device offers: where each is, by its name.
pub(crate) type Services = BTreeMap<String, String>;

/// For a connection to a service.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a connection to the proxy server is tried in a row: a token that
/// is of no use any more is refused, so this is for servers that are not there.
const TRIES: u32 = 20;

/// Serves a tunnel until it is closed. `told` hears of each stream that begins.
pub(crate) async fn serve(way: &Way, services: &Services, told: impl Fn(&str)) -> Cut {
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

async fn follow(mut link: Link, services: &Services, told: &impl Fn(&str)) -> Cut {
    loop {
        let messages = match link.next().await {
            Ok(messages) => messages,
            Err(cut) => return cut,
        };
        for message in messages {
            match message.kind {
                Kind::StreamStart => start(&mut link, &message, services, told).await,
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

async fn start(link: &mut Link, message: &Message, services: &Services, told: &impl Fn(&str)) {
    let (name, id) = (&message.service, message.stream_id);
    // A source of the protocol's first version names no service.
    let only = services.iter().next().filter(|_| services.len() == 1);
    let found = match name.as_str() {
        "" => only,
        name => services.get_key_value(name),
    };
    match found {
        Some((service, address)) => {
            told(service);
            link.begin(name, id, dial(address.clone()), None);
        }
        None => link.send(Message::of(Kind::StreamReset, name, id)).await,
    }
}

async fn dial(address: String) -> io::Result<TcpStream> {
    timeout(PATIENCE, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
