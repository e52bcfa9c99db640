//! Reading the registry: every page of it, and nothing but it.

use std::collections::BTreeSet;

use lamplighter_aws::query;
use lamplighter_domain::device::{LISTING_SHARDS, listing_shard_of};
use lamplighter_domain::listing::ListQuery;
use lamplighter_domain::names::{OperationId, ThingName};
use lamplighter_domain::{Failure, Kind};
use serde_json::{Value, json};

use crate::cloud::Cloud;

const THING: &str = "milan-0001";

fn name(text: &str) -> ThingName {
    ThingName::parse(text).unwrap()
}

fn operation() -> OperationId {
    OperationId::from_key("k")
}

fn row(sk: &str, fields: &Value) -> Value {
    let mut row = json!({ "PK": format!("DEVICE#{THING}"), "SK": sk, "thingName": THING });
    row.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    row
}

fn device(thing: &str, status: &str) -> Value {
    row(
        "RECORD",
        &json!({
            "PK": format!("DEVICE#{thing}"), "thingName": thing, "attributes": { "city": "milan" }, "groups": ["milan"],
            "status": status, "custody": "vault", "createdBy": operation(), "operationId": operation(), "createdAt": 1,
            "listingShard": listing_shard_of(&name(thing)),
        }),
    )
}

fn certificate(digit: &str) -> Value {
    let id = digit.repeat(64);
    row(
        &format!("CERT#{id}"),
        &json!({
            "certificateId": id, "certificatePem": "PEM", "publicKey": id, "custody": "vault", "keyObject": "keys/x",
            "issuer": "aws-iot", "issuedAt": 1, "notAfter": 2,
        }),
    )
}

fn tombstone() -> Value {
    row(
        "TOMBSTONE",
        &json!({
            "certificateIds": [], "operationId": operation(), "deletedAt": 1_772_360_101_480_u64, "expiresAt": 1,
        }),
    )
}

fn preregistration() -> Value {
    row("PREREGISTRATION", &json!({ "profile": "spring" }))
}

fn cloud(rows: &[Value]) -> Cloud {
    let cloud = Cloud::default();
    for row in rows {
        cloud.insert(row);
    }
    cloud
}

/// The fleet that listings are of: every third light is being deleted.
fn fleet() -> (Cloud, BTreeSet<String>) {
    let things: BTreeSet<_> = (0..60).map(|i| format!("light-{i:04}")).collect();
    let status = |i: usize| {
        if i.is_multiple_of(3) {
            "DELETING"
        } else {
            "ACTIVE"
        }
    };
    let rows: Vec<_> = things
        .iter()
        .enumerate()
        .map(|(i, thing)| device(thing, status(i)))
        .collect();
    let cloud = cloud(&rows);
    // What else the table holds is in no listing.
    for row in [certificate("a"), tombstone(), preregistration()] {
        cloud.insert(&row);
    }
    (cloud, things)
}

/// Follows the cursors to the end; the names on each page.
async fn pages(cloud: &Cloud, asked: &str) -> Vec<Vec<String>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let query = ListQuery::parse(&format!("{asked}{cursor}")).unwrap();
        let page = query::list(&cloud.table(), query).await.unwrap();
        let names = page["items"].as_array().unwrap().iter();
        pages.push(
            names
                .map(|item| item["thingName"].as_str().unwrap().to_owned())
                .collect(),
        );
        let Some(next) = page["nextCursor"].as_str() else {
            return pages;
        };
        cursor = format!("&cursor={next}");
    }
}

async fn check_listing(asked: &str, limit: usize, expected: impl Fn(usize) -> bool) {
    let (cloud, things) = fleet();
    let things = things.into_iter().enumerate();
    let expected: BTreeSet<_> = things
        .filter(|(i, _)| expected(*i))
        .map(|(_, thing)| thing)
        .collect();
    let pages = pages(&cloud, asked).await;
    let (last, full) = pages.split_last().unwrap();
    assert!(
        full.iter().all(|page| page.len() == limit),
        "{asked}: {pages:?}"
    );
    assert!(last.len() <= limit, "{asked}: {pages:?}");
    let shown: Vec<_> = pages.concat();
    assert_eq!(shown.len(), expected.len(), "{asked}: none twice");
    assert_eq!(
        shown.into_iter().collect::<BTreeSet<_>>(),
        expected,
        "{asked}"
    );
    assert_eq!(
        cloud.count("Query"),
        cloud.world().calls.len(),
        "{asked}: the index alone is read"
    );
}

#[tokio::test]
async fn a_listing_shows_each_device_once_in_full_pages() {
    check_listing("limit=7", 7, |_| true).await;
    check_listing("limit=1", 1, |_| true).await;
    check_listing("limit=100", 100, |_| true).await;
    check_listing("limit=7&status=DELETING", 7, |i| i.is_multiple_of(3)).await;
    check_listing("limit=100&attribute=city%3Drome", 100, |_| false).await;
}

