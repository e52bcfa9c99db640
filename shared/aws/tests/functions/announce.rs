//! What the bus does not take is reported by sequence number.

use aws_lambda_events::dynamodb::Event;
use lamplighter_aws::announce::Announcer;
use lamplighter_aws::group_sweep_start::Starter;
use serde_json::{Value, json};

use crate::cloud::Cloud;

const CREATED: &str = "7000000000002100000200";
const DELETED: &str = "7000000000002100000300";

/// The fixture has three changes: one to RUNNING, and two to DONE.
fn batch(copies: usize) -> Event {
    let mut event: Value = serde_json::from_str(include_str!(
        "../../../../events/announce-changes/stream.json"
    ))
    .unwrap();
    let records = event["Records"].as_array().unwrap().clone();
    event["Records"] = (0..copies)
        .flat_map(|_| records.clone())
        .collect::<Vec<_>>()
        .into();
    serde_json::from_value(event).unwrap()
}

fn taken(entries: &[bool]) -> (u16, Value) {
    let entry = |taken: &bool| match taken {
        true => json!({ "EventId": "e" }),
        false => json!({ "ErrorCode": "ThrottlingException", "ErrorMessage": "slow down" }),
    };
    let failed = entries.iter().filter(|taken| !**taken).count();
    (
        200,
        json!({ "FailedEntryCount": failed, "Entries": entries.iter().map(entry).collect::<Vec<_>>() }),
    )
}

fn announcer(cloud: &Cloud) -> Announcer {
    Announcer {
        events: aws_sdk_eventbridge::Client::new(&cloud.sdk()),
        bus: "bus".to_owned(),
        table: cloud.table(),
        sweeps: Starter {
            sfn: aws_sdk_sfn::Client::new(&cloud.sdk()),
            workflow_arn: "sweep-groups".to_owned(),
            settle_seconds: 5,
        },
    }
}

async fn check(copies: usize, bus: Vec<(u16, Value)>, failed: &[&str]) {
    let cloud = Cloud::default();
    let answers = bus.len();
    cloud.world().bus = bus.into();
    let announcer = announcer(&cloud);
    let response = announcer.announce(batch(copies)).await.unwrap();
    let reported: Vec<_> = response
        .batch_item_failures
        .iter()
        .filter_map(|f| f.item_identifier.as_deref())
        .collect();
    assert_eq!(reported, failed);
    assert_eq!(cloud.count("PutEvents"), answers);
}

#[tokio::test]
async fn what_the_bus_does_not_take_is_reported_and_delivered_again() {
    check(1, vec![taken(&[true, true])], &[]).await;
    check(1, vec![taken(&[true, false])], &[DELETED]).await;
    check(1, vec![taken(&[false, false])], &[CREATED, DELETED]).await;
    check(
        1,
        vec![(400, json!({ "__type": "AccessDeniedException" }))],
        &[CREATED, DELETED],
    )
    .await;
    check(6, vec![taken(&[true; 10]), taken(&[true, true])], &[]).await;
    check(
        6,
        vec![taken(&[
            true, true, true, true, true, true, true, true, true, false,
        ])],
        &[DELETED],
    )
    .await;
}

#[tokio::test]
async fn the_events_are_those_of_the_schemas() {
    let cloud = Cloud::default();
    cloud.world().bus = [taken(&[true, true])].into();
    let announcer = announcer(&cloud);
    announcer.announce(batch(1)).await.unwrap();
    let sent = cloud.world().calls[0].1["Entries"].clone();
    for (entry, example) in [
        (
            &sent[0],
            include_str!("../../../../events/domain/DeviceCreated.json"),
        ),
        (
            &sent[1],
            include_str!("../../../../events/domain/DeviceDeleted.json"),
        ),
    ] {
        let example: Value = serde_json::from_str(example).unwrap();
        let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        assert_eq!(entry["DetailType"], example["detail-type"]);
        assert_eq!(entry["Source"], example["source"]);
        assert_eq!(detail, example["detail"]);
    }
}

