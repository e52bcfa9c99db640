//! The device's tunnels: AWS tells it of one, with a token, and it begins a
//! local proxy there.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use lamplighter_domain::names::ThingName;
use serde::Deserialize;
use tokio::task::JoinSet;
use zeroize::Zeroizing;

use super::{Line, News, Wire, device};
use crate::proxy::{self, Cut, Endpoint, Event, Services, Way};

/// How many tunnels it has at once. A rotation's old one ends by itself.
const MOST: usize = 4;

/// `NAME=HOST:PORT`: a service that a device offers, and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    name: String,
    address: String,
}

impl FromStr for Offer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').and_then(|(name, address)| {
            let (host, port) = address.rsplit_once(':')?;
            let whole = !name.is_empty() && !host.is_empty() && port.parse::<u16>().is_ok();
            whole.then(|| (name.to_owned(), address.to_owned()))
        });
        let (name, address) = parts.ok_or("write it as NAME=HOST:PORT")?;
        Ok(Self { name, address })
    }
}

/// What tunnels may lead to.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    services: Services,
    endpoint: Option<Endpoint>,
}

impl Settings {
    /// These services; through this proxy server, if not the region's.
    pub(crate) fn new(offers: &[Offer], endpoint: Option<Endpoint>) -> Self {
        let services: BTreeMap<_, _> = offers
            .iter()
            .map(|offer| (offer.name.clone(), offer.address.clone()))
            .collect();
        Self { services, endpoint }
    }
}

/// What AWS publishes ("IoT agent snippet", AWS IoT Core Developer Guide).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Notice {
    client_access_token: String,
    client_mode: String,
    region: String,
    #[serde(default)]
    services: Vec<String>,
}

/// A device's tunnels; they end with this.
pub(super) struct Tunnels {
    thing: ThingName,
    settings: Arc<Settings>,
    wire: Wire,
    open: JoinSet<()>,
}

impl Tunnels {
    pub(super) fn new(thing: &ThingName, settings: &Arc<Settings>, wire: &Wire) -> Self {
        Self {
            thing: thing.clone(),
            settings: Arc::clone(settings),
            wire: wire.clone(),
            open: JoinSet::new(),
        }
    }

    /// Where it is told of tunnels, if it offers anything.
    pub(super) fn subscription(&self) -> Option<String> {
        (!self.settings.services.is_empty()).then(|| self.topic())
    }

    fn topic(&self) -> String {
        format!("$aws/things/{}/tunnels/notify", self.thing)
    }

    pub(super) fn hears(&self, topic: &str) -> bool {
        topic == self.topic()
    }

    /// AWS tells it of a tunnel.
    pub(super) fn notified(&mut self, payload: &[u8]) {
        match self.begin(payload) {
            Ok(services) => tell(&self.wire, &self.thing, News::Tunnel { services }),
            Err(reason) => tell(&self.wire, &self.thing, News::Warned { reason }),
        }
    }

    fn begin(&mut self, payload: &[u8]) -> Result<Vec<String>, String> {
        // What does not parse may have the token in it, so it is not shown.
        let notice: Notice = serde_json::from_slice(payload)
            .map_err(|_| "AWS tells of a tunnel in words not understood".to_owned())?;
        if notice.client_mode != "destination" {
            return Err("a tunnel is for a destination only".to_owned());
        }
        let offered = &self.settings.services;
        let mut wanted = notice.services.iter();
        if let Some(name) = wanted.find(|name| !offered.contains_key(*name)) {
            return Err(format!(
                "a tunnel wants the service {name:?}, which is not offered (--tunnel-services)"
            ));
        }
        let endpoint = self.settings.endpoint.clone();
        let endpoint = endpoint
            .or_else(|| Endpoint::of_region(&notice.region))
            .ok_or("a tunnel is in no region")?;
        while self.open.try_join_next().is_some() {}
        if self.open.len() >= MOST {
            let services = notice.services.join(", ");
            return Err(format!(
                "a tunnel to {services} is not taken: there are {MOST} already, as many as it has \
                 at once"
            ));
        }
        let way = Way::new(endpoint, Zeroizing::new(notice.client_access_token));
        let (settings, wire) = (Arc::clone(&self.settings), self.wire.clone());
        let thing = self.thing.clone();
        self.open.spawn(async move {
            let stream = |event: Event<'_>| {
                let news = match event {
                    Event::Begun(service) => News::TunnelStream {
                        service: service.to_owned(),
                    },
                    Event::Unreached(reason) => News::Warned { reason },
                };
                tell(&wire, &thing, news);
            };
            let cut = proxy::serve(&way, &settings.services, stream).await;
            let (Cut::Refused(reason) | Cut::Unfit(reason) | Cut::Lost(reason)) = cut;
            tell(&wire, &thing, News::TunnelEnded { reason });
        });
        Ok(notice.services)
    }
}

