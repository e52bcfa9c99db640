//! One connection to the proxy server, and the streams that go through it.
//!
//! What is read and what is written have a task each: two ends that both wait
//! until the other has read would wait for ever. Between them and TCP are
//! channels that hold few messages, so a slow reader slows its writer down, at
//! the other end of the tunnel, and nothing piles up here.

use std::collections::BTreeMap;
use std::future::pending;
use std::io;
use std::time::Duration;

use lamplighter_domain::tunnel::message::{Frames, Kind, Message};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};

use super::websocket::{self, Reader, Writer};
use super::{Cut, Side, Way};

/// How many messages wait in one direction of one stream.
const QUEUE: usize = 8;
/// How much is read from TCP at once; the protocol allows four times as much.
const PIECE: usize = 16 * 1024;
/// Firewalls forget connections on which nothing is said for a minute or so.
const PING_EVERY: Duration = Duration::from_secs(30);
/// For an answer, or its next part, to a client that has said all. The protocol
/// cannot tell the service so: it has the end of a stream for both directions
/// only.
const QUIET: Duration = if cfg!(test) {
    Duration::from_secs(1)
} else {
    Duration::from_secs(5)
};

/// A live connection.
pub(super) struct Link {
    reader: Reader,
    frames: Frames,
    out: mpsc::Sender<Message>,
    open: BTreeMap<String, Stream>,
    tasks: JoinSet<()>,
}

/// A stream, as the tunnel sees it.
struct Stream {
    id: i32,
    to_tcp: mpsc::Sender<Vec<u8>>,
}

impl Link {
    pub(super) async fn open(way: &Way, side: Side) -> Result<Self, Cut> {
        let (reader, writer) = websocket::connect(way, side).await?;
        let (out, waiting) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        tasks.spawn(say(writer, waiting));
        Ok(Self {
            reader,
            frames: Frames::default(),
            out,
            open: BTreeMap::new(),
            tasks,
        })
    }

    /// The next messages; none, if what came was less than one. Whoever stops
    /// waiting for them loses nothing.
    pub(super) async fn next(&mut self) -> Result<Vec<Message>, Cut> {
        match self.reader.next().await {
            Ok(Some(bytes)) => {
                self.frames.push(&bytes);
                let messages = self.frames.take();
                messages.map_err(|malformed| Cut::Lost(malformed.to_string()))
            }
            Ok(None) => Err(Cut::Lost("the proxy server has closed it".to_owned())),
            Err(reason) => Err(Cut::Lost(reason)),
        }
    }

    pub(super) async fn send(&self, message: Message) {
        // If nobody takes it, the connection is over, and its reader says so.
        let _ = self.out.send(message).await;
    }

    /// A stream begins; one that the service had is over. `client` is told when
    /// the client has said all, which then is not the end of the stream, and is
    /// dropped at that.
    pub(super) fn begin(
        &mut self,
        service: &str,
        id: i32,
        tcp: impl Future<Output = io::Result<TcpStream>> + Send + 'static,
        client: Option<watch::Sender<bool>>,
    ) {
        let (to_tcp, from_tunnel) = mpsc::channel(QUEUE);
        self.open.insert(service.to_owned(), Stream { id, to_tcp });
        while self.tasks.try_join_next().is_some() {}
        let (out, service) = (self.out.clone(), service.to_owned());
        self.tasks.spawn(async move {
            if let Ok(tcp) = tcp.await {
                pipe(
                    tcp,
                    from_tunnel,
                    &out,
                    (service.as_str(), id),
                    client.as_ref(),
                )
                .await;
            }
            let over = Message::of(Kind::StreamReset, &service, id);
            let _ = out.send(over).await;
            drop(client);
        });
    }

    /// Whether a stream goes on at this end.
    pub(super) fn carries(&self, service: &str, id: i32) -> bool {
        let stream = self.open.get(service);
        stream.is_some_and(|stream| stream.id == id && !stream.to_tcp.is_closed())
    }

    /// What the tunnel says of streams. A message of one that is over is stale.
    pub(super) async fn take(&mut self, message: Message) {
        let current = |stream: &&Stream| stream.id == message.stream_id;
        match message.kind {
            Kind::Data => {
                let stream = self.open.get(&message.service).filter(current);
                if let Some(stream) = stream
                    && stream.to_tcp.send(message.payload).await.is_err()
                {
                    self.open.remove(&message.service);
                }
            }
            Kind::StreamReset => {
                let stream = self.open.get(&message.service);
                if stream.is_some_and(|stream| stream.id == message.stream_id) {
                    self.open.remove(&message.service);
                }
            }
            Kind::SessionReset => self.open.clear(),
            Kind::StreamStart | Kind::ServiceIds | Kind::Other(_) => {}
        }
    }
}

/// Says what is to be said.
async fn say(mut writer: Writer, mut waiting: mpsc::Receiver<Message>) {
    let mut ping = interval(PING_EVERY);
    ping.tick().await;
    loop {
        let said = tokio::select! {
            message = waiting.recv() => match message {
                Some(message) => writer.bytes(message.frame()).await,
                None => return,
            },
            _ = ping.tick() => writer.ping().await,
        };
        if said.is_err() {
            return;
        }
    }
}

/// Carries a TCP connection until either side ends it. What has come through
/// the tunnel by then is still delivered if it was the tunnel; what is yet to
/// come, if it was a client that may be waiting for an answer.
async fn pipe(
    tcp: TcpStream,
    mut from_tunnel: mpsc::Receiver<Vec<u8>>,
    out: &mpsc::Sender<Message>,
    (service, id): (&str, i32),
    client: Option<&watch::Sender<bool>>,
) {
    let _ = tcp.set_nodelay(true);
    let (mut read, mut write) = tcp.into_split();
    let up = async {
        let mut buffer = vec![0; PIECE];
        while let Ok(length) = read.read(&mut buffer).await {
            if length == 0 {
                return said_all(client).await;
            }
            let data = Message::data(service, id, &buffer[..length]);
            if out.send(data).await.is_err() {
                return;
            }
        }
    };
    let down = async {
        loop {
            let bytes = tokio::select! {
                bytes = from_tunnel.recv() => bytes,
                () = quiet(client) => None,
            };
            let Some(bytes) = bytes else { break };
            if write.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
}

/// A side has said all. If it is a client, the stream goes on.
async fn said_all(client: Option<&watch::Sender<bool>>) {
    if let Some(client) = client {
        client.send_replace(true);
        pending::<()>().await;
    }
}

/// Waits until the client has said all, and then for as long as an answer may
/// take.
async fn quiet(client: Option<&watch::Sender<bool>>) {
    let Some(client) = client else {
        return pending().await;
    };
    let mut said_all = client.subscribe();
    // It ends no sooner than the sender, which is here.
    let _ = said_all.wait_for(|said_all| *said_all).await.is_ok();
    sleep(QUIET).await;
}
