//! A service that answers by a script, and a way to run `lamp` against it.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// What the service answers.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, &'static str)>,
    body: Value,
}

impl Reply {
    pub(crate) fn new(status: u16, body: Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    /// The request is taken, and the connection ends without a reply.
    pub(crate) fn lost() -> Self {
        Self::new(0, Value::Null)
    }

    pub(crate) fn header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What the service was sent.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) target: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

/// The service, with a directory of its own for the test's files.
pub(crate) struct Service {
    directory: PathBuf,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Service {
    /// Starts it; the script is asked with the number of the request.
    pub(crate) fn answering(script: impl Fn(usize) -> Reply + Clone) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("lamp-commands-{}-{number}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let service = Self {
            directory,
            seen: Arc::clone(&seen),
        };
        service.file(
            "outputs.json",
            &json!({ "api_url": format!("http://{}/api", listener.local_addr().unwrap()),
                     "region": "eu-south-1", "access_key_id": "AKID",
                     "secret_access_key": "SECRET", "session_token": "TOKEN" })
            .to_string(),
        );
        // A script may borrow from the test, so its answers are taken now; no
        // test sends more requests than this.
        let replies: Vec<Reply> = (0..16).map(script).collect();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (replies, seen) = (replies.clone(), Arc::clone(&seen));
                std::thread::spawn(move || serve(&stream, &replies, &seen));
            }
        });
        service
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.join(name).to_string_lossy().into_owned()
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        fs::write(self.directory.join(name), content).unwrap();
        self.path(name)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Answers the requests of one connection until it ends.
fn serve(mut stream: &TcpStream, replies: &[Reply], seen: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream);
    while let Some(request) = read(&mut reader) {
        let reply = {
            let mut seen = seen.lock().unwrap();
            seen.push(request);
            replies[seen.len() - 1].clone()
        };
        if reply.status == 0 {
            let _ = stream.shutdown(Shutdown::Both);
            return;
        }
        let body = reply.body.to_string();
        let headers = reply
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect::<Vec<_>>()
            .concat();
        let _ = write!(
            stream,
            "HTTP/1.1 {} Scripted\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            reply.status,
            body.len()
        );
    }
}

fn read(reader: &mut impl BufRead) -> Option<Seen> {
    let mut first = String::new();
    reader
        .read_line(&mut first)
        .ok()
        .filter(|length| *length > 0)?;
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    let length = headers
        .get("content-length")
        .map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Seen {
        target: first.split(' ').nth(1)?.to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `lamp` as the caller in the service's outputs file.
pub(crate) fn lamp(service: &Service, arguments: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_lamp"))
        .args(arguments)
        .env_clear()
        .env("LAMP_OUTPUTS", service.path("outputs.json"))
        .output()
        .unwrap();
    Run {
        exit: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
