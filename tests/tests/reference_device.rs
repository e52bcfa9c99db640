//! The reference device against a real broker: it connects by mutual TLS,
//! reports its shadow, publishes telemetry, and leaves when told to.

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::device::unique;
use lamplighter_tests::lamp::{documents, lamp};
use serde_json::Value;

/// A keys directory, gone when the test is.
struct Keys(PathBuf);

impl Keys {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(name))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let directory = self.0.to_str().expect("UTF-8");
        let output = lamp()
            .args(arguments)
            .args(["--keys-dir", directory, "--output", "json"])
            .output()
            .expect("lamp runs");
        assert!(output.status.success(), "{output:?}");
        output
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn a_device_connects_reports_and_leaves() {
    let cloud = Cloud::open();
    let (thing, keys) = (unique("reference"), Keys::new(&unique("keys")));
    keys.run(&["device", "create", &thing]);
    let run = keys.run(&[
        "device",
        "run",
        "--thing",
        &thing,
        "--for",
        "3",
        "--telemetry-every",
        "0.2",
        "--firmware",
        "2.1.0",
    ]);
    let said = documents(&run);
    assert_eq!(said[0]["event"], "connected", "{said:?}");
    let stopped = said.last().expect("a summary");
    assert_eq!(stopped["event"], "stopped", "{said:?}");
    assert_eq!(stopped["connections"], 1, "{said:?}");
    let acknowledged = stopped["acknowledged"].as_u64().expect("a number");
    assert!(acknowledged > 5, "{said:?}");
    let gap = stopped["longestGapMillis"].as_u64().expect("a number");
    assert!(gap < 2000, "{said:?}");

    let shadow = Ask::new("GET", format!("/things/{thing}/shadow"));
    let shadow = cloud.aws("iotdata", &shadow).await.expect(200);
    let reported = &shadow["state"]["reported"];
    assert_eq!(reported["firmware_version"], "2.1.0", "{shadow}");
    assert_eq!(
        reported["certificateId"], said[0]["certificateId"],
        "{shadow}"
    );
}

#[tokio::test]
async fn a_fleet_runs_in_one_process_and_a_stranger_is_refused() {
    let keys = Keys::new(&unique("keys"));
    let names = [unique("fleet"), unique("fleet"), unique("stranger")];
    let create = [
        &["device", "create"][..],
        &names.each_ref().map(String::as_str),
    ]
    .concat();
    keys.run(&create);
    // The stranger has the certificate of one of the others.
    for kind in ["key", "cert"] {
        let file = |name: &str| keys.0.join(format!("{name}.{kind}.pem"));
        fs::copy(file(&names[0]), file(&names[2])).expect("both are there");
    }
    let run = keys.run(&[
        "fleet",
        "run",
        "--devices",
        "3",
        "--for",
        "4",
        "--telemetry-every",
        "0.2",
    ]);
    let said = documents(&run);
    let of = |name: &str, event: &str| {
        let found = |line: &&Value| line["thingName"] == name && line["event"] == event;
        said.iter().filter(found).count()
    };
    for name in &names[..2] {
        assert_eq!(
            (of(name, "connected"), of(name, "refused")),
            (1, 0),
            "{said:?}"
        );
    }
    assert_eq!(of(&names[2], "connected"), 0, "{said:?}");
    assert!(of(&names[2], "refused") > 0, "{said:?}");
    assert_eq!(of(&names[2], "stopped"), 1, "{said:?}");
}
