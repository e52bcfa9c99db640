//! A sweep finds what is due by day, waits for approval, starts a rotation for
//! each light, and counts how they end; what failed can be tried again.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use lamplighter_domain::due;
use lamplighter_domain::names::{CertificateId, OperationId, ThingName};
use lamplighter_domain::time::{DAY_MILLIS, Day, Moment};
use lamplighter_tests::cases::{opened, secured};
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{PATIENCE, deliver};
use lamplighter_tests::device::unique;
use lamplighter_tests::inventory::row;
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::removal::{deleted, ended};
use lamplighter_tests::rotation::{Event, Light, delivered};
use lamplighter_tests::running::Running;
use serde_json::{Value, json};
use tokio::sync::Mutex;

/// How many lights are due in a sweep that is paused.
const DUE: u64 = 7;

/// One sweep is open at a time.
static TURN: Mutex<()> = Mutex::const_new(());

/// Yesterday at this time.
fn yesterday() -> Moment {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("a clock after 1970");
    Moment(u64::try_from(now.as_millis()).expect("milliseconds")).minus_millis(DAY_MILLIS)
}

/// Sets a certificate's due time to the past, as time would.
async fn make_due(cloud: &Cloud, thing: &str, certificate: &str) {
    let at = yesterday();
    let update = json!({
        "TableName": cloud.stack("TableName"),
        "Key": {"PK": {"S": format!("DEVICE#{thing}")}, "SK": {"S": format!("CERT#{certificate}")}},
        "UpdateExpression": "SET dueAt = :at, dueShard = :shard",
        "ExpressionAttributeValues": {
            ":at": {"N": at.0.to_string()}, ":shard": {"S": due::shard(Day::of(at), 7)},
        },
    });
    let target = "DynamoDB_20120810.UpdateItem";
    cloud.aws_json("dynamodb", target, &update).await;
}

async fn sweep(cloud: &Cloud, id: &str) -> Value {
    let ask = Ask::new("GET", format!("/sweeps/{id}"));
    deliver(cloud, &ask).await.expect(200)
}

