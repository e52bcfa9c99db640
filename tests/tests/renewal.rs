//! Renewal by a real device: it connects by mutual TLS, is asked, makes its
//! own key, and proves its new certificate, while it goes on publishing.

use std::time::{Duration, Instant};

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{PATIENCE, deliver};
use lamplighter_tests::inventory::{describe, principals, row};
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::removal::{ended, operation};
use lamplighter_tests::running::{Created, of};
use serde_json::Value;

async fn renew(cloud: &Cloud, thing: &str) -> String {
    let ask = Ask::new("POST", format!("/devices/{thing}/certificate/renewal"));
    let answer = deliver(cloud, &ask).await.expect(202);
    answer["operationId"].as_str().expect("an id").to_owned()
}

/// The one certificate that a device has, as registry and AWS agree.
async fn only_certificate(cloud: &Cloud, thing: &str) -> String {
    let record = row(cloud, &format!("DEVICE#{thing}"), "RECORD").await;
    let id = record["certificateId"]["S"].as_str().expect("an id");
    let attached = principals(cloud, thing).await;
    assert_eq!(attached.len(), 1, "{attached:?}");
    assert!(attached[0].ends_with(id), "{attached:?} {id}");
    id.to_owned()
}

/// The certificate with which a light connects.
async fn connects_with(light: &Created) -> Value {
    let device = light.run(&[]);
    device.says("connected").await["certificateId"].clone()
}

async fn renewed(issuer: &str) {
    let cloud = Cloud::open();
    let light = Created::new("renew", &["--issuer", issuer]);
    let old = only_certificate(&cloud, &light.thing).await;
    let device = light.run(&[]);
    device.says("connected").await;
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
    let new = only_certificate(&cloud, &light.thing).await;
    assert_ne!(old, new);
    assert_eq!(shown["certificateId"], *new, "{shown}");
    let gone = describe(&cloud, &format!("/certificates/{old}")).await;
    assert_eq!(gone.status, 404, "{}", gone.text);

    device.says("retired").await;
    let said = device.stop();
    assert!(of(&said, "refused").is_empty(), "{said:?}");
    let connections = of(&said, "connected").into_iter();
    let with: Vec<_> = connections.map(|line| &line["certificateId"]).collect();
    assert_eq!(with, [&*old, &*new], "{said:?}");
    let stopped = of(&said, "stopped")[0];
    assert!(
        stopped["longestGapMillis"].as_u64().expect("a gap") < 8000,
        "{said:?}"
    );
    // What it has stored is what it comes back with.
    assert_eq!(connects_with(&light).await, *new);
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
    let light = Created::new("renew", &["--issuer", "aws-iot"]);
    let old = only_certificate(&cloud, &light.thing).await;
    let device = light.run(&["--misbehave", "no-store"]);
    device.says("connected").await;
    let id = renew(&cloud, &light.thing).await;
    let status = ended(&cloud, &id).await;
    let said = device.said();
    drop(device);
    assert_eq!(
        status,
        "FAILED",
        "{said:?} {}",
        operation(&cloud, &id).await
    );
    assert_eq!(only_certificate(&cloud, &light.thing).await, old);
    // And it still gets in.
    assert_eq!(connects_with(&light).await, *old);
}

#[tokio::test]
async fn a_due_light_is_asked_when_it_connects_and_a_deletion_ends_its_rotation() {
    let cloud = Cloud::open();
    let light = Created::new("renew", &["--issuer", "aws-iot"]);
    let old = only_certificate(&cloud, &light.thing).await;
    make_due(&cloud, &light.thing, &old).await;
    let _device = light.run(&["--misbehave", "ignore"]);
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
