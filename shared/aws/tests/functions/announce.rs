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

async fn check(copies: usize, bus: Vec<(u16, Value)>, failed: &[&str]) {
    let cloud = Cloud::default();
    let answers = bus.len();
    cloud.world().bus = bus.into();
    let announcer = Announcer {
        events: aws_sdk_eventbridge::Client::new(&cloud.sdk()),
        bus: "bus".to_owned(),
        table: cloud.table(),
        sweeps: Starter {
            sfn: aws_sdk_sfn::Client::new(&cloud.sdk()),
            workflow_arn: "sweep-groups".to_owned(),
            settle_seconds: 5,
        },
    };
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
    let announcer = Announcer {
        events: aws_sdk_eventbridge::Client::new(&cloud.sdk()),
        bus: "bus".to_owned(),
        table: cloud.table(),
        sweeps: Starter {
            sfn: aws_sdk_sfn::Client::new(&cloud.sdk()),
            workflow_arn: "sweep-groups".to_owned(),
            settle_seconds: 5,
        },
    };
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
