//! Deletion through the real clients, over an AWS made of one function.
//!
//! Every list answers one item a page, so a page that is not followed leaves
//! something behind and shows.

#![cfg(all(
    feature = "dynamodb",
    feature = "iot",
    feature = "iotdata",
    feature = "iottunnel",
    feature = "s3",
    feature = "sfn"
))]

mod call;
mod cloud;
mod iot;
mod others;
#[cfg(feature = "kms")]
mod purge;
mod table;

use cloud::{Cloud, Fate, THING, World, operation_id};
use lamplighter_aws::delete::{Answer, Claimed, Step};
use lamplighter_domain::Kind;
use lamplighter_domain::names::ThingName;
use serde_json::{Value, json};

fn step() -> Step {
    serde_json::from_value(json!({ "operationId": operation_id(), "thingName": THING })).unwrap()
}

fn failed(named: &str) -> Step {
    Step {
        failed: Some(named.to_owned()),
        ..step()
    }
}

fn name() -> ThingName {
    ThingName::parse(THING).unwrap()
}

/// The line of the proof on one subject.
fn line(operation: &Value, subject: &str) -> Value {
    let proof = operation["proof"].as_array().cloned().unwrap_or_default();
    let found = proof
        .iter()
        .find(|line| line["subject"].as_str().unwrap().starts_with(subject));
    found
        .cloned()
        .unwrap_or_else(|| panic!("no line on {subject}: {operation:#}"))
}

#[tokio::test]
async fn everything_linked_goes_and_what_others_have_stays() {
    let cloud = Cloud::new(World::full());
    assert_eq!(cloud.deletion().step(&step()).await.unwrap(), Answer::Done);
    let world = cloud.world();
    assert_eq!(world.left(), World::full().others());
    let operation = world.operation();
    assert_eq!(operation["status"], "DONE");
    for line in operation["proof"].as_array().unwrap() {
        assert_eq!(line["clear"], true, "{line}");
    }
    assert_eq!(
        line(&operation, "retained message on lights/milan-0001/state")["found"],
        "nothing"
    );
    assert!(world.row(&format!("DEVICE#{THING}"), "RECORD").is_none());
    assert!(
        world
            .row(&format!("DEVICE#{THING}"), "PREREGISTRATION")
            .is_none()
    );
    let tombstone = world.row(&format!("DEVICE#{THING}"), "TOMBSTONE").unwrap();
    assert_eq!(
        tombstone["certificateIds"].as_array().unwrap().len(),
        2,
        "{tombstone}"
    );
    assert_eq!(tombstone["operationId"], operation_id());
    assert_eq!(tombstone["expiresAt"], 2_524_608_000_u64);
}

#[tokio::test]
async fn the_proof_is_read_after_the_last_effect() {
    let cloud = Cloud::new(World::full());
    cloud.deletion().step(&step()).await.unwrap();
    let calls = cloud.world().calls.clone();
    let last_effect = calls
        .iter()
        .rposition(|call| cloud::is_effect(call))
        .unwrap();
    for read in [
        "DescribeThing",
        "ListThingPrincipals",
        "ListNamedShadowsForThing",
        "ListObjectVersions",
    ] {
        let last_read = calls.iter().rposition(|call| call == read).unwrap();
        assert!(
            last_read > last_effect,
            "{read} was last read before {}",
            calls[last_effect]
        );
    }
}

#[tokio::test]
async fn what_settles_is_pending_and_never_a_failure() {
    let mut world = World::full();
    // Two certificates and the thing are refused in each of three rounds.
    world.settling = 9;
    let cloud = Cloud::new(world);
    let first = cloud.deletion().step(&step()).await.unwrap();
    assert!(matches!(first, Answer::Pending { .. }), "{first:?}");
    let operation = cloud.world().operation();
    assert_eq!(operation["status"], "RUNNING");
    assert_eq!(line(&operation, "thing")["clear"], false);
    let remembered = operation["deletion"]["certificates"].as_object().unwrap();
    assert_eq!(
        remembered.len(),
        2,
        "the ids outlive the attachment: {operation:#}"
    );
    assert_eq!(cloud.deletion().step(&step()).await.unwrap(), Answer::Done);
    assert_eq!(cloud.world().left(), World::full().others());
}

