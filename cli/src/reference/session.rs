//! One MQTT connection, from its CONNECT to its end. Who wants another makes
//! another: nothing is carried over.

use std::error::Error;
use std::fmt::Write;
use std::io;
use std::time::Duration;

use lamplighter_domain::names::ThingName;
use rumqttc::tokio_rustls::rustls;
use rumqttc::tokio_rustls::rustls::AlertDescription;
use rumqttc::{
    AsyncClient, ConnectReturnCode, ConnectionError, Event, EventLoop, MqttOptions, Packet,
    PublishOptions, QoS, StateError, SubscribeFilter, SubscribeReasonCode, TlsError, Transport,
    mqttbytes,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::dialer::Dialer;
use super::store::Identity;

/// AWS IoT Core takes 30 to 1,200 seconds, and gives a silent device up after
/// one and a half times as long.
const KEEP_ALIVE_SECONDS: u16 = 60;

/// AWS IoT Core's largest packet.
const MOST_BYTES: usize = 128 * 1024;

/// For TCP, TLS and CONNECT together.
const CONNECT_SECONDS: u64 = 20;

/// For what is in flight, when leaving.
const LEAVE: Duration = Duration::from_secs(2);

/// How much may wait to be sent. What does not fit is repeated, or is
/// telemetry that a later message makes up for.
const QUEUE: usize = 64;

/// A live connection.
pub(super) struct Session {
    client: AsyncClient,
    happenings: mpsc::Receiver<Result<Happening, String>>,
    pump: JoinHandle<()>,
}

/// What a connection brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// Which of the subscriptions are in force, in their order.
    Subscribed { granted: Vec<bool> },
    /// A message came.
    Message { topic: String, payload: Vec<u8> },
    /// The broker has a message of ours.
    Acknowledged,
}

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// The broker was there and did not want this certificate.
    Refused(String),
    /// It was not reached, or is not the one that is trusted.
    Unreachable(String),
}

impl Session {
    /// Connects as the thing, with a clean session, and subscribes.
    ///
    /// The session is clean because nothing that matters lives in a broker's
    /// queue: whatever the protocol says is repeated until it is answered. A
    /// stored session would bring words of an earlier rotation instead, and
    /// keep subscriptions that were made under another certificate.
    pub(super) async fn open(
        dialer: &Dialer,
        thing: &ThingName,
        identity: &Identity,
        filters: Vec<String>,
    ) -> Result<Self, Cut> {
        let tls = dialer.tls(identity).map_err(Cut::Refused)?;
        let address = (dialer.endpoint.host.clone(), dialer.endpoint.port);
        let mut options = MqttOptions::new(thing.as_str(), address);
        options
            .set_keep_alive(KEEP_ALIVE_SECONDS)
            .set_clean_session(true)
            .set_max_packet_size(MOST_BYTES, MOST_BYTES)
            .set_transport(Transport::Tls(tls));
        let (client, mut events) = AsyncClient::builder(options).capacity(QUEUE).build();
        events
            .network_options
            .set_connection_timeout(CONNECT_SECONDS);
        events.network_options.set_tcp_nodelay(true);
        // The first thing to come of it is CONNACK, or a reason why not.
        events.poll().await.map_err(|error| cut(&error))?;
        let filters = filters
            .into_iter()
            .map(|filter| SubscribeFilter::new(filter, QoS::AtLeastOnce));
        client
            .try_subscribe_many(filters)
            .map_err(|error| Cut::Unreachable(error.to_string()))?;
        let (sender, happenings) = mpsc::channel(QUEUE);
        Ok(Self {
            client,
            happenings,
            pump: tokio::spawn(pump(events, sender)),
        })
    }

    /// What happens next; an error ends the connection.
    pub(super) async fn next(&mut self) -> Result<Happening, String> {
        self.happenings
            .recv()
            .await
            .unwrap_or_else(|| Err("the connection has ended".to_owned()))
    }

    /// Sends a message that is to be acknowledged (`QoS` 1). Whether it could
    /// be queued; it never waits.
    pub(super) fn publish(&self, topic: String, payload: Vec<u8>) -> bool {
        let options = PublishOptions::at_least_once();
        self.client.try_publish(topic, payload, options).is_ok()
    }