#[tokio::test]
async fn a_page_costs_what_it_shows() {
    let (cloud, things) = fleet();
    let shards: BTreeSet<_> = things
        .iter()
        .map(|thing| listing_shard_of(&name(thing)))
        .collect();
    assert!(shards.len() > 8, "the fleet is spread");
    pages(&cloud, "limit=100").await;
    assert_eq!(
        cloud.count("Query"),
        usize::try_from(LISTING_SHARDS).unwrap()
    );
    cloud.world().calls.clear();
    let query = ListQuery::parse("limit=1").unwrap();
    query::list(&cloud.table(), query).await.unwrap();
    assert_eq!(cloud.count("Query"), 1);
}

#[tokio::test]
async fn a_device_is_shown_with_all_its_certificates() {
    let handed_out = json!({ "caller": "alice", "at": 5 });
    let mut first = certificate("a");
    first["handOut"] = handed_out;
    let rows = [
        device(THING, "ACTIVE"),
        first,
        certificate("b"),
        certificate("c"),
        tombstone(),
        row("LATER", &json!({})),
    ];
    let cloud = cloud(&rows);
    cloud.insert(&device("milan-0002", "ACTIVE"));
    let shown = query::device(&cloud.table(), &name(THING)).await.unwrap();
    assert_eq!(
        (&shown["thingName"], &shown["status"]),
        (&THING.into(), &"ACTIVE".into())
    );
    let certificates = shown["certificates"].as_array().unwrap();
    let ids: Vec<_> = certificates
        .iter()
        .map(|each| each["certificateId"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["a", "b", "c"].map(|digit| digit.repeat(64)));
    assert_eq!(certificates[0]["keyHandedOutAt"], 5);
    assert!(
        !shown.to_string().contains("keys/") && !shown.to_string().contains("alice"),
        "{shown}"
    );
}

async fn check_absent(rows: &[Value], kind: Kind, reason: &str) {
    let cloud = cloud(rows);
    let failure: Failure = query::device(&cloud.table(), &name(THING))
        .await
        .unwrap_err();
    assert_eq!(failure.kind, kind, "{failure}");
    let said = format!("{} {}", failure.reason, failure.operator);
    assert!(said.contains(reason), "{said}");
}

#[tokio::test]
async fn why_there_is_no_device_is_told() {
    check_absent(&[], Kind::NotFound, "there is no device milan-0001").await;
    check_absent(&[tombstone()], Kind::NotFound, "was deleted at 2026-03-01").await;
    check_absent(
        &[tombstone(), preregistration()],
        Kind::NotFound,
        "under the profile spring",
    )
    .await;
    check_absent(&[row("RECORD", &json!({}))], Kind::Bug, "does not parse").await;
}

#[tokio::test]
async fn an_operation_is_shown_by_its_id_alone() {
    let cloud = cloud(&[json!({
        "PK": format!("OP#{}", operation()), "SK": "OPERATION", "operationId": operation(), "kind": "DELETE",
        "thingName": THING, "status": "DONE", "startedAt": 1, "endedAt": 2, "leaseUntil": 3, "attempt": 1,
    })]);
    let shown = query::operation(&cloud.table(), &operation())
        .await
        .unwrap();
    assert_eq!(
        (&shown["status"], &shown["thingName"]),
        (&"DONE".into(), &THING.into())
    );
    assert!(shown.get("leaseUntil").is_none(), "{shown}");
    let unknown = OperationId::from_key("another");
    let failure = query::operation(&cloud.table(), &unknown)
        .await
        .unwrap_err();
    assert_eq!(failure.http_status(), 404);
    assert!(
        failure.reason.contains(unknown.as_str()),
        "{}",
        failure.reason
    );
}

/// A renewal and the row of a rotation, and whether the one shows the other.
async fn check_renewal(rotation_id: &OperationId, phase: Option<&str>) {
    let cloud = cloud(&[
        json!({
            "PK": format!("OP#{}", operation()), "SK": "OPERATION", "operationId": operation(), "kind": "RENEW",
            "thingName": THING, "status": "RUNNING", "startedAt": 1, "leaseUntil": 0, "attempt": 0,
        }),
        row(
            "ROTATION",
            &json!({
                "rotationId": rotation_id, "phase": "ISSUED", "old": "a".repeat(64), "issuer": "aws-iot",
                "windows": { "requestMillis": 1, "proofMillis": 1, "graceMillis": 1 }, "startedAt": 1,
                "deadline": 9, "leaseUntil": 0, "attempt": 1, "version": 3, "taskToken": "wakes",
            }),
        ),
    ]);
    let shown = query::operation(&cloud.table(), &operation())
        .await
        .unwrap();
    assert_eq!(shown["rotation"]["phase"].as_str(), phase, "{shown}");
    assert!(!shown.to_string().contains("wakes"), "{shown}");
}

#[tokio::test]
async fn a_renewal_is_shown_with_its_own_rotation() {
    check_renewal(&operation(), Some("ISSUED")).await;
    check_renewal(&OperationId::from_key("a later one"), None).await;
}