#[tokio::test]
async fn a_shared_certificate_is_detached_and_left_alone() {
    let mut world = World::full();
    let shared = cloud::certificate_id('a');
    world.attach("turin-7", &shared);
    let cloud = Cloud::new(world);
    assert_eq!(cloud.deletion().step(&step()).await.unwrap(), Answer::Done);
    let world = cloud.world();
    assert_eq!(world.certificates[&shared], "ACTIVE");
    assert!(world.principals["turin-7"].contains(&cloud::arn(&shared)));
    let found = line(&world.operation(), &format!("certificate {shared}"));
    assert!(
        found["found"].as_str().unwrap().starts_with("shared, left"),
        "{found}"
    );
}

#[tokio::test]
async fn a_revoked_certificate_is_detached_and_kept() {
    let mut world = World::full();
    let revoked = cloud::certificate_id('a');
    world
        .certificates
        .insert(revoked.clone(), "REVOKED".to_owned());
    let cloud = Cloud::new(world);
    assert_eq!(cloud.deletion().step(&step()).await.unwrap(), Answer::Done);
    let world = cloud.world();
    assert_eq!(world.certificates[&revoked], "REVOKED");
    let tombstone = world.row(&format!("DEVICE#{THING}"), "TOMBSTONE").unwrap();
    assert!(
        tombstone["certificateIds"]
            .as_array()
            .unwrap()
            .contains(&json!(revoked))
    );
}

/// A survivor that no call removes makes the operation PENDING, then FAILED
/// with the line that names it.
async fn check_survivor(immortal: &str, subject: &str, named: &str) {
    let mut world = World::full();
    world.immortal = Some(immortal.to_owned());
    let cloud = Cloud::new(world);
    let answer = cloud.deletion().step(&step()).await.unwrap();
    assert!(
        matches!(answer, Answer::Pending { .. }),
        "{immortal}: {answer:?}"
    );
    assert_eq!(
        cloud.deletion().step(&failed("Stuck")).await.unwrap(),
        Answer::Failed
    );
    let world = cloud.world();
    let operation = world.operation();
    assert_eq!(operation["status"], "FAILED", "{immortal}");
    assert_eq!(operation["failure"]["kind"], "Stuck");
    let found = line(&operation, subject);
    assert_eq!(found["clear"], false, "{found}");
    assert!(found["found"].as_str().unwrap().contains(named), "{found}");
    let record = world.row(&format!("DEVICE#{THING}"), "RECORD").unwrap();
    assert_eq!(record["status"], "DELETING");
}

#[tokio::test]
async fn each_survivor_fails_the_proof() {
    let id = cloud::certificate_id('b');
    let attachment = format!("attachment:{id}");
    tokio::join!(
        check_survivor("shadow:s2", "named shadows", "s2"),
        check_survivor("shadow:", "classic shadow", "a document"),
        check_survivor("version:custody/v2", "key object versions", "v2"),
        check_survivor("version:replica/r2", "key object versions, replica", "r2"),
        check_survivor(
            "retained:lights/milan-0001/alarm",
            "retained message on lights/milan-0001/alarm",
            "a message"
        ),
        check_survivor("tunnel:t2", "tunnels", "t2"),
        check_survivor("execution:job-2", "job executions", "job-2"),
        check_survivor("connection", "connection", "connected"),
        check_survivor(&attachment, "principals", id.as_str()),
        check_survivor("thing", "thing", "the thing"),
    );
}

