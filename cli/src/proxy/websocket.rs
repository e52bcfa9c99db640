//! A client's side of WebSocket (RFC 6455), as far as a tunnel needs it: binary
//! frames, whose ends mean nothing there, so that what comes is bytes.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamplighter_domain::tunnel::message::SUBPROTOCOL;
use rumqttc::tokio_rustls::TlsConnector;
use rumqttc::tokio_rustls::rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split};
use tokio::io::{ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::{Cut, Endpoint, Side, Way};
use crate::api::random;
use crate::reference::trusting_the_system;

/// For TCP, TLS and the handshake together.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most that a frame carries, by the protocol of tunnels.
const MOST_BYTES: usize = 131_076;
/// The longest answer to a handshake.
const MOST_ANSWER: usize = 16 * 1024;
/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What a length's byte says instead: that two, or eight, follow.
const LONG: u8 = 0x7e;
const LONGER: u8 = 0x7f;
const MASKED: u8 = 0x80;

const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for T {}

/// What comes.
pub(super) struct Reader {
    inner: ReadHalf<Box<dyn Stream>>,
    buffer: Vec<u8>,
}

/// What goes.
pub(super) struct Writer(WriteHalf<Box<dyn Stream>>);

/// What a frame brings.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Bytes(Vec<u8>),
    Ping(Vec<u8>),
    Close,
}

/// Connects one side of a tunnel.
pub(super) async fn connect(way: &Way, side: Side) -> Result<(Reader, Writer), Cut> {
    let connecting = async {
        let mut stream = dial(&way.endpoint).await?;
        let key = STANDARD.encode(random::<16>());
        let request = request(way, side, &key)?;
        let lost = |error: std::io::Error| Cut::Lost(error.to_string());
        stream.write_all(request.as_bytes()).await.map_err(lost)?;
        let mut buffer = Vec::new();
        let end = loop {
            if let Some(at) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let read = stream.read_buf(&mut buffer).await.map_err(lost)?;
            if read == 0 || buffer.len() > MOST_ANSWER {
                return Err(Cut::Lost("no answer to the handshake".to_owned()));
            }
        };
        let head: Vec<u8> = buffer.drain(..end).collect();
        accept(&String::from_utf8_lossy(&head), &key)?;
        let (inner, writer) = split(stream);
        Ok((Reader { inner, buffer }, Writer(writer)))
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

fn request(way: &Way, side: Side, key: &str) -> Result<Zeroizing<String>, Cut> {
    // A line break would begin a header of somebody else's.
    let token = way.token.as_str();
    if token.is_empty() || !token.bytes().all(|b| (0x21..0x7f).contains(&b)) {
        return Err(Cut::Refused("the token is none".to_owned()));
    }
    Ok(Zeroizing::new(format!(
        "GET /tunnel?local-proxy-mode={} HTTP/1.1\r\nHost: {}:{}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\naccess-token: {token}\r\n\
         client-token: {}\r\nUser-Agent: lamp/{}\r\n\r\n",
        side.name(),
        way.endpoint.host,
        way.endpoint.port,
        way.client_token,
        env!("CARGO_PKG_VERSION"),
    )))
}

/// Checks the answer (RFC 6455, section 4.1). The server refuses with 400 to
/// 499 what another attempt would not better.
fn accept(head: &str, key: &str) -> Result<(), Cut> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1));
    let status: u16 = status.and_then(|text| text.parse().ok()).unwrap_or(0);
    let header = |name: &str| {
        let mut found = head
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        found
            .find(|(each, _)| each.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    };
    if status != 101 {
        let reason = format!("the proxy server answered {status}");
        return Err(match status {
            400..=499 => Cut::Refused(format!(
                "{reason}: the tunnel is closed, or the token used or replaced"
            )),
            _ => Cut::Lost(reason),
        });
    }
    if header("sec-websocket-accept") != Some(&answer_to(key)) {
        return Err(Cut::Lost("what answers is no WebSocket server".to_owned()));
    }
    if header("sec-websocket-protocol") != Some(SUBPROTOCOL) {
        return Err(Cut::Lost(format!(
            "the server does not speak {SUBPROTOCOL}"
        )));
    }
    Ok(())
}

pub(super) fn answer_to(key: &str) -> String {
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    STANDARD.encode(digest)
}

