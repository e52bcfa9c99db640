//! Names are announced all together or not at all.

use lamplighter_aws::preregister::preregister;
use lamplighter_domain::Failure;
use lamplighter_domain::names::OperationId;
use lamplighter_domain::preregistration::{PreregisterRequest, Split};
use serde_json::{Value, json};

use crate::cloud::{Cloud, typed_item};

const PROFILE: &str = "spring";

/// A row of each kind that a name can have.
fn device(name: &str) -> Value {
    json!({
        "PK": format!("DEVICE#{name}"), "SK": "RECORD", "thingName": name, "attributes": {}, "groups": ["milan"],
        "status": "DELETING", "custody": "device", "createdBy": OperationId::from_key("k"), "operationId": OperationId::from_key("k"), "createdAt": 1,
        "listingShard": "DEVICES#00",
    })
}

fn announced(name: &str, profile: &str) -> Value {
    json!({
        "PK": format!("DEVICE#{name}"), "SK": "PREREGISTRATION", "thingName": name, "profile": profile,
    })
}

fn cloud(rows: &[Value]) -> Cloud {
    let cloud = Cloud::default();
    cloud.insert(&json!({
        "PK": format!("PROFILE#{PROFILE}"), "SK": "PROFILE", "name": PROFILE, "thingType": "streetlight",
        "groups": ["milan"], "attributes": {}, "claimCertificateIds": [], "retainedTopics": [],
    }));
    for row in rows {
        cloud.insert(row);
    }
    cloud
}

fn names(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|i| format!("milan-{i:04}")).collect()
}

async fn announce(cloud: &Cloud, profile: &str, names: &[String]) -> Result<Split, Failure> {
    let body = json!({ "profile": profile, "thingNames": names }).to_string();
    preregister(
        &cloud.table(),
        &PreregisterRequest::parse(body.as_bytes()).unwrap(),
    )
    .await
}

/// The names with a row, by profile.
fn rows(cloud: &Cloud) -> Vec<(String, String)> {
    let world = cloud.world();
    let text = |row: &Value, field: &str| row[field]["S"].as_str().unwrap().to_owned();
    let of_names = world
        .table
        .iter()
        .filter(|((_, sk), _)| sk == "PREREGISTRATION");
    of_names
        .map(|(_, row)| (text(row, "thingName"), text(row, "profile")))
        .collect()
}

#[tokio::test]
async fn as_many_as_a_request_can_name_are_announced_once() {
    let cloud = cloud(&[announced("milan-0060", PROFILE)]);
    let names = names(0..100);
    let split = announce(&cloud, PROFILE, &names).await.unwrap();
    assert_eq!(json!(split.already_preregistered), json!(["milan-0060"]));
    assert_eq!(split.preregistered.len(), 99);
    let expected: Vec<_> = names
        .iter()
        .map(|name| (name.clone(), PROFILE.to_owned()))
        .collect();
    assert_eq!(rows(&cloud), expected);

    let again = announce(&cloud, PROFILE, &names).await.unwrap();
    assert_eq!(
        (again.preregistered.len(), again.already_preregistered.len()),
        (0, 100)
    );
    assert_eq!(cloud.writes(), 1, "a repeat writes nothing");
}

/// The last of sixty names stands in the way.
async fn check_refused(profile: &str, row: Value, status: u16, field: &str, reason: &str) {
    let cloud = cloud(&[row]);
    let before = rows(&cloud);
    let failure = announce(&cloud, profile, &names(0..60)).await.unwrap_err();
    assert_eq!(failure.http_status(), status, "{failure}");
    assert_eq!(failure.field.as_deref(), Some(field));
    assert!(failure.reason.contains(reason), "{}", failure.reason);
    assert_eq!((cloud.writes(), rows(&cloud)), (0, before));
}

#[tokio::test]
async fn one_name_that_cannot_be_announced_refuses_them_all() {
    let last = "milan-0059";
    let free = || announced("elsewhere", PROFILE);
    check_refused(
        PROFILE,
        device(last),
        409,
        "thingNames",
        "milan-0059 is a device already",
    )
    .await;
    check_refused(
        PROFILE,
        announced(last, "autumn"),
        409,
        "thingNames",
        "the profile autumn",
    )
    .await;
    check_refused(
        "autumn",
        free(),
        422,
        "profile",
        "there is no profile autumn",
    )
    .await;
}

#[tokio::test]
async fn who_announces_the_same_name_meanwhile_wins_only_with_another_profile() {
    for (profile, status) in [(PROFILE, None), ("autumn", Some(409))] {
        let cloud = cloud(&[]);
        cloud.world().meanwhile = vec![typed_item(&announced("milan-0001", profile))];
        let announced = announce(&cloud, PROFILE, &names(0..3)).await;
        assert_eq!(announced.as_ref().err().map(Failure::http_status), status);
        let expected = if let Err(failure) = announced {
            assert!(
                failure.reason.starts_with("milan-0001 "),
                "{}",
                failure.reason
            );
            1
        } else {
            3
        };
        assert_eq!(rows(&cloud).len(), expected, "{profile}");
    }
}

#[tokio::test]
async fn a_registry_that_changes_meanwhile_is_asked_again() {
    let cloud = cloud(&[]);
    cloud.world().cancelled = Some("TransactionConflict");
    let failure = announce(&cloud, PROFILE, &names(0..3)).await.unwrap_err();
    assert_eq!(failure.http_status(), 503, "{failure}");
    assert_eq!(cloud.count("TransactWriteItems"), 0);
    cloud.world().cancelled = None;
    announce(&cloud, PROFILE, &names(0..3)).await.unwrap();
}
