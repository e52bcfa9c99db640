//! The WebSocket (RFC 6455) to the proxy server. Where a message of it ends
//! means nothing in a tunnel, so what comes is bytes.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderName, HeaderValue, Uri, header};
use lamplighter_domain::tunnel::message::SUBPROTOCOL;
use rumqttc::tokio_rustls::TlsConnector;
use rumqttc::tokio_rustls::rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_websockets::upgrade::{self, Response};
use tokio_websockets::{ClientBuilder, Error, Limits, Message, Payload, WebSocketStream};

use super::{Cut, Endpoint, Side, Way};
use crate::reference::trusting_the_system;

/// For TCP, TLS and the handshake together.
const PATIENCE: Duration = Duration::from_secs(20);
/// The protocol of tunnels has frames of at most 131,076 bytes; some of them
/// may come as one message.
const MOST_BYTES: usize = 1 << 20;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

type Socket = WebSocketStream<Box<dyn Stream>>;

/// What comes.
pub(super) struct Reader(SplitStream<Socket>);

/// What goes.
pub(super) struct Writer(SplitSink<Socket, Message>);

/// Connects one side of a tunnel.
pub(super) async fn connect(way: &Way, side: Side) -> Result<(Reader, Writer), Cut> {
    let request = request(way, side)?;
    let connecting = async {
        let stream = dial(&way.endpoint).await?;
        let (socket, response) = request.connect_on(stream).await.map_err(cut)?;
        accept(&response)?;
        let (writer, reader) = socket.split();
        Ok((Reader(reader), Writer(writer)))
    };
    timeout(PATIENCE, connecting)
        .await
        .unwrap_or_else(|_| Err(Cut::Lost("no answer in time".to_owned())))
}

async fn dial(endpoint: &Endpoint) -> Result<Box<dyn Stream>, Cut> {
    let lost = |error: std::io::Error| {
        let (host, port) = (&endpoint.host, endpoint.port);
        Cut::Lost(format!("{host}:{port}: {error}"))
    };
    let address = (endpoint.host.as_str(), endpoint.port);
    let tcp = TcpStream::connect(address).await.map_err(lost)?;
    tcp.set_nodelay(true).map_err(lost)?;
    if !endpoint.tls {
        return Ok(Box::new(tcp));
    }
    let config = trusting_the_system().map_err(|failure| Cut::Lost(failure.reason))?;
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|error| Cut::Lost(error.to_string()))?;
    let connector = TlsConnector::from(Arc::new(config));
    let tls = connector.connect(name, tcp).await.map_err(lost)?;
    Ok(Box::new(tls))
}

fn request(way: &Way, side: Side) -> Result<ClientBuilder<'static>, Cut> {
    let Endpoint { host, port, .. } = &way.endpoint;
    let mode = side.name();
    let uri: Uri = format!("wss://{host}:{port}/tunnel?local-proxy-mode={mode}")
        .parse()
        .map_err(|_| Cut::Refused(format!("{host:?} is no host")))?;
    // A line break, which would begin a header of somebody else's, is none of
    // the characters of a header's value.
    let token = HeaderValue::from_str(&way.token).ok();
    let mut token = token
        .filter(|token| !token.is_empty())
        .ok_or_else(|| Cut::Refused("the token is none".to_owned()))?;
    token.set_sensitive(true);
    let process = HeaderValue::from_str(&way.client_token)
        .map_err(|_| Cut::Refused("the client token is none".to_owned()))?;
    let agent = concat!("lamp/", env!("CARGO_PKG_VERSION"));
    [
        (
            header::SEC_WEBSOCKET_PROTOCOL,
            HeaderValue::from_static(SUBPROTOCOL),
        ),
        (HeaderName::from_static("access-token"), token),
        (HeaderName::from_static("client-token"), process),
        (header::USER_AGENT, HeaderValue::from_static(agent)),
    ]
    .into_iter()
    .try_fold(ClientBuilder::from_uri(uri), |builder, (name, value)| {
        builder.add_header(name, value).map_err(cut)
    })
    .map(|builder| builder.limits(Limits::default().max_payload_len(Some(MOST_BYTES))))
}

fn accept(response: &Response) -> Result<(), Cut> {
    let spoken = response.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    if spoken.is_some_and(|spoken| spoken == SUBPROTOCOL) {
        return Ok(());
    }
    let reason = format!("the server does not speak {SUBPROTOCOL}");
    Err(Cut::Lost(reason))
}

