//! Lights that offer tunnels, and AWS IoT Secure Tunneling asked past Lamplighter.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cloud::{Ask, Cloud, Reply};
use crate::delivery::PATIENCE;
use crate::device::unique;
use crate::lamp::{documents, lamp, run};

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
    /// Its name.
    pub thing: String,
    /// Where its key is, and room for more.
    pub keys: PathBuf,
    device: Option<Child>,
}

impl Light {
    /// Creates one, whose keys are in a directory of its own.
    pub fn create() -> Self {
        let (thing, keys) = (unique("dug"), std::env::temp_dir().join(unique("keys")));
        let created = lamp()
            .args(["device", "create", &thing, "--keys-dir"])
            .arg(&keys)
            .output()
            .expect("lamp runs");
        assert!(created.status.success(), "{created:?}");
        Self {
            thing,
            keys,
            device: None,
        }
    }

    /// Lets it connect, with SSH at this address.
    pub async fn connect(&mut self, cloud: &Cloud, ssh: &str) {
        let device = lamp()
            .args(["device", "run", "--thing", &self.thing, "--output", "json"])
            .args(["--for", "60", "--tunnel-services", &format!("SSH={ssh}")])
            .arg("--keys-dir")
            .arg(&self.keys)
            .stdout(Stdio::piped())
            .spawn()
            .expect("lamp runs");
        self.device = Some(device);
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

    /// Stops it; answers what it has said.
    pub fn stop(&mut self) -> Vec<Value> {
        let Some(device) = self.device.take() else {
            return Vec::new();
        };
        let id = device.id().to_string();
        let asked = std::process::Command::new("kill").arg(&id).status();
        assert!(asked.expect("kill runs").success());
        documents(&device.wait_with_output().expect("it ends"))
    }

    /// A request for a tunnel to it.
    pub fn open(&self) -> Ask {
        ask(&self.thing, &body())
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        if let Some(device) = &mut self.device {
            let _ = device.kill();
            let _ = device.wait();
        }
        let _ = fs::remove_dir_all(&self.keys);
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
