//! A device that can make no signing request is renewed by a new hand-out: its
//! key is made and kept by the service until the device has proved it.

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use lamplighter_tests::cases::{opened, secured};
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{PATIENCE, created, deliver};
use lamplighter_tests::device::unique;
use lamplighter_tests::inventory::{describe, principals, row, versions};
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::removal::{deleted, ended, operation};
use lamplighter_tests::running::Running;
use serde_json::{Value, json};

/// A keys directory, gone when the test is.
struct Keys(PathBuf);

impl Keys {
    fn lamp(&self, arguments: &[&str]) -> Output {
        lamp()
            .args(arguments)
            .args(["--output", "json", "--keys-dir"])
            .arg(&self.0)
            .output()
            .expect("lamp runs")
    }

    /// Switches the device on.
    fn run(&self, thing: &str) -> Running {
        Running::start(thing, &self.0, &[])
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A device in custody: its name and its certificate.
async fn in_custody(cloud: &Cloud) -> (String, String) {
    let thing = unique("handed");
    let device = created(cloud, &json!({"thingName": thing})).await;
    let id = device["certificateId"].as_str().expect("an id");
    (thing, id.to_owned())
}

fn renewal(thing: &str, body: &Value) -> Ask {
    let path = format!("/devices/{thing}/certificate/renewal");
    Ask::new("POST", path).text(body.to_string())
}

/// Starts a renewal; answers the rotation.
async fn renewing(cloud: &Cloud, thing: &str, body: &Value) -> String {
    let answer = deliver(cloud, &renewal(thing, body)).await.expect(202);
    answer["operationId"].as_str().expect("an id").to_owned()
}

/// Stores a certificate's key once more, as it is, so that it has two versions.
async fn stored_again(cloud: &Cloud, thing: &str, certificate: &str) {
    let (pk, sk) = (format!("DEVICE#{thing}"), format!("CERT#{certificate}"));
    let record = row(cloud, &pk, &sk).await;
    let object = record["keyObject"]["S"].as_str().expect("a key object");
    let path = format!("/{}/{object}", cloud.stack("CustodyBucket"));
    let sealed = cloud.aws("s3", &Ask::new("GET", path.as_str())).await;
    let again = Ask::new("PUT", path).text(sealed.expect(200).to_string());
    assert_eq!(cloud.aws("s3", &again).await.status, 200);
}

async fn key_objects(cloud: &Cloud, thing: &str) -> usize {
    versions(cloud, &format!("keys/{thing}/")).await.len()
}

async fn phase(cloud: &Cloud, thing: &str, phase: &str) {
    let started = Instant::now();
    loop {
        let rotation = row(cloud, &format!("DEVICE#{thing}"), "ROTATION").await;
        if rotation["phase"]["S"] == phase {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "never {phase}: {rotation}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until a rotation has ended, and was not in vain.
async fn is_done(cloud: &Cloud, rotation: &str, device: &Running) {
    assert_eq!(
        ended(cloud, rotation).await,
        "DONE",
        "{:?} {}",
        device.said(),
        operation(cloud, rotation).await
    );
}

fn events(said: &[Value]) -> Vec<&str> {
    let names = said.iter().filter_map(|line| line["event"].as_str());
    names.filter(|name| *name != "disconnected").collect()
}

#[tokio::test]
async fn a_light_is_brought_its_new_pair_and_proves_it() {
    let cloud = Cloud::open();
    let (thing, old) = in_custody(&cloud).await;
    let keys = Keys(std::env::temp_dir().join(unique("keys")));
    let first = keys.lamp(&["device", "credentials", &thing]);
    assert!(first.status.success(), "{first:?}");
    let device = keys.run(&thing);

    let asked = lamp()
        .args(["device", "renew", &thing, "--vault", "--output", "json"])
        .output()
        .expect("lamp runs");
    assert_eq!(asked.status.code(), Some(4), "{asked:?}");
    let rotation = documents(&asked)[0]["operationId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let brought = keys.lamp(&["device", "credentials", &thing]);
    assert!(brought.status.success(), "{brought:?}");
    let new = documents(&brought)[0]["certificateId"].clone();
    assert_eq!(documents(&brought)[0]["rotationId"], *rotation);
    assert_ne!(new, *old);
    let pair = fs::read_to_string(keys.0.join(format!("{thing}.key.pem")));
    assert!(
        !brought.stdout.is_empty() && pair.is_ok(),
        "the first pair stays"
    );
    let again = cloud.api(&Ask::credentials(&thing)).await;
    assert_eq!(again.expect(410)["code"], "NotFound");

    is_done(&cloud, &rotation, &device).await;
    device.says("retired").await;
    let said = device.stop();
    let expected = [
        "connected",
        "handedOut",
        "connected",
        "promoted",
        "proved",
        "retired",
        "stopped",
    ];
    let heard = events(&said);
    let mut at = heard.iter();
    assert!(
        expected.iter().all(|event| at.any(|e| e == event)),
        "{heard:?}"
    );

    // The new one is the only one, and nothing of either key is in custody.
    let attached = principals(&cloud, &thing).await;
    let id = new.as_str().expect("an id");
    assert!(
        attached.len() == 1 && attached[0].ends_with(id),
        "{attached:?}"
    );
    let gone = describe(&cloud, &format!("/certificates/{old}")).await;
    assert_eq!(gone.status, 404, "{}", gone.text);
    assert_eq!(key_objects(&cloud, &thing).await, 0);
    let pk = format!("DEVICE#{thing}");
    let record = row(&cloud, &pk, "RECORD").await;
    assert_eq!(
        (&record["certificateId"]["S"], &record["custody"]["S"]),
        (&new, &json!("vault"))
    );
    let certificate = row(&cloud, &pk, &format!("CERT#{id}")).await;
    assert!(certificate["keyObject"].is_null(), "{certificate}");
    assert!(certificate["keyPurgedAt"].is_object() && certificate["handOut"].is_object());
    cloud.api(&Ask::credentials(&thing)).await.expect(410);
    let left = fs::read_dir(&keys.0).expect("a directory");
    let left: Vec<_> = left
        .map(|entry| entry.expect("a file").file_name())
        .collect();
    assert!(
        !left
            .iter()
            .any(|name| name.to_string_lossy().contains("renewed")),
        "{left:?}"
    );
}

#[tokio::test]
async fn a_light_whose_keys_were_lost_starts_with_the_new_pair() {
    let cloud = Cloud::open();
    let (thing, old) = in_custody(&cloud).await;
    cloud.api(&Ask::credentials(&thing)).await.expect(200);
    let rotation = renewing(&cloud, &thing, &json!({"custody": "vault"})).await;
    let keys = Keys(std::env::temp_dir().join(unique("keys")));
    let brought = keys.lamp(&["device", "credentials", &thing]);
    assert!(brought.status.success(), "{brought:?}");
    is_done(&cloud, &rotation, &keys.run(&thing)).await;
    let record = row(&cloud, &format!("DEVICE#{thing}"), "RECORD").await;
    assert_ne!(record["certificateId"]["S"], *old);
}

#[tokio::test]
async fn a_hand_out_that_nobody_uses_leaves_no_key_and_the_old_one_can_be_had() {
    let cloud = Cloud::open();
    let (thing, old) = in_custody(&cloud).await;
    // It was to answer itself, and turns out not to be able to.
    let rotation = renewing(&cloud, &thing, &json!({})).await;
    phase(&cloud, &thing, "REQUESTED").await;
    for _ in 0..2 {
        let turned = renewing(&cloud, &thing, &json!({"custody": "vault"})).await;
        assert_eq!(turned, rotation, "the same rotation");
    }
    phase(&cloud, &thing, "ISSUED").await;
    assert_eq!(key_objects(&cloud, &thing).await, 2);
    assert_eq!(ended(&cloud, &rotation).await, "FAILED");
    assert_eq!(key_objects(&cloud, &thing).await, 1);
    let renewed = Ask::credentials(&thing).text(r#"{"renewal":true}"#);
    assert_eq!(cloud.api(&renewed).await.expect(409)["field"], "renewal");
    let credentials = cloud.api(&Ask::credentials(&thing)).await.expect(200);
    assert_eq!(credentials["certificateId"], *old);
    assert!(credentials["rotationId"].is_null());
}

#[tokio::test]
async fn a_light_that_comes_to_make_its_own_key_leaves_none_in_custody() {
    let cloud = Cloud::open();
    let (thing, old) = in_custody(&cloud).await;
    stored_again(&cloud, &thing, &old).await;
    assert_eq!(key_objects(&cloud, &thing).await, 2);
    let keys = Keys(std::env::temp_dir().join(unique("keys")));
    assert!(
        keys.lamp(&["device", "credentials", &thing])
            .status
            .success()
    );
    let rotation = renewing(&cloud, &thing, &json!({"custody": "device"})).await;
    is_done(&cloud, &rotation, &keys.run(&thing)).await;
    assert_eq!(key_objects(&cloud, &thing).await, 0);
    let record = row(&cloud, &format!("DEVICE#{thing}"), "RECORD").await;
    assert_eq!(record["custody"]["S"], "device");
}

/// The operation that ended the rotation purges the key with all others.
#[tokio::test]
async fn a_rotation_that_is_cut_short_leaves_no_key() {
    let cloud = Cloud::open();
    for compromised in [false, true] {
        let (thing, _) = in_custody(&cloud).await;
        renewing(&cloud, &thing, &json!({"custody": "vault"})).await;
        phase(&cloud, &thing, "ISSUED").await;
        assert_eq!(key_objects(&cloud, &thing).await, 2);
        if compromised {
            let case = opened(&cloud, &thing, "confirmed").await;
            secured(&cloud, case["caseId"].as_str().expect("an id")).await;
            cloud.api(&Ask::credentials(&thing)).await.expect(403);
            cloud
                .api(&renewal(&thing, &json!({"custody": "vault"})))
                .await
                .expect(409);
        } else {
            deleted(&cloud, &thing).await;
        }
        assert_eq!(
            key_objects(&cloud, &thing).await,
            0,
            "compromised: {compromised}"
        );
    }
}