fn tell(wire: &Wire, thing: &ThingName, news: News) {
    // Nobody may watch any more.
    let _ = wire.send(Line {
        at: device::now(),
        thing_name: thing.clone(),
        news,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing;
    use serde_json::{Value, json};
    use tokio::sync::mpsc::unbounded_channel;

    #[test]
    fn offers_are_read() {
        let offer: Offer = "SSH=127.0.0.1:22".parse().unwrap();
        assert_eq!(
            (offer.name.as_str(), offer.address.as_str()),
            ("SSH", "127.0.0.1:22")
        );
        for wrong in ["", "SSH", "SSH=22", "=a:22", "SSH=:22", "SSH=a:x"] {
            wrong.parse::<Offer>().expect_err(wrong);
        }
    }

    /// What a notice comes to: the news of it, which never has its token.
    async fn check(notice: Value, text: &str) {
        let offers = ["SSH=127.0.0.1:1".parse().unwrap()];
        let settings = Arc::new(Settings::new(&offers, "ws://127.0.0.1:1".parse().ok()));
        let (wire, mut heard) = unbounded_channel();
        let mut tunnels = Tunnels::new(&testing::thing("x"), &settings, &wire);
        assert!(tunnels.hears("$aws/things/x/tunnels/notify"));
        tunnels.notified(notice.to_string().as_bytes());
        let said = heard.recv().await.unwrap().document().to_string();
        assert!(said.contains(text), "{said}");
        assert!(!said.contains("AQGA"), "{said}");
    }

    #[tokio::test]
    async fn notices() {
        let notice = |name: &str, value: Value| {
            let mut notice = json!({
                "clientAccessToken": "AQGA-secret", "clientMode": "destination",
                "region": "eu-south-1", "services": ["SSH"],
            });
            notice[name] = value;
            notice
        };
        check(notice("x", json!(1)), "\"tunnel\"").await;
        check(notice("services", json!(["VNC"])), "not offered").await;
        check(notice("clientMode", json!("source")), "destination").await;
        check(notice("clientAccessToken", json!(1)), "not understood").await;
        check(json!(["AQGA"]), "not understood").await;
    }

    #[tokio::test]
    async fn one_tunnel_too_many_is_refused_with_its_service() {
        let offers = ["SSH=127.0.0.1:1".parse().unwrap()];
        let settings = Arc::new(Settings::new(&offers, "ws://127.0.0.1:1".parse().ok()));
        let (wire, mut heard) = unbounded_channel();
        let mut tunnels = Tunnels::new(&testing::thing("x"), &settings, &wire);
        let notice = json!({
            "clientAccessToken": "AQGA-secret", "clientMode": "destination",
            "region": "eu-south-1", "services": ["SSH"],
        });
        for _ in 0..=MOST {
            tunnels.notified(notice.to_string().as_bytes());
        }
        let mut last = String::new();
        for _ in 0..=MOST {
            last = heard.recv().await.unwrap().document().to_string();
        }
        let wanted = "a tunnel to SSH is not taken: there are 4 already";
        assert!(last.contains(wanted), "{last}");
    }

    #[test]
    fn a_device_that_offers_nothing_does_not_listen() {
        let (wire, _heard) = unbounded_channel();
        let nothing = Arc::new(Settings::default());
        let tunnels = Tunnels::new(&testing::thing("x"), &nothing, &wire);
        assert_eq!(tunnels.subscription(), None);
    }
}
