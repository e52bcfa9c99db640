//! A key is handed out once, whoever asks at the same time.

use lamplighter_aws::clock;
use lamplighter_aws::handout::{Asked, Keys};
use lamplighter_aws::vault::{Vault, make_key};
use lamplighter_domain::csr::sha256_hex;
use lamplighter_domain::handout::Request;
use lamplighter_domain::names::{OperationId, ThingName};
use serde_json::{Value, json};

use crate::cloud::{Cloud, typed, typed_item};

const THING: &str = "milan-0002";

/// Who asks, and with which idempotency key.
type Ask = (&'static str, Option<&'static str>);

fn keys(cloud: &Cloud) -> Keys {
    let sdk = cloud.sdk();
    let s3 = aws_sdk_s3::config::Builder::from(&sdk)
        .force_path_style(true)
        .build();
    Keys {
        table: cloud.table(),
        vault: Vault {
            s3: aws_sdk_s3::Client::from_conf(s3),
            kms: aws_sdk_kms::Client::new(&sdk),
            bucket: "custody".to_owned(),
            key_arn: "key".to_owned(),
        },
    }
}

fn name() -> ThingName {
    ThingName::parse(THING).unwrap()
}

/// A device in custody, its record changed as given.
async fn cloud(change: impl FnOnce(&mut Value)) -> Cloud {
    let cloud = Cloud::default();
    let key = make_key(&name()).unwrap();
    let sealed = keys(&cloud).vault.seal(&name(), &key).await.unwrap();
    let (certificate, operation) = ("a".repeat(64), OperationId::from_key("k"));
    let mut record = json!({
        "PK": format!("DEVICE#{THING}"), "SK": "RECORD", "thingName": THING, "attributes": {}, "groups": ["milan"],
        "status": "ACTIVE", "custody": "vault", "createdBy": operation, "operationId": operation, "createdAt": 1,
        "certificateId": certificate, "listingShard": "DEVICES#00",
    });
    change(&mut record);
    let row = json!({
        "PK": format!("DEVICE#{THING}"), "SK": format!("CERT#{certificate}"), "certificateId": certificate,
        "certificatePem": "PEM", "publicKey": key.csr.public_key(), "custody": "vault", "keyObject": "keys/x",
        "issuer": "aws-iot", "issuedAt": 1, "notAfter": 2,
    });
    let mut world = cloud.world();
    world.object = sealed;
    for item in [record, row] {
        let key = (
            item["PK"].as_str().unwrap().to_owned(),
            item["SK"].as_str().unwrap().to_owned(),
        );
        world.table.insert(key, typed_item(&item));
    }
    world.calls.clear();
    drop(world);
    cloud
}

async fn ask(cloud: &Cloud, (caller, idempotency_key): Ask) -> u16 {
    let asked = Asked {
        thing_name: &name(),
        caller,
        request: &Request {
            idempotency_key: idempotency_key.map(str::to_owned),
            renewal: false,
        },
    };
    match keys(cloud).hand_out(&asked).await {
        Ok(credentials) => {
            let shown = json!(credentials);
            assert!(
                shown["privateKeyPem"]
                    .as_str()
                    .unwrap()
                    .starts_with("-----BEGIN PRIVATE KEY-----")
            );
            assert_eq!(shown["certificatePem"], "PEM");
            200
        }
        Err(failure) => {
            assert!(!failure.to_string().contains("PRIVATE KEY"));
            failure.http_status()
        }
    }
}

/// One after the other asks, perhaps with a rival who is just faster than the
/// first; each is answered with a status, and one hand-out is recorded.
async fn check(rival: Option<Ask>, asks: &[(Ask, u16)]) {
    let cloud = cloud(|_| {}).await;
    cloud.world().rival = rival.map(|(caller, key)| {
        let digest = key.map(|key| sha256_hex(key.as_bytes()));
        let mut hand_out = json!({ "caller": caller, "at": clock::now() });
        if let Some(digest) = digest {
            hand_out["keyDigest"] = digest.into();
        }
        typed(&hand_out)
    });
    for (asked, status) in asks {
        assert_eq!(ask(&cloud, *asked).await, *status, "{rival:?} {asked:?}");
    }
    assert_eq!(
        cloud.count("UpdateItem"),
        1,
        "one hand-out was tried to record"
    );
}

#[tokio::test]
async fn once_without_an_idempotency_key_and_replayed_with_one() {
    check(
        None,
        &[
            (("alice", None), 200),
            (("alice", None), 410),
            (("bob", None), 410),
        ],
    )
    .await;
    check(
        None,
        &[
            (("alice", Some("k")), 200),
            (("alice", Some("k")), 200),
            (("bob", Some("k")), 410),
            (("alice", Some("l")), 410),
        ],
    )
    .await;
}

#[tokio::test]
async fn whoever_loses_the_race_decides_again() {
    check(Some(("bob", None)), &[(("alice", None), 410)]).await;
    check(Some(("bob", Some("k"))), &[(("alice", Some("k")), 410)]).await;
    check(Some(("alice", Some("k"))), &[(("alice", Some("k")), 200)]).await;
}

#[tokio::test]
async fn what_is_refused_opens_no_key() {
    for (field, value, status) in [
        ("custody", "device", 409),
        ("status", "DELETING", 409),
        ("status", "STUCK", 409),
        ("status", "CREATING", 503),
        ("SK", "ELSEWHERE", 404),
    ] {
        let cloud = cloud(|record| record[field] = value.into()).await;
        assert_eq!(
            ask(&cloud, ("alice", None)).await,
            status,
            "{field} {value}"
        );
        assert_eq!(cloud.count("Decrypt"), 0, "{field} {value}");
    }
    let cloud = cloud(|_| {}).await;
    assert_eq!(ask(&cloud, ("alice", None)).await, 200);
    assert_eq!(ask(&cloud, ("alice", None)).await, 410);
    assert_eq!(cloud.count("Decrypt"), 1);
}

#[tokio::test]
async fn a_key_that_does_not_open_is_not_spent() {
    let cloud = cloud(|_| {}).await;
    let sound = std::mem::replace(&mut cloud.world().object, b"{}".to_vec());
    assert_eq!(ask(&cloud, ("alice", None)).await, 500);
    assert_eq!(cloud.writes(), 0);
    cloud.world().object = sound;
    assert_eq!(ask(&cloud, ("alice", None)).await, 200);
}

#[tokio::test]
async fn a_device_deleted_meanwhile_does_not_come_back() {
    let cloud = cloud(|_| {}).await;
    cloud.world().table.retain(|(_, sk), _| sk == "RECORD");
    assert_eq!(ask(&cloud, ("alice", None)).await, 503);
    assert_eq!(cloud.world().table.len(), 1);
}