async fn until(cloud: &Cloud, id: &str, enough: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let seen = sweep(cloud, id).await;
        if enough(&seen) {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "{seen}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

#[tokio::test]
async fn a_sweep_renews_what_is_due_and_counts_how_each_rotation_ends() {
    let _turn = TURN.lock().await;
    let cloud = Cloud::open();
    let keys = std::env::temp_dir().join(unique("keys"));
    let keys = keys.to_str().expect("UTF-8");
    let things = [unique("sweep"), unique("sweep")];
    let created = lamp()
        .args([
            "device",
            "create",
            "--keys-dir",
            keys,
            "--issuer",
            "aws-iot",
        ])
        .args(&things)
        .output()
        .expect("lamp runs");
    assert!(created.status.success(), "{created:?}");
    for thing in &things {
        let record = row(&cloud, &format!("DEVICE#{thing}"), "RECORD").await;
        let certificate = record["certificateId"]["S"].as_str().expect("an id");
        make_due(&cloud, thing, certificate).await;
    }

    let day = Day::of(yesterday());
    let ask = Ask::new("GET", format!("/certificates?due={day}"));
    let listed = deliver(&cloud, &ask).await.expect(200);
    let found = listed["items"].as_array().expect("items");
    for thing in &things {
        let of_it = |row: &&Value| row["thingName"] == **thing;
        assert_eq!(found.iter().filter(of_it).count(), 1, "{listed}");
    }

    let ask = Ask::new("POST", "/sweeps").text(json!({"since": day.to_string()}).to_string());
    let started = deliver(&cloud, &ask).await.expect(202);
    let id = started["sweepId"].as_str().expect("an id").to_owned();
    commanded("approve", &id, "RUNNING");
    // Lights that came before would have been asked without a sweep.
    until(&cloud, &id, |seen| seen["status"] == "DONE").await;
    let devices = things
        .each_ref()
        .map(|thing| Running::start(thing, Path::new(keys), &[]));
    let done = until(&cloud, &id, |seen| seen["renewed"] == 2).await;
    assert_eq!((&done["started"], &done["failed"]), (&2.into(), &0.into()));
    drop(devices);

    let light = asked_by(&cloud, &id).await;
    deleted(&cloud, &light.thing).await;
    assert_eq!(sweep(&cloud, &id).await["failed"], 1);
    let light = asked_by(&cloud, &id).await;
    let case = opened(&cloud, &light.thing, "confirmed").await;
    secured(&cloud, case["caseId"].as_str().expect("an id")).await;
    assert_eq!(sweep(&cloud, &id).await["failed"], 2);
    // What was proved is renewed, although its rotation had not ended.
    let light = asked_by(&cloud, &id).await;
    for event in [Event::Step, Event::Proof] {
        delivered(&cloud, &light.event(&cloud, event).await, None).await;
    }
    deleted(&cloud, &light.thing).await;
    let seen = sweep(&cloud, &id).await;
    assert_eq!((&seen["renewed"], &seen["failed"]), (&3.into(), &2.into()));
    assert_eq!(ended(&cloud, &light.rotation).await, "DONE");
    std::fs::remove_dir_all(keys).expect("the keys go");
}

/// A light that a sweep has asked, and that answered, but does not prove.
async fn asked_by(cloud: &Cloud, sweep_id: &str) -> Light {
    let light = Light::new(cloud).await;
    let mut step = light.event(cloud, Event::Step).await;
    step["sweepId"] = sweep_id.into();
    delivered(cloud, &step, None).await;
    delivered(cloud, &light.event(cloud, Event::Request).await, None).await;
    light
}

/// What `lamp sweep` answers to a command.
fn says(arguments: &[&str]) -> Value {
    let output = lamp()
        .args(["sweep"])
        .args(arguments)
        .args(["--output", "json"])
        .output()
        .expect("lamp runs");
    let mut answers = documents(&output);
    answers.pop().unwrap_or_else(|| panic!("{output:?}"))
}

fn commanded(command: &str, id: &str, status: &str) -> Value {
    let answer = says(&[command, id]);
    assert_eq!(answer["status"], status, "{command}: {answer}");
    answer
}

/// The rotation that a sweep starts for a light that is due.
fn rotation(light: &Light, attempt: u32) -> String {
    let thing = ThingName::parse(&light.thing).expect("a name");
    let certificate = CertificateId::parse(&light.old).expect("an id");
    OperationId::of_rotation(&thing, &certificate, attempt).to_string()
}

/// The device asks, and its certificate is issued.
async fn asks(cloud: &Cloud, light: &Light) {
    light.waits(cloud).await;
    delivered(cloud, &light.event(cloud, Event::Request).await, None).await;
    light.reaches(cloud, "ISSUED").await;
}

/// The device asks and proves, and the workflow does the rest.
async fn proves(cloud: &Cloud, light: &Light) {
    asks(cloud, light).await;
    delivered(cloud, &light.event(cloud, Event::Proof).await, None).await;
}

/// The device asks, and its time to prove passes.
async fn does_not_prove(cloud: &Cloud, light: &Light) {
    asks(cloud, light).await;
    light.pass(cloud, Some("deadline")).await;
    delivered(cloud, &light.event(cloud, Event::Step).await, None).await;
}

#[tokio::test]
async fn a_person_approves_pauses_and_aborts_a_sweep_and_has_what_failed_tried_again() {
    let _turn = TURN.lock().await;
    let cloud = &Cloud::open();
    let mut lights = Vec::new();
    for _ in 0..DUE {
        let mut light = Light::new(cloud).await;
        make_due(cloud, &light.thing, &light.old).await;
        light.rotation = rotation(&light, 0);
        lights.push(light);
    }
    let day = Day::of(yesterday()).to_string();

    let id = says(&["start", "--since", &day])["sweepId"].clone();
    let id = id.as_str().expect("an id");
    assert_eq!(sweep(cloud, id).await["status"], "AWAITING_APPROVAL");
    // Two sweeps would share one budget.
    assert_eq!(says(&["start"])["error"]["code"], "Conflict");
    commanded("abort", id, "ABORTED");
    assert_eq!(says(&["approve", id])["error"]["code"], "Conflict");
    assert_eq!(sweep(cloud, id).await["started"], 0);

    let id = says(&["start", "--since", &day])["sweepId"].clone();
    let id = id.as_str().expect("an id");
    // At one a second this sweep takes much longer than the two commands.
    commanded("approve", id, "RUNNING");
    commanded("pause", id, "PAUSED");
    commanded("resume", id, "RUNNING");
    let done = until(cloud, id, |seen| seen["status"] == "DONE").await;
    assert_eq!(done["started"], DUE, "{done}");

    // The others are not heard of, which is no failure.
    let failing = lights.pop().expect("a light");
    proves(cloud, &lights[0]).await;
    proves(cloud, &lights[1]).await;
    does_not_prove(cloud, &failing).await;
    let counted = |renewed: u64, failed: u64| {
        move |seen: &Value| seen["renewed"] == renewed && seen["failed"] == failed
    };
    until(cloud, id, counted(2, 1)).await;

    commanded("retry", id, "RUNNING");
    let again = Light {
        rotation: rotation(&failing, 1),
        ..failing
    };
    proves(cloud, &again).await;
    let seen = until(cloud, id, counted(3, 1)).await;
    assert_eq!(ended(cloud, &again.rotation).await, "DONE", "{seen}");
    // Those that were renewed are left alone.
    assert_eq!(sweep(cloud, id).await["started"], DUE + 1);
}
