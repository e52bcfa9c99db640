//! Both ends against a proxy server in memory, which does what AWS's does with
//! bytes: it passes them on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamplighter_domain::tunnel::message::{Kind, Message, SUBPROTOCOL};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::*;

const PATIENCE: Duration = Duration::from_secs(10);

type Ends = Arc<[Mutex<Option<OwnedWriteHalf>>; 2]>;

/// A server for one tunnel of SSH; each side may connect, the tokens being
/// their names.
async fn server() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let ends = Ends::default();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            tokio::spawn(relay(tcp, Arc::clone(&ends)));
        }
    });
    format!("ws://127.0.0.1:{port}").parse().unwrap()
}

/// What a client says first, up to the empty line.
async fn head(tcp: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tcp.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A header of it; the names of ours are in lower case.
fn header(head: &str, name: &str) -> String {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    let found = lines.find(|(each, _)| each.eq_ignore_ascii_case(name));
    found.unwrap().1.to_owned()
}

/// The answer to a handshake (RFC 6455, section 1.3).
fn accept(head: &str) -> String {
    let key = header(head, "sec-websocket-key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes()))
}

/// A server that answers a handshake with this, in which ACCEPT becomes what
/// the key asks for, and then says this.
pub(super) async fn answering(answer: String, then: &'static [u8]) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let head = head(&mut tcp).await;
        let answer = answer.replace("ACCEPT", &accept(&head));
        tcp.write_all(answer.as_bytes()).await.unwrap();
        tcp.write_all(then).await.unwrap();
        // Until the client has had enough.
        let _ = tcp.read_u8().await;
    });
    format!("ws://127.0.0.1:{port}").parse().unwrap()
}

async fn relay(mut tcp: TcpStream, ends: Ends) {
    let head = head(&mut tcp).await;
    let side = usize::from(head.contains("local-proxy-mode=destination"));
    if header(&head, "access-token") != ["source", "destination"][side] {
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        return;
    }
    let accepted = format!(
        "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {}\r\n\
         sec-websocket-protocol: {SUBPROTOCOL}\r\n\r\n",
        accept(&head),
    );
    tcp.write_all(accepted.as_bytes()).await.unwrap();
    let (mut read, mut write) = tcp.into_split();
    let mut services = Message::of(Kind::ServiceIds, "", 0);
    services.services = vec!["SSH".to_owned()];
    write.write_all(&unmasked(&services.frame())).await.unwrap();
    *ends[side].lock().await = Some(write);
    // A client's frame: the length, the mask, and what is masked.
    while let Ok(_first) = read.read_u8().await {
        let length = match read.read_u8().await.unwrap() & 0x7f {
            126 => usize::from(read.read_u16().await.unwrap()),
            short => usize::from(short),
        };
        let mut mask = [0; 4];
        read.read_exact(&mut mask).await.unwrap();
        let mut payload = vec![0; length];
        read.read_exact(&mut payload).await.unwrap();
        for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= key;
        }
        if let Some(other) = &mut *ends[1 - side].lock().await {
            other.write_all(&unmasked(&payload)).await.unwrap();
        }
    }
}

fn unmasked(payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    // RFC 6455, section 5.2: the shortest way to say it.
    let head = match u8::try_from(length) {
        Ok(short @ ..126) => vec![0x82, short],
        _ => [&[0x82, 126][..], &length.to_be_bytes()].concat(),
    };
    [&head[..], payload].concat()
}

async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    address
}

fn way(endpoint: &Endpoint, token: &str) -> Way {
    Way::new(endpoint.clone(), Zeroizing::new(token.to_owned()))
}

/// A tunnel whose SSH is at this address; answers where it is reached.
async fn tunnel(ssh: String) -> SocketAddr {
    told_tunnel(ssh).await.0
}

/// The same, with what either end notes about it.
async fn told_tunnel(ssh: String) -> (SocketAddr, mpsc::UnboundedReceiver<String>) {
    let endpoint = server().await;
    let destination = way(&endpoint, "destination");
    let services = Services::from([("SSH".to_owned(), ssh)]);
    let (there, mut heard) = mpsc::unbounded_channel();
    let (note, noted) = mpsc::unbounded_channel();
    let from_light = note.clone();
    tokio::spawn(async move {
        serve(&destination, &services, |event| match event {
            Event::Begun(_) => {}
            Event::Unreached(reason) => drop(from_light.send(reason)),
        })
        .await
    });
    let source = way(&endpoint, "source");
    tokio::spawn(async move {
        let listen = ["0".parse().unwrap()];
        carry(&source, &listen, |told| match told {
            Told::There(ports) => there.send(ports[0].0).unwrap(),
            // Nobody may want to know.
            Told::Note(text) => drop(note.send(text)),
        })
        .await
    });
    let address = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    (address, noted)
}

async fn noted(notes: &mut mpsc::UnboundedReceiver<String>, text: &str) {
    let note = timeout(PATIENCE, notes.recv()).await.unwrap().unwrap();
    assert!(note.contains(text), "{note}");
}

async fn echoed(tcp: &mut TcpStream, sent: &[u8]) -> Vec<u8> {
    let (mut read, mut write) = tcp.split();
    let mut back = vec![0; sent.len()];
    let both = async { tokio::join!(write.write_all(sent), read.read_exact(&mut back)) };
    let (written, came) = timeout(PATIENCE, both).await.unwrap();
    written.unwrap();
    came.unwrap();
    back
}

#[tokio::test]
async fn bytes_go_through_one_connection_after_the_other() {
    let address = tunnel(echo().await).await;
    for size in [1, 1_000_000, 3] {
        let mut tcp = TcpStream::connect(address).await.unwrap();
        let sent: Vec<u8> = (0..size).map(|n: u32| n.to_le_bytes()[1]).collect();
        assert!(echoed(&mut tcp, &sent).await == sent, "{size}");
    }
}