#[tokio::test]
async fn a_lost_answer_or_a_refused_call_anywhere_changes_nothing_in_the_end() {
    let undisturbed = Cloud::new(World::full());
    undisturbed.deletion().step(&step()).await.unwrap();
    let calls = undisturbed.world().calls.len();
    let runs = (0..calls).flat_map(|n| [(n, Fate::Lost), (n, Fate::Refused)]);
    let runs = runs.map(|(n, fate)| async move {
        let mut world = World::full();
        world.fate = Some((n, fate));
        let cloud = Cloud::new(world);
        for delivery in 0..6 {
            if cloud.deletion().step(&step()).await.ok() == Some(Answer::Done) {
                break;
            }
            assert!(delivery < 5, "call {n} {fate:?} is never got over");
            // The lease of a killed invocation runs out.
            cloud.world().edit_operation("leaseUntil", &json!(0));
        }
        let world = cloud.world();
        assert_eq!(
            world.left(),
            World::full().others(),
            "call {n} {fate:?}: {:?}",
            world.calls
        );
        assert_eq!(world.rows(), undisturbed_rows(), "call {n} {fate:?}");
    });
    futures_util::future::join_all(runs).await;
}

/// The keys of the rows that an undisturbed deletion leaves.
fn undisturbed_rows() -> Vec<String> {
    let mut rows = vec![
        format!("DEVICE#{THING}/TOMBSTONE"),
        format!("OP#{}/OPERATION", operation_id()),
        format!("OP#{}/OPERATION", cloud::creation_id()),
        "PROFILE#milan/PROFILE".to_owned(),
        "TYPE#streetlight/TOPICS".to_owned(),
    ];
    rows.sort();
    rows
}

#[tokio::test]
async fn what_an_unfinished_creation_minted_is_found_and_goes() {
    let mut world = World::full();
    world.creation_unfinished();
    let orphan = cloud::certificate_id('d');
    world
        .certificates
        .insert(orphan.clone(), "ACTIVE".to_owned());
    world.mint(&orphan);
    let cloud = Cloud::new(world);
    assert_eq!(cloud.deletion().step(&step()).await.unwrap(), Answer::Done);
    assert!(!cloud.world().certificates.contains_key(&orphan));
}

#[tokio::test]
async fn a_key_that_is_on_record_as_another_devices_stays_there() {
    let mut world = World::full();
    let key = format!("KEY#{}", "f".repeat(64));
    let theirs = json!({ "thingName": "turin-7", "operationId": cloud::creation_id() });
    world.put(&key, "OWNER", theirs);
    let cloud = Cloud::new(world);
    assert_eq!(cloud.deletion().step(&step()).await.unwrap(), Answer::Done);
    assert!(cloud.world().row(&key, "OWNER").is_some());
}

#[tokio::test]
async fn what_an_unfinished_creation_signed_goes_whether_it_was_registered_or_not() {
    for registered in [true, false] {
        let mut world = World::full();
        world.creation_unfinished();
        let orphan = cloud::certificate_id('d');
        if registered {
            world
                .certificates
                .insert(orphan.clone(), "ACTIVE".to_owned());
        }
        // Its key finds it nowhere: only the record tells of it.
        world.signed(&orphan);
        let cloud = Cloud::new(world);
        assert_eq!(cloud.deletion().step(&step()).await.unwrap(), Answer::Done);
        assert!(!cloud.world().certificates.contains_key(&orphan));
    }
}

#[tokio::test]
async fn two_invocations_do_not_work_at_once() {
    let mut world = World::full();
    world.edit_operation("leaseUntil", &json!(u64::MAX / 2));
    let cloud = Cloud::new(world);
    let answer = cloud.deletion().step(&step()).await.unwrap();
    assert!(matches!(answer, Answer::Pending { .. }));
    assert!(
        !cloud
            .world()
            .calls
            .iter()
            .any(|call| cloud::is_effect(call))
    );
    assert_eq!(
        cloud
            .deletion()
            .step(&failed("Stuck"))
            .await
            .unwrap_err()
            .kind,
        Kind::Busy
    );
}

