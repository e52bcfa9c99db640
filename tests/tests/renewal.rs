//! Renewal by a real device: it connects by mutual TLS, is asked, makes its
//! own key, and proves its new certificate, while it goes on publishing.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{PATIENCE, deliver};
use lamplighter_tests::device::unique;
use lamplighter_tests::inventory::{describe, principals, row};
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::removal::{ended, operation};
use serde_json::Value;

/// A created device whose keys are in a directory of its own.
struct Light {
    thing: String,
    keys: PathBuf,
}

impl Light {
    fn create(issuer: &str) -> Self {
        let (thing, keys) = (unique("renew"), std::env::temp_dir().join(unique("keys")));
        let created = lamp()
            .args([
                "device", "create", &thing, "--issuer", issuer, "--output", "json",
            ])
            .arg("--keys-dir")
            .arg(&keys)
            .output()
            .expect("lamp runs");
        assert!(created.status.success(), "{created:?}");
        Self { thing, keys }
    }

    /// Starts the device for some seconds.
    fn run(&self, seconds: u32, rest: &[&str]) -> Child {
        lamp()
            .args(["device", "run", "--thing", &self.thing, "--output", "json"])
            .args(["--for", &seconds.to_string()])
            .args(["--telemetry-every", "0.2", "--repeat-every", "2"])
            .args(rest)
            .arg("--keys-dir")
            .arg(&self.keys)
            .stdout(Stdio::piped())
            .spawn()
            .expect("lamp runs")
    }

    async fn renew(&self, cloud: &Cloud) -> String {
        let ask = Ask::new(
            "POST",
            format!("/devices/{}/certificate/renewal", self.thing),
        );
        let answer = deliver(cloud, &ask).await.expect(202);
        answer["operationId"].as_str().expect("an id").to_owned()
    }

    /// The one certificate that the device has, as registry and AWS agree.
    async fn only_certificate(&self, cloud: &Cloud) -> String {
        let record = row(cloud, &format!("DEVICE#{}", self.thing), "RECORD").await;
        let id = record["certificateId"]["S"]
            .as_str()
            .expect("an id")
            .to_owned();
        let attached = principals(cloud, &self.thing).await;
        assert_eq!(attached.len(), 1, "{attached:?}");
        assert!(attached[0].ends_with(&id), "{attached:?} {id}");
        id
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.keys);
    }
}

fn of<'a>(said: &'a [Value], event: &str) -> Vec<&'a Value> {
    said.iter().filter(|line| line["event"] == event).collect()
}

async fn renewed(issuer: &str) {
    let cloud = Cloud::open();
    let light = Light::create(issuer);
    let old = light.only_certificate(&cloud).await;
    let device = light.run(25, &[]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let done = lamp()
        .args([
            "device",
            "renew",
            &light.thing,
            "--wait",
            "--output",
            "json",
        ])
        .output()
        .expect("lamp runs");
    let proved = &documents(&done)[0];
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert!(proved["rotation"]["provenAt"].is_u64(), "{proved}");
    let id = proved["operationId"].as_str().expect("an id");
    let ended = lamp()
        .args(["operation", "show", id, "--wait", "--output", "json"])
        .output()
        .expect("lamp runs");
    let shown = &documents(&ended)[0];
    assert_eq!(shown["rotation"]["phase"], "DONE", "{shown}");
    assert_eq!(shown["rotation"]["oldCertificateId"], *old, "{shown}");
    let new = light.only_certificate(&cloud).await;
    assert_ne!(old, new);
    assert_eq!(shown["certificateId"], *new, "{shown}");
    let gone = describe(&cloud, &format!("/certificates/{old}")).await;
    assert_eq!(gone.status, 404, "{}", gone.text);

    let said = documents(&device.wait_with_output().expect("it ends"));
    let stopped = of(&said, "stopped")[0];
    assert!(
        stopped["longestGapMillis"].as_u64().expect("a gap") < 8000,
        "{said:?}"
    );
    // What it has stored is what it comes back with.
    let again = light.run(3, &[]).wait_with_output().expect("it ends");
    let said = documents(&again);
    assert_eq!(of(&said, "connected")[0]["certificateId"], *new, "{said:?}");
}

#[tokio::test]
async fn a_light_renews_its_certificate_while_it_goes_on() {
    renewed("aws-iot").await;
}

#[tokio::test]
async fn a_light_of_our_own_authority_renews_too() {
    let made = lamp()
        .args(["ca", "init", "--subject", "Test lights"])
        .output()
        .expect("lamp runs");
    assert!(made.status.success(), "{made:?}");
    renewed("kms-ca").await;
}

#[tokio::test]
async fn a_light_that_does_not_prove_keeps_its_old_certificate() {
    let cloud = Cloud::open();
    let light = Light::create("aws-iot");
    let old = light.only_certificate(&cloud).await;
    let mut device = light.run(120, &["--misbehave", "no-store"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    let id = light.renew(&cloud).await;
    let status = ended(&cloud, &id).await;
    device.kill().expect("it runs");
    let said = documents(&device.wait_with_output().expect("it ends"));
    assert_eq!(
        status,
        "FAILED",
        "{said:?} {}",
        operation(&cloud, &id).await
    );
    assert_eq!(light.only_certificate(&cloud).await, old);
    // And it still gets in.
    let again = documents(&light.run(3, &[]).wait_with_output().expect("it ends"));
    assert_eq!(
        of(&again, "connected")[0]["certificateId"],
        *old,
        "{again:?}"
    );
}

#[tokio::test]
async fn a_due_light_is_asked_when_it_connects_and_a_deletion_ends_its_rotation() {
    let cloud = Cloud::open();
    let light = Light::create("aws-iot");
    let old = light.only_certificate(&cloud).await;
    make_due(&cloud, &light.thing, &old).await;
    let mut device = light.run(120, &["--misbehave", "ignore"]);
    let pk = format!("DEVICE#{}", light.thing);
    let mut rotation = Value::Null;
    let started = Instant::now();
    while rotation["phase"]["S"] != "REQUESTED" {
        assert!(started.elapsed() < PATIENCE, "never asked: {rotation}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        rotation = row(&cloud, &pk, "ROTATION").await;
    }
    let deletion = deliver(&cloud, &Ask::delete(&light.thing))
        .await
        .expect(202);
    let id = deletion["operationId"].as_str().expect("an id");
    assert_eq!(
        ended(&cloud, id).await,
        "DONE",
        "{}",
        operation(&cloud, id).await
    );
    let rotation = rotation["rotationId"]["S"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!(ended(&cloud, &rotation).await, "FAILED");
    assert!(row(&cloud, &pk, "ROTATION").await.is_null());
    device.kill().expect("it runs");
    device.wait().expect("it ends");
}

/// Sets a certificate's due time to the past, as time would.
async fn make_due(cloud: &Cloud, thing: &str, certificate: &str) {
    let update = serde_json::json!({
        "TableName": cloud.stack("TableName"),
        "Key": {"PK": {"S": format!("DEVICE#{thing}")}, "SK": {"S": format!("CERT#{certificate}")}},
        "UpdateExpression": "SET dueAt = :past",
        "ExpressionAttributeValues": {":past": {"N": "1"}},
    });
    cloud
        .aws_json("dynamodb", "DynamoDB_20120810.UpdateItem", &update)
        .await;
}
