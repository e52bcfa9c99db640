//! Lights that offer tunnels, and AWS IoT Secure Tunneling asked past Lamplighter.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::ops::Deref;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud, Reply};
use crate::delivery::PATIENCE;
use crate::lamp::{lamp, run};
use crate::running::{Created, Running};

/// Calls an operation, as root, once it is its turn: a second has one
/// `OpenTunnel`, whoever makes it.
pub async fn tunnels(cloud: &Cloud, operation: &str, body: &Value) -> Reply {
    let ask = Ask::new("POST", "/")
        .text(body.to_string())
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("IoTSecuredTunneling.{operation}"));
    loop {
        let reply = cloud.aws("IoTSecuredTunneling", &ask).await;
        if !reply.text.contains("ThrottlingException") {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Opens a tunnel to a thing.
pub async fn opened(cloud: &Cloud, thing: &str) -> Value {
    let ends = json!({"destinationConfig": {"thingName": thing, "services": ["SSH"]}});
    tunnels(cloud, "OpenTunnel", &ends).await.expect(200)
}

/// The ids of a thing's tunnels that are open in AWS.
pub async fn open_in_aws(cloud: &Cloud, thing: &str) -> Vec<String> {
    let listed = tunnels(cloud, "ListTunnels", &json!({"thingName": thing})).await;
    let listed = listed.expect(200);
    let all = listed["tunnelSummaries"]
        .as_array()
        .expect("tunnels")
        .iter();
    all.filter(|tunnel| tunnel["status"] != "CLOSED")
        .map(|tunnel| tunnel["tunnelId"].as_str().expect("an id").to_owned())
        .collect()
}

/// A light that runs, and offers SSH somewhere.
#[derive(Debug)]
pub struct Light {
    light: Created,
    running: Option<Running>,
}

impl Deref for Light {
    type Target = Created;

    fn deref(&self) -> &Created {
        &self.light
    }
}

impl Light {
    /// Creates one, which is not switched on.
    pub fn create() -> Self {
        Self {
            light: Created::new("dug", &[]),
            running: None,
        }
    }

    /// Lets it connect, with SSH at this address.
    pub async fn connect(&mut self, cloud: &Cloud, ssh: &str) {
        self.running = Some(self.run(&["--tunnel-services", &format!("SSH={ssh}")]));
        let started = Instant::now();
        let ask = Ask::new("GET", format!("/connections/{}", self.thing));
        while cloud.aws("iotdata", &ask).await.json()["connected"] != true {
            assert!(started.elapsed() < PATIENCE, "it never connects");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// One that is connected, and whose SSH is not there.
    pub async fn connected(cloud: &Cloud) -> Self {
        let mut light = Self::create();
        light.connect(cloud, "127.0.0.1:1").await;
        light
    }

    /// Waits until it says so of its tunnels.
    pub async fn says(&self, event: &str) -> Value {
        let running = self.running.as_ref().expect("it is switched on");
        running.says(event).await
    }

    /// Stops it; answers what it has said.
    pub fn stop(&mut self) -> Vec<Value> {
        self.running.take().map(Running::stop).unwrap_or_default()
    }

    /// A request for a tunnel to it.
    pub fn open(&self) -> Ask {
        ask(&self.thing, &body())
    }
}

/// `lamp tunnel open` to a light, with its token in a file.
pub fn opened_by_lamp(thing: &str, file: &str) -> Output {
    let service = [
        "tunnel",
        "open",
        thing,
        "--service",
        "SSH",
        "--minutes",
        "30",
    ];
    let reason = ["--reason", "the lamp does not switch"];
    let opened = run(&[&service[..], &reason, &["--token-file", file, "--proxy"]].concat());
    assert!(opened.status.success(), "{opened:?}");
    opened
}

/// `lamp tunnel connect`, and where it listens.
pub fn through(token: &str) -> (Child, SocketAddr) {
    let mut proxy = lamp()
        .args(["tunnel", "connect", "--token-file", token])
        .args(["--listen", "0", "--output", "json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("lamp runs");
    let mut line = String::new();
    let mut said = BufReader::new(proxy.stdout.take().expect("a pipe"));
    said.read_line(&mut line).expect("a line");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(line["service"], "SSH", "{line}");
    let address = line["listening"].as_str().expect("an address");
    (proxy, address.parse().expect("an address"))
}

/// What is asked for.
pub fn body() -> Value {
    json!({"services": ["SSH"], "minutes": 30, "reason": "a test"})
}

/// A request for a tunnel.
pub fn ask(thing: &str, body: &Value) -> Ask {
    Ask::new("POST", format!("/devices/{thing}/tunnels")).text(body.to_string())
}