#[tokio::test]
async fn an_ended_operation_is_answered_and_an_unknown_one_refused() {
    let mut world = World::full();
    world.edit_operation("status", &json!("DONE"));
    let cloud = Cloud::new(world);
    assert_eq!(cloud.deletion().step(&step()).await.unwrap(), Answer::Done);
    let other = json!({ "operationId": cloud::creation_id(), "thingName": THING });
    let wrong: Step = serde_json::from_value(other).unwrap();
    assert_eq!(
        cloud.deletion().step(&wrong).await.unwrap_err().kind,
        Kind::Invalid
    );
    let unknown = json!({ "operationId": format!("op-{}", "0".repeat(32)), "thingName": THING });
    let unknown: Step = serde_json::from_value(unknown).unwrap();
    assert_eq!(
        cloud.deletion().step(&unknown).await.unwrap_err().kind,
        Kind::NotFound
    );
}

#[tokio::test]
async fn a_claim_is_one_operation_however_often_it_comes() {
    let mut world = World::full();
    world.edit_record("status", &json!("ACTIVE"));
    world.edit_record("operationId", &json!(cloud::creation_id()));
    let cloud = Cloud::new(world);
    let (first, second) = tokio::join!(
        async { cloud.deletion().claim(&name()).await.unwrap() },
        async { cloud.deletion().claim(&name()).await.unwrap() }
    );
    assert_eq!(first, second);
    let Claimed::Accepted(id) = &first else {
        panic!("{first:?}")
    };
    assert_eq!(cloud.deletion().claim(&name()).await.unwrap(), first);
    let input = json!({ "operationId": id, "thingName": THING });
    let started = cloud.world().executions_started[id.as_str()].clone();
    assert_eq!(started, input);
    let begun = Step {
        operation_id: id.clone(),
        ..step()
    };
    assert_eq!(cloud.deletion().step(&begun).await.unwrap(), Answer::Done);
    assert_eq!(
        cloud.deletion().claim(&name()).await.unwrap(),
        Claimed::Absent(Some(id.clone()))
    );
}

#[tokio::test]
async fn a_failed_deletion_is_begun_again_with_what_it_knew() {
    let mut world = World::full();
    world.immortal = Some("thing".to_owned());
    let cloud = Cloud::new(world);
    cloud.deletion().step(&step()).await.unwrap();
    cloud.deletion().step(&failed("Stuck")).await.unwrap();
    cloud.world().immortal = None;
    let Claimed::Accepted(again) = cloud.deletion().claim(&name()).await.unwrap() else {
        panic!()
    };
    assert_ne!(again.as_str(), operation_id());
    let begun = Step {
        operation_id: again,
        ..step()
    };
    assert_eq!(cloud.deletion().step(&begun).await.unwrap(), Answer::Done);
    let tombstone = cloud
        .world()
        .row(&format!("DEVICE#{THING}"), "TOMBSTONE")
        .unwrap();
    assert_eq!(tombstone["certificateIds"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_creation_under_way_is_busy_and_a_dead_one_is_fenced() {
    let mut world = World::full();
    world.creation_unfinished();
    world.edit_record("status", &json!("CREATING"));
    world.edit_record("operationId", &json!(cloud::creation_id()));
    world.edit_creation("leaseUntil", &json!(u64::MAX / 2));
    let cloud = Cloud::new(world);
    let busy = cloud.deletion().claim(&name()).await.unwrap_err();
    assert_eq!(busy.kind, Kind::Busy);
    cloud.world().edit_creation("leaseUntil", &json!(5));
    assert!(matches!(
        cloud.deletion().claim(&name()).await.unwrap(),
        Claimed::Accepted(_)
    ));
    let creation = cloud
        .world()
        .row(&format!("OP#{}", cloud::creation_id()), "OPERATION")
        .unwrap();
    assert_eq!(creation["status"], "FAILED");
}

#[tokio::test]
async fn what_the_registry_does_not_know_is_absent_and_left() {
    let mut world = World::full();
    world.forget(THING);
    let cloud = Cloud::new(world);
    assert_eq!(
        cloud.deletion().claim(&name()).await.unwrap(),
        Claimed::Absent(None)
    );
    assert!(cloud.world().things.contains(THING));
}