#[tokio::test]
async fn a_client_that_has_said_all_still_hears_the_rest() {
    let mut tcp = TcpStream::connect(tunnel(echo().await).await)
        .await
        .unwrap();
    let sent = vec![7; 1_000_000];
    let (mut read, mut write) = tcp.split();
    let mut back = Vec::new();
    let both = async {
        let say = async {
            write.write_all(&sent).await.unwrap();
            write.shutdown().await.unwrap();
        };
        tokio::join!(say, read.read_to_end(&mut back)).1
    };
    timeout(PATIENCE, both).await.unwrap().unwrap();
    assert!(back == sent, "{} of {} bytes", back.len(), sent.len());
}

#[tokio::test]
async fn a_second_client_is_refused_while_the_first_is_served() {
    let (address, mut notes) = told_tunnel(echo().await).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    assert_eq!(echoed(&mut first, b"first").await, b"first");
    let mut second = TcpStream::connect(address).await.unwrap();
    let read = timeout(PATIENCE, second.read(&mut [0; 1])).await.unwrap();
    assert!(matches!(read, Ok(0)), "{read:?}");
    noted(&mut notes, "one stream at a time").await;
    assert_eq!(echoed(&mut first, b"still").await, b"still");
    drop(first);
    let mut third = TcpStream::connect(address).await.unwrap();
    assert_eq!(echoed(&mut third, b"third").await, b"third");
}

#[tokio::test]
async fn a_light_that_is_not_there_is_told_of() {
    let endpoint = server().await;
    let source = way(&endpoint, "source");
    let (there, mut heard) = mpsc::unbounded_channel();
    let (note, mut notes) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let listen = ["0".parse().unwrap()];
        carry(&source, &listen, |told| match told {
            Told::There(ports) => there.send(ports[0].0).unwrap(),
            Told::Note(text) => note.send(text).unwrap(),
        })
        .await
    });
    let address = timeout(PATIENCE, heard.recv()).await.unwrap().unwrap();
    let _client = TcpStream::connect(address).await.unwrap();
    noted(&mut notes, "nothing has come back").await;
}

#[tokio::test]
async fn a_client_that_goes_is_nothing_to_tell() {
    let (address, mut notes) = told_tunnel(echo().await).await;
    let reset = TcpStream::connect(address).await.unwrap();
    reset.set_zero_linger().unwrap();
    drop(reset);
    let mut tcp = TcpStream::connect(address).await.unwrap();
    assert_eq!(echoed(&mut tcp, b"next").await, b"next");
    let note = notes.try_recv();
    assert!(note.is_err(), "{note:?}");
}

/// A tunnel that is closed: nothing is to be tried again.
#[tokio::test]
async fn a_tunnel_that_is_over_is_not_said_to_be_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for accepted in [true, true, false] {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let head = head(&mut tcp).await;
            let answer = if accepted {
                format!(
                    "HTTP/1.1 101 Switching Protocols\r\nsec-websocket-accept: {}\r\n\
                     sec-websocket-protocol: {SUBPROTOCOL}\r\n\r\n",
                    accept(&head),
                )
            } else {
                "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned()
            };
            tcp.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let source = way(&format!("ws://127.0.0.1:{port}").parse().unwrap(), "source");
    let notes = std::cell::Cell::new(0);
    let listen = ["0".parse().unwrap()];
    let cut = carry(&source, &listen, |told| {
        notes.set(notes.get() + u32::from(matches!(told, Told::Note(_))));
    });
    let cut = timeout(PATIENCE, cut).await.unwrap();
    assert!(matches!(cut, Cut::Refused(_)), "{cut:?}");
    assert_eq!(notes.get(), 1, "of the connection that was worth another");
}

#[tokio::test]
async fn a_service_that_is_not_there_ends_the_connection() {
    let (address, mut notes) = told_tunnel("127.0.0.1:1".to_owned()).await;
    let mut tcp = TcpStream::connect(address).await.unwrap();
    let mut rest = Vec::new();
    let read = timeout(PATIENCE, tcp.read_to_end(&mut rest)).await.unwrap();
    assert!(read.is_err() || rest.is_empty());
    let mut said = Vec::new();
    for _ in 0..2 {
        said.push(timeout(PATIENCE, notes.recv()).await.unwrap().unwrap());
    }
    said.sort();
    let wanted = [
        "SSH: the light's end closed the stream before",
        "the service SSH at 127.0.0.1:1: Connection refused",
    ];
    for (said, wanted) in said.iter().zip(wanted) {
        assert!(said.starts_with(wanted), "{said}");
    }
}

#[tokio::test]
async fn a_token_of_the_other_side_is_refused_and_a_port_needs_its_service() {
    let endpoint = server().await;
    let wrong = way(&endpoint, "destination");
    let refused = carry(&wrong, &["0".parse().unwrap()], |_| {}).await;
    assert!(matches!(refused, Cut::Refused(_)), "{refused:?}");
    let source = way(&endpoint, "source");
    let unfit = carry(&source, &["VNC=0".parse().unwrap()], |_| {}).await;
    assert!(matches!(unfit, Cut::Unfit(_)), "{unfit:?}");
    let destination = way(&endpoint, "destination");
    let unfit = serve(&destination, &Services::new(), |_| {}).await;
    assert!(matches!(unfit, Cut::Unfit(_)), "{unfit:?}");
    let nowhere = way(&"ws://127.0.0.1:1".parse().unwrap(), "source");
    let lost = carry(&nowhere, &["0".parse().unwrap()], |_| {}).await;
    assert!(matches!(lost, Cut::Lost(_)), "{lost:?}");
}
