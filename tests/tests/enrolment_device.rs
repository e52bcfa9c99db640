//! The reference device comes back with a token: over HTTP as nobody, and then
//! by MQTT until its new certificate is its only one.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use lamplighter_tests::cloud::Cloud;
use lamplighter_tests::device::unique;
use lamplighter_tests::inventory::{iot, principals, row};
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::removal::ended;
use lamplighter_tests::running;
use serde_json::Value;

/// A created device whose keys are in a directory of its own.
struct Running {
    thing: String,
    keys: PathBuf,
}

impl Running {
    fn create() -> Self {
        let (thing, keys) = (unique("enrol"), std::env::temp_dir().join(unique("keys")));
        let light = Self { thing, keys };
        let created = light.says(&["device", "create", &light.thing], None);
        assert!(created.status.success(), "{created:?}");
        light
    }

    /// Runs `lamp` as nobody: without the caller's credentials, where a token
    /// comes by standard input.
    fn says(&self, words: &[&str], input: Option<&str>) -> Output {
        let mut command = lamp();
        command.args(words).args(["--output", "json"]);
        if words[1] != "enrolment-token" {
            command.arg("--keys-dir").arg(&self.keys);
        }
        if input.is_some() {
            command.env("LAMP_OUTPUTS", self.without_credentials());
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lamp runs");
        let mut stdin = child.stdin.take().expect("it is piped");
        let sent = stdin.write_all(input.unwrap_or_default().as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("it ends");
        assert!(sent.is_ok() || !output.status.success());
        output
    }

    fn without_credentials(&self) -> PathBuf {
        let cloud = Cloud::open();
        let names = ["api_url", "region", "mqtt_host", "mqtt_ca"];
        let mut kept: Value = names
            .map(|name| (name, cloud.output(name)))
            .into_iter()
            .collect();
        kept["mqtt_port"] = cloud.port().into();
        let path = self.keys.join("outputs.json");
        fs::write(&path, kept.to_string()).expect("a writable directory");
        path
    }

    fn token(&self) -> String {
        let words = [
            "device",
            "enrolment-token",
            &self.thing,
            "--reason",
            "a test",
        ];
        let issued = self.says(&words, None);
        assert!(issued.status.success(), "{issued:?}");
        let token = &documents(&issued)[0]["token"];
        format!("{}\n", token.as_str().expect("a token"))
    }

    fn enrol(&self, token: &str) -> Output {
        let words = ["device", "enrol", "--thing", &self.thing, "--token", "-"];
        let short = ["--for", "60", "--repeat-every", "2"];
        self.says(&[&words[..], &short].concat(), Some(token))
    }

    fn loses(&self, file: &str) {
        let path = self.keys.join(file.replace("{}", &self.thing));
        let gone = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        gone.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.keys);
    }
}

/// The device itself: with nothing left of its pair, and with a pair that is
/// refused.
async fn enrolled_by_lamp(lost: bool) {
    let cloud = Cloud::open();
    let light = Running::create();
    let record = row(&cloud, &format!("DEVICE#{}", light.thing), "RECORD").await;
    let old = record["certificateId"]["S"].as_str().expect("an id");
    if lost {
        light.loses("{}.key.pem");
        light.loses("{}.cert.pem");
    } else {
        let path = format!("/certificates/{old}?newStatus=INACTIVE");
        assert_eq!(iot(&cloud, "PUT", &path, &Value::Null).await.status, 200);
    }
    let token = light.token();
    let enrolled = light.enrol(&token);
    assert_eq!(enrolled.status.code(), Some(0), "{enrolled:?}");
    let said = documents(&enrolled);
    let new = said[0]["certificateId"].as_str().expect("an id");
    for event in ["enrolled", "connected", "proved", "retired"] {
        assert!(
            said.iter().any(|line| line["event"] == event),
            "{event}: {said:?}"
        );
    }
    let rotation = said[0]["rotationId"].as_str().expect("an id");
    assert_eq!(ended(&cloud, rotation).await, "DONE");
    let attached = principals(&cloud, &light.thing).await;
    assert!(
        attached.len() == 1 && attached[0].ends_with(new),
        "{attached:?}"
    );
    // What it has stored is what it comes back with.
    let device = running::Running::start(&light.thing, &light.keys, &[]);
    device.says("connected").await;
    let said = device.stop();
    assert_eq!(said[0]["event"], "connected", "{said:?}");
    assert_eq!(said[0]["certificateId"], new, "{said:?}");
    let text = format!("{enrolled:?}{said:?}");
    assert!(!text.contains(token.trim()), "the token is shown");
    assert!(
        Path::new(&light.keys)
            .join(format!("{}.wallet", light.thing))
            .is_dir()
    );
}

#[tokio::test]
async fn the_reference_device_comes_back_without_a_pair() {
    enrolled_by_lamp(true).await;
}

#[tokio::test]
async fn the_reference_device_comes_back_from_a_pair_that_is_refused() {
    enrolled_by_lamp(false).await;
}
