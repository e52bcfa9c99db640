//! The account's settings: ours are merged in, others' are left alone.

use lamplighter_aws::account::{Account, Wanted};
use lamplighter_aws::organisation::Organisation;
use lamplighter_domain::Kind;
use serde_json::{Value, json};

use crate::cloud::{Cloud, group_arn};

const NAME: &str = "lamplighter-default";
const GROUP: &str = "thing-groups/lamplighter-default";
const POLICY: &str = "policies/lamplighter-default";

fn wanted(event: &str) -> Wanted {
    let event: Value = serde_json::from_str(event).unwrap();
    Wanted::parse(event["ResourceProperties"].clone()).unwrap()
}

fn asked() -> Wanted {
    wanted(include_str!(
        "../../../../events/configure-account/create.json"
    ))
}

fn account(cloud: &Cloud) -> Account {
    Account {
        organisation: Organisation {
            iot: aws_sdk_iot::Client::new(&cloud.sdk()),
        },
    }
}

/// The kinds of events that are on before and after, of all there are.
async fn check_events(before: &[&str], writes: usize) {
    let cloud = Cloud::default();
    let all = [
        "THING",
        "THING_GROUP_MEMBERSHIP",
        "THING_TYPE_ASSOCIATION",
        "JOB_EXECUTION",
        "CERTIFICATE",
        "JOB",
        "POLICY",
    ];
    cloud.world().events = all
        .iter()
        .map(|kind| ((*kind).to_owned(), before.contains(kind)))
        .collect();
    account(&cloud).configure(&asked(), true).await.unwrap();
    let on: Vec<_> = cloud
        .world()
        .events
        .iter()
        .filter(|(_, on)| **on)
        .map(|(kind, _)| kind.clone())
        .collect();
    for kind in before
        .iter()
        .copied()
        .chain(asked().event_configurations.iter().map(String::as_str))
    {
        assert!(on.iter().any(|other| other == kind), "{kind} is not on");
    }
    assert!(on.len() <= before.len() + 5, "nothing else was turned on");
    assert_eq!(cloud.count("PATCH /event-configurations"), writes);
    let sent = cloud
        .world()
        .calls
        .iter()
        .find(|(name, _)| name.starts_with("PATCH"))
        .map(|(_, body)| body.clone());
    for (kind, configuration) in sent
        .iter()
        .filter_map(|body| body["eventConfigurations"].as_object())
        .flatten()
    {
        assert_eq!(configuration["Enabled"], true, "{kind} is turned off");
    }
}

#[tokio::test]
async fn our_events_are_merged_in_and_no_others_turned_off() {
    check_events(&[], 1).await;
    check_events(&["JOB"], 1).await;
    check_events(&["JOB", "THING", "CERTIFICATE"], 1).await;
    check_events(
        &[
            "THING",
            "THING_GROUP_MEMBERSHIP",
            "THING_TYPE_ASSOCIATION",
            "JOB_EXECUTION",
            "CERTIFICATE",
            "POLICY",
        ],
        0,
    )
    .await;
}

#[tokio::test]
async fn the_default_group_bears_its_policy_and_a_repeat_changes_nothing() {
    let cloud = Cloud::default();
    let configured = account(&cloud).configure(&asked(), true).await.unwrap();
    assert_eq!(
        json!(configured),
        json!({ "DataEndpoint": "data.example", "DefaultGroup": NAME })
    );
    assert!(cloud.world().attached[&group_arn(NAME)].contains(NAME));
    let writes = cloud.writes();
    for first in [true, false] {
        account(&cloud).configure(&asked(), first).await.unwrap();
    }
    assert_eq!(cloud.writes(), writes);
}

#[tokio::test]
async fn what_somebody_else_made_is_not_taken_over() {
    for (path, made) in [
        (POLICY, json!({ "policyDocument": "{}" })),
        (
            GROUP,
            json!({ "thingGroupProperties": { "thingGroupDescription": "theirs" } }),
        ),
    ] {
        let cloud = Cloud::default();
        cloud.world().iot.insert(path.to_owned(), made.clone());
        let failure = account(&cloud).configure(&asked(), true).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Conflict, "{path}");
        account(&cloud).remove(&asked()).await.unwrap();
        assert_eq!(cloud.world().iot[path], made, "{path}");
    }
}

#[tokio::test]
async fn a_policy_edited_since_is_left_so() {
    let cloud = Cloud::default();
    account(&cloud).configure(&asked(), true).await.unwrap();
    let edited = json!({ "policyDocument": "{}" });
    cloud.world().iot.insert(POLICY.to_owned(), edited.clone());
    account(&cloud).configure(&asked(), false).await.unwrap();
    account(&cloud).remove(&asked()).await.unwrap();
    assert_eq!(cloud.world().iot.get(POLICY), Some(&edited));
}

#[tokio::test]
async fn removal_takes_what_no_device_needs() {
    let cloud = Cloud::default();
    account(&cloud).configure(&asked(), true).await.unwrap();
    cloud
        .world()
        .members
        .insert(NAME.to_owned(), vec!["milan-0001".to_owned()]);
    account(&cloud).remove(&asked()).await.unwrap();
    assert!(
        cloud.world().attached[&group_arn(NAME)].contains(NAME),
        "a device is in it"
    );
    cloud.world().members.clear();
    for _ in 0..2 {
        account(&cloud).remove(&asked()).await.unwrap();
        assert!(cloud.world().iot.is_empty());
        assert!(cloud.world().attached[&group_arn(NAME)].is_empty());
    }
    assert!(
        cloud.world().events["THING"],
        "events stay on: others may rely on them"
    );
}