    /// Leaves with a DISCONNECT, once what is in flight is acknowledged.
    pub(super) async fn close(mut self) {
        let left = self.client.try_disconnect_with_timeout(LEAVE).is_ok();
        let drained = async { while self.happenings.recv().await.is_some() {} };
        if left {
            // What still comes is told again on the next connection.
            let _ = tokio::time::timeout(LEAVE * 2, drained).await;
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

/// Drives the connection in a task of its own: interrupted half way, a read or
/// a flush would lose what it holds.
async fn pump(mut events: EventLoop, to: mpsc::Sender<Result<Happening, String>>) {
    loop {
        let happening = match events.poll().await {
            Ok(Event::Incoming(packet)) => happening(packet).map(Ok),
            Ok(Event::Outgoing(_)) => None,
            Err(ConnectionError::RequestsDone) => return,
            Err(error) => Some(Err(chain(&error))),
        };
        let Some(happening) = happening else {
            continue;
        };
        let ended = happening.is_err();
        if to.send(happening).await.is_err() || ended {
            return;
        }
    }
}

fn happening(packet: Packet) -> Option<Happening> {
    match packet {
        Packet::Publish(publish) => Some(Happening::Message {
            topic: String::from_utf8_lossy(&publish.topic).into_owned(),
            payload: publish.payload.to_vec(),
        }),
        Packet::PubAck(_) => Some(Happening::Acknowledged),
        Packet::SubAck(answer) => {
            let codes = answer.return_codes.iter();
            let granted = codes.map(|code| *code != SubscribeReasonCode::Failure);
            Some(Happening::Subscribed {
                granted: granted.collect(),
            })
        }
        _ => None,
    }
}

/// Sorts what can go wrong. A broker need not say that it dislikes a
/// certificate: AWS IoT closes the connection of one that is not ACTIVE or not
/// permitted to connect, without a CONNACK. So whoever is hung up on after the
/// TCP connection stands takes it for a refusal. If it was none, what follows
/// from it does no harm: the device tries the other pair, and both work.
fn cut(error: &ConnectionError) -> Cut {
    use ConnectReturnCode::{BadClientId, BadUserNamePassword, NotAuthorized};
    let refused = match error {
        ConnectionError::ConnectionRefused(code) => {
            matches!(code, BadClientId | BadUserNamePassword | NotAuthorized)
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => true,
        ConnectionError::Tls(TlsError::Io(error))
        | ConnectionError::MqttState(
            StateError::Io(error) | StateError::Deserialization(mqttbytes::Error::Io(error)),
        ) => hung_up(error),
        _ => false,
    };
    let reason = chain(error);
    if refused {
        Cut::Refused(reason)
    } else {
        Cut::Unreachable(reason)
    }
}

fn hung_up(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
    match tls {
        Some(rustls::Error::AlertReceived(alert)) => of_the_certificate(*alert),
        Some(_) => false,
        None => matches!(
            error.kind(),
            BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof
        ),
    }
}

/// Whether a TLS alert (RFC 8446, section 6.2) is about who the client is.
fn of_the_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::HandshakeFailure
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired
    )
}

/// An error with what caused it, each said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            let _ = write!(text, ": {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: ConnectionError, refused: bool) {
        let cut = cut(&error);
        assert_eq!(matches!(cut, Cut::Refused(_)), refused, "{error:?}");
    }

    fn tls(error: rustls::Error) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    #[test]
    fn a_refusal_is_told_from_a_network_that_fails() {
        use rustls::Error::{AlertReceived, InvalidCertificate};
        let revoked = || tls(AlertReceived(AlertDescription::CertificateRevoked));
        let no_protocol = || tls(AlertReceived(AlertDescription::NoApplicationProtocol));
        let stranger = tls(InvalidCertificate(rustls::CertificateError::UnknownIssuer));
        let closed = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let after_tls = |error| {
            let error = mqttbytes::Error::Io(error);
            ConnectionError::MqttState(StateError::Deserialization(error))
        };
        for (error, refused) in [
            // TLS 1.2 refuses within the handshake, TLS 1.3 after it.
            (ConnectionError::Tls(TlsError::Io(revoked())), true),
            (after_tls(revoked()), true),
            (after_tls(closed()), true),
            (
                ConnectionError::MqttState(StateError::ConnectionAborted),
                true,
            ),
            (
                ConnectionError::ConnectionRefused(ConnectReturnCode::NotAuthorized),
                true,
            ),
            (
                ConnectionError::ConnectionRefused(ConnectReturnCode::ServiceUnavailable),
                false,
            ),
            (ConnectionError::Tls(TlsError::Io(no_protocol())), false),
            (ConnectionError::Tls(TlsError::Io(stranger)), false),
            (ConnectionError::Tls(TlsError::Io(closed())), true),
            // Before there is a TCP connection, nothing was said of anybody.
            (
                ConnectionError::Io(io::ErrorKind::ConnectionReset.into()),
                false,
            ),
            (ConnectionError::NetworkTimeout, false),
        ] {
            check(error, refused);
        }
    }
}