/// The server refuses with 400 to 499 what another attempt would not better.
fn cut(error: Error) -> Cut {
    let Error::Upgrade(upgrade::Error::DidNotSwitchProtocols(status)) = error else {
        return Cut::Lost(error.to_string());
    };
    let reason = format!("the proxy server answered {status}");
    match status {
        400..=499 => Cut::Refused(format!(
            "{reason}: the tunnel is closed, or the token used or replaced"
        )),
        _ => Cut::Lost(reason),
    }
}

impl Reader {
    /// What comes next; nothing, if the server has closed the connection.
    /// Pings are answered meanwhile. Whoever stops waiting for it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Payload>, String> {
        while let Some(message) = self.0.next().await {
            match message.map_err(|error| error.to_string())? {
                message if message.is_binary() => return Ok(Some(message.into_payload())),
                message if message.is_text() => return Err("the server sends text".to_owned()),
                // Pings, pongs, and the last word before the end.
                _ => {}
            }
        }
        Ok(None)
    }
}

impl Writer {
    pub(super) async fn bytes(&mut self, payload: Vec<u8>) -> Result<(), Error> {
        self.0.send(Message::binary(payload)).await
    }

    pub(super) async fn ping(&mut self) -> Result<(), Error> {
        self.0.send(Message::ping("")).await
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::super::tests::answering;
    use super::*;

    fn switching(accept: &str, protocol: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {accept}\r\n\
             sec-websocket-protocol: {protocol}\r\n\r\n"
        )
    }

    async fn connected(answer: String, then: &'static [u8]) -> Result<Reader, Cut> {
        let endpoint = answering(answer, then).await;
        let way = Way::new(endpoint, Zeroizing::new("token".to_owned()));
        connect(&way, Side::Source).await.map(|(reader, _)| reader)
    }

    #[tokio::test]
    async fn the_answer_to_a_handshake() {
        let status = |status: &str| format!("HTTP/1.1 {status}\r\n\r\n");
        for (answer, expected) in [
            (switching("ACCEPT", SUBPROTOCOL), "accepted"),
            (switching("x", SUBPROTOCOL), "lost"),
            (switching("ACCEPT", "mqtt"), "lost"),
            (status("400 Bad Request"), "refused"),
            (status("403 Forbidden"), "refused"),
            (status("503 Service Unavailable"), "lost"),
            ("nonsense\r\n\r\n".to_owned(), "lost"),
        ] {
            let got = match connected(answer.clone(), b"").await {
                Ok(_) => "accepted",
                Err(Cut::Lost(_)) => "lost",
                Err(_) => "refused",
            };
            assert_eq!(got, expected, "{answer}");
        }
    }

    /// What is read of what a server sends, and whether it is refused then.
    async fn check(sent: &'static [u8], expected: &[u8], refused: bool) {
        let answer = switching("ACCEPT", SUBPROTOCOL);
        let mut reader = connected(answer, sent).await.ok().unwrap();
        let mut came = Vec::new();
        let end = loop {
            match reader.next().await {
                Ok(Some(bytes)) => came.extend_from_slice(&bytes),
                end => break end,
            }
        };
        assert_eq!(
            (came.as_slice(), end.is_err()),
            (expected, refused),
            "{sent:?}"
        );
    }

    #[tokio::test]
    async fn what_a_server_sends() {
        check(b"\x82\x02hi\x88\x02\x03\xe8", b"hi", false).await;
        // In two fragments, with a ping and an unasked pong in between.
        let mixed = b"\x02\x01h\x89\x01p\x8a\0\x80\x01i\x88\x02\x03\xe8";
        check(mixed, b"hi", false).await;
        // Text, what only a client masks, and more than a message may be.
        check(b"\x81\x02hi", b"", true).await;
        check(b"\x82\x81\0\0\0\0h", b"", true).await;
        check(b"\x82\x7f\0\0\0\0\x10\0\0\0", b"", true).await;
    }

    #[test]
    fn no_token_adds_a_header() {
        for token in ["", "a\r\nb: c", "a\nb"] {
            let endpoint = "ws://localhost:1".parse().unwrap();
            let way = Way::new(endpoint, Zeroizing::new(token.to_owned()));
            assert!(matches!(request(&way, Side::Source), Err(Cut::Refused(_))));
        }
    }
}