impl Reader {
    /// What comes next. Whoever stops waiting for it loses nothing.
    pub(super) async fn next(&mut self) -> Result<Frame, String> {
        loop {
            if let Some(frame) = take(&mut self.buffer)? {
                return Ok(frame);
            }
            match self.inner.read_buf(&mut self.buffer).await {
                Ok(0) => return Ok(Frame::Close),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }
}

/// A frame from the beginning of what has come, if it is whole (RFC 6455,
/// section 5.2); frames that mean nothing here are passed over.
fn take(buffer: &mut Vec<u8>) -> Result<Option<Frame>, String> {
    loop {
        let Some(&[first, second]) = buffer.first_chunk() else {
            return Ok(None);
        };
        if second & MASKED != 0 || first & 0x70 != 0 {
            return Err("the server sends what no WebSocket server does".to_owned());
        }
        let (length, header) = match second {
            LONG => match buffer.get(2..4).and_then(<[u8]>::first_chunk) {
                Some(bytes) => (usize::from(u16::from_be_bytes(*bytes)), 4),
                None => return Ok(None),
            },
            LONGER => match buffer.get(2..10).and_then(<[u8]>::first_chunk) {
                Some(bytes) => {
                    let length = u64::from_be_bytes(*bytes);
                    (usize::try_from(length).unwrap_or(usize::MAX), 10)
                }
                None => return Ok(None),
            },
            short => (usize::from(short), 2),
        };
        if length > MOST_BYTES {
            return Err(format!("a frame of {length} bytes is too long"));
        }
        if buffer.len() < header + length {
            return Ok(None);
        }
        let payload = buffer[header..header + length].to_vec();
        buffer.drain(..header + length);
        match first & 0x0f {
            BINARY | CONTINUATION => return Ok(Some(Frame::Bytes(payload))),
            CLOSE => return Ok(Some(Frame::Close)),
            PING => return Ok(Some(Frame::Ping(payload))),
            PONG => {}
            _ => return Err("the server sends text".to_owned()),
        }
    }
}

impl Writer {
    pub(super) async fn bytes(&mut self, payload: &[u8]) -> std::io::Result<()> {
        self.send(BINARY, payload).await
    }

    pub(super) async fn ping(&mut self) -> std::io::Result<()> {
        self.send(PING, b"").await
    }

    pub(super) async fn pong(&mut self, payload: &[u8]) -> std::io::Result<()> {
        self.send(PONG, payload).await
    }

    /// Says that there is nothing more to say.
    pub(super) async fn close(&mut self) -> std::io::Result<()> {
        // 1000: a normal closure.
        self.send(CLOSE, &1000_u16.to_be_bytes()).await
    }

    async fn send(&mut self, opcode: u8, payload: &[u8]) -> std::io::Result<()> {
        self.0.write_all(&frame(opcode, payload, random())).await?;
        self.0.flush().await
    }
}

/// A client masks all it sends (RFC 6455, section 5.3).
fn frame(opcode: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let mut out = vec![0x80 | opcode];
    let length = payload.len();
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ 0..LONG), _) => out.push(MASKED | short),
        (_, Ok(long)) => {
            out.push(MASKED | LONG);
            out.extend(long.to_be_bytes());
        }
        _ => {
            out.push(MASKED | LONGER);
            out.extend((length as u64).to_be_bytes());
        }
    }
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_as_the_rfc_has_them() {
        // RFC 6455, section 5.7: a masked "Hello", here binary.
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        assert_eq!(
            frame(BINARY, b"Hello", mask),
            b"\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"
        );
        assert_eq!(frame(BINARY, &[0; 126], mask)[..4], *b"\x82\xfe\x00\x7e");
        let long = frame(BINARY, &vec![0; 65536], mask);
        assert_eq!(long[..10], *b"\x82\xff\0\0\0\0\0\x01\0\0");
    }

    fn check(bytes: &[u8], expected: &[Frame], refused: bool) {
        // Byte by byte, and all at once.
        for size in [1, bytes.len().max(1)] {
            let (mut buffer, mut frames, mut wrong) = (Vec::new(), Vec::new(), false);
            for piece in bytes.chunks(size) {
                buffer.extend_from_slice(piece);
                loop {
                    match take(&mut buffer) {
                        Ok(Some(frame)) => frames.push(frame),
                        Ok(None) => break,
                        Err(_) => {
                            wrong = true;
                            break;
                        }
                    }
                }
            }
            assert_eq!((frames.as_slice(), wrong), (expected, refused), "{bytes:?}");
        }
    }

    #[test]
    fn what_a_server_sends() {
        let bytes = |text: &[u8]| Frame::Bytes(text.to_vec());
        check(b"\x82\x02hi", &[bytes(b"hi")], false);
        // In two fragments, with a ping and an unasked pong in between.
        let mixed = b"\x02\x01h\x89\x01p\x8a\0\x80\x01i\x88\x02\x03\xe8";
        let told = [
            bytes(b"h"),
            Frame::Ping(b"p".to_vec()),
            bytes(b"i"),
            Frame::Close,
        ];
        check(mixed, &told, false);
        check(b"\x82\x7e\0\x02hi", &[bytes(b"hi")], false);
        for wrong in [
            &b"\x81\x02hi"[..],
            b"\x82\x81\0\0\0\0h",
            b"\xc2\x01h",
            b"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            check(wrong, &[], true);
        }
    }

    #[test]
    fn the_answer_to_a_handshake() {
        // RFC 6455, section 1.3.
        let (key, answer) = ("dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let head = |status: &str, answer: &str, protocol: &str| {
            let line = format!("HTTP/1.1 {status}\r\nSec-WebSocket-Accept: {answer}\r\n");
            format!("{line}sec-websocket-protocol: {protocol}\r\n\r\n")
        };
        let check = |head: String, expected: &str| {
            let got = match accept(&head, key) {
                Ok(()) => "accepted",
                Err(Cut::Lost(_)) => "lost",
                Err(_) => "refused",
            };
            assert_eq!(got, expected, "{head}");
        };
        check(head("101 Switching", answer, SUBPROTOCOL), "accepted");
        check(head("101 Switching", "x", SUBPROTOCOL), "lost");
        check(head("101 Switching", answer, "mqtt"), "lost");
        check(head("400 Bad", answer, SUBPROTOCOL), "refused");
        check(head("403 Forbidden", answer, SUBPROTOCOL), "refused");
        check(head("503 Busy", answer, SUBPROTOCOL), "lost");
        check("nonsense\r\n\r\n".to_owned(), "lost");
    }

    #[test]
    fn no_token_adds_a_header() {
        for token in ["", "a\r\nb: c", "a b", "ü"] {
            let endpoint = "ws://localhost:1".parse().unwrap();
            let way = Way::new(endpoint, Zeroizing::new(token.to_owned()));
            assert!(matches!(
                request(&way, Side::Source, "k"),
                Err(Cut::Refused(_))
            ));
        }
    }
}
