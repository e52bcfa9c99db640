//! A broker for the tests of one device: TLS with client certificates, and as
//! much of MQTT 3.1.1 as the device uses.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use lamplighter_domain::names::CertificateId;
use rumqttc::tokio_rustls::TlsAcceptor;
use rumqttc::tokio_rustls::rustls::crypto::aws_lc_rs;
use rumqttc::tokio_rustls::rustls::pki_types::pem::PemObject;
use rumqttc::tokio_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rumqttc::tokio_rustls::rustls::server::WebPkiClientVerifier;
use rumqttc::tokio_rustls::rustls::{RootCertStore, ServerConfig};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::{Authority, Scratch};

/// What a device does, as the other side sees it.
#[derive(Clone, Debug)]
pub(in crate::reference) enum Seen {
    /// It wants to connect.
    Connect,
    /// It has subscribed.
    Subscribe,
    /// It publishes a JSON document.
    Publish(String, Value),
}

/// What the broker does about it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::reference) enum Answer {
    /// As a broker does.
    Nothing,
    /// Sends a message to the device.
    Send(String, Value),
    /// Closes the connection.
    HangUp,
}

/// Answers what a device does, which does it with this certificate.
pub(in crate::reference) type Script =
    Arc<Mutex<dyn FnMut(&CertificateId, &Seen) -> Answer + Send>>;

/// Starts a broker; gives its port, and a file with its authority.
pub(in crate::reference) async fn start(
    scratch: &Scratch,
    authority: &Authority,
    script: Script,
) -> (u16, PathBuf) {
    let ca = scratch.path().join("ca.pem");
    std::fs::write(&ca, &authority.pem).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = acceptor(authority);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A device that hangs up, or is hung up on, ends its task only.
            tokio::spawn(serve(acceptor.clone(), stream, Arc::clone(&script)));
        }
    });
    (port, ca)
}

fn acceptor(authority: &Authority) -> TlsAcceptor {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider))
        .build()
        .unwrap();
    let (key, certificate) = authority.server();
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![certificate.into()],
            PrivatePkcs8KeyDer::from(key).into(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(acceptor: TlsAcceptor, stream: TcpStream, script: Script) -> Option<()> {
    let mut stream = acceptor.accept(stream).await.ok()?;
    let who = stream.get_ref().1.peer_certificates()?.first()?;
    let who = CertificateId::of_der(who);
    loop {
        let (kind, body) = packet(&mut stream).await?;
        let (reply, seen) = match kind >> 4 {
            1 => (vec![0x20, 2, 0, 0], Seen::Connect),
            8 => (suback(&body), Seen::Subscribe),
            3 => {
                let (id, topic, payload) = publish(&body);
                (vec![0x40, 2, id[0], id[1]], Seen::Publish(topic, payload))
            }
            14 => return None,
            // Acknowledgements and pings are of no interest here.
            _ => continue,
        };
        let answer = {
            let mut script = script.lock().unwrap();
            (*script)(&who, &seen)
        };
        if answer == Answer::HangUp {
            return None;
        }
        stream.write_all(&reply).await.ok()?;
        if let Answer::Send(topic, payload) = answer {
            stream.write_all(&message(&topic, &payload)).await.ok()?;
        }
        stream.flush().await.ok()?;
    }
}

/// A packet's first byte, and what follows its length.
async fn packet(stream: &mut (impl AsyncRead + Unpin)) -> Option<(u8, Vec<u8>)> {
    let kind = stream.read_u8().await.ok()?;
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = stream.read_u8().await.ok()?;
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((kind, body))
}

/// Grants what a SUBSCRIBE asks for.
fn suback(body: &[u8]) -> Vec<u8> {
    let (id, mut rest) = body.split_at(2);
    let mut granted = Vec::new();
    while let [high, low, filter @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        granted.push(filter[length]);
        rest = &filter[length + 1..];
    }
    let length = u8::try_from(2 + granted.len()).unwrap();
    [&[0x90, length], id, &granted].concat()
}

/// The packet's id, topic and payload of a PUBLISH with `QoS` 1.
fn publish(body: &[u8]) -> ([u8; 2], String, Value) {
    let length = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let (topic, rest) = body[2..].split_at(length);
    let topic = String::from_utf8(topic.to_vec()).unwrap();
    let payload = serde_json::from_slice(&rest[2..]).unwrap();
    ([rest[0], rest[1]], topic, payload)
}

/// A PUBLISH with `QoS` 0.
fn message(topic: &str, payload: &Value) -> Vec<u8> {
    let payload = payload.to_string();
    let mut length = 2 + topic.len() + payload.len();
    let mut bytes = vec![0x30];
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        bytes.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
    bytes.extend(topic.bytes().chain(payload.bytes()));
    bytes
}