fn memberships(records: &[usize]) -> Event {
    let mut event: Value = serde_json::from_str(include_str!(
        "../../../../events/announce-changes/membership.json"
    ))
    .unwrap();
    let all = event["Records"].as_array().unwrap().clone();
    event["Records"] = records.iter().map(|at| all[*at].clone()).collect();
    serde_json::from_value(event).unwrap()
}

/// The members of both groups, and what their partitions count.
fn members(cloud: &Cloud) -> (Vec<String>, i64) {
    let world = cloud.world();
    let of_groups = world
        .table
        .iter()
        .filter(|((pk, _), _)| pk.starts_with("GROUP#"));
    let (mut members, mut count) = (Vec::new(), 0);
    for ((pk, sk), row) in of_groups {
        match sk.as_str() {
            "COUNT" => {
                count += row["members"]["N"]
                    .as_str()
                    .unwrap()
                    .parse::<i64>()
                    .unwrap();
            }
            // What followers read.
            change if change.starts_with("CHANGE#") => {}
            _ => members.push(format!("{pk} {sk}")),
        }
    }
    (members, count)
}

#[tokio::test]
async fn members_are_derived_once_however_often_a_change_is_told() {
    let cloud = Cloud::default();
    cloud.insert(&json!({
        "PK": "DEFINITIONS", "SK": "GROUP#outdated-firmware", "revision": 1,
        "definition": {
            "name": "outdated-firmware", "query": "thingName:*",
            "onEnter": {"job": "update-firmware"},
        },
    }));
    let announcer = announcer(&cloud);
    let check = async |records: &[usize], told: usize, left: (&[&str], i64)| {
        cloud.world().bus = [taken(&vec![true; told])].into();
        let response = announcer.announce(memberships(records)).await.unwrap();
        assert!(response.batch_item_failures.is_empty());
        let (members, count) = members(&cloud);
        assert_eq!(
            (
                members.iter().map(String::as_str).collect::<Vec<_>>(),
                count
            ),
            (left.0.to_vec(), left.1)
        );
        let calls = &cloud.world().calls;
        calls.last().unwrap().1["Entries"].clone()
    };
    let night = ["GROUP#night-shift#11 MEMBER#milan-0001"];
    let outdated = ["GROUP#outdated-firmware#11 MEMBER#milan-0001"];
    check(&[0], 1, (&night, 1)).await;
    check(&[0], 1, (&night, 1)).await;
    check(&[0, 1], 3, (&outdated, 1)).await;
    let sent = check(&[1], 2, (&outdated, 1)).await;
    for (entry, example) in [
        (
            &sent[0],
            include_str!("../../../../events/domain/GroupLeft.json"),
        ),
        (
            &sent[1],
            include_str!("../../../../events/domain/GroupEntered.json"),
        ),
    ] {
        let example: Value = serde_json::from_str(example).unwrap();
        let detail: Value = serde_json::from_str(entry["Detail"].as_str().unwrap()).unwrap();
        assert_eq!(entry["DetailType"], example["detail-type"]);
        assert_eq!(detail, example["detail"]);
    }
    check(&[2], 1, (&[], 0)).await;
    check(&[2], 1, (&[], 0)).await;
}

#[tokio::test]
async fn changed_definitions_start_one_sweep_a_version_and_its_end_starts_none() {
    let event: Value = serde_json::from_str(include_str!(
        "../../../../events/announce-changes/definitions.json"
    ))
    .unwrap();
    let mut ended = event.clone();
    for image in ["OldImage", "NewImage"] {
        ended["Records"][0]["dynamodb"][image]["version"]["N"] = "12".into();
    }
    for (event, started) in [(event, Some("definitions-12")), (ended, None)] {
        let cloud = Cloud::default();
        let batch = serde_json::from_value(event).unwrap();
        announcer(&cloud).announce(batch).await.unwrap();
        let world = cloud.world();
        let starts = world
            .calls
            .iter()
            .filter(|(name, _)| name == "StartExecution");
        let names: Vec<_> = starts.map(|(_, body)| body["name"].clone()).collect();
        let expected: Vec<_> = started.into_iter().map(Value::from).collect();
        assert_eq!(names, expected);
    }
}
