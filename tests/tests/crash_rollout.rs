//! The function is stopped before and after its calls for a job, and loses
//! replies, whichever trigger it came by; the job is carried out all the same,
//! no light has it twice, and its trail tells each thing once (invariants 3 and 6).

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use lamplighter_domain::rollout::RolloutId;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{PATIENCE, deliver};
use lamplighter_tests::device::unique;
use lamplighter_tests::faults::{self, CRASHES};
use lamplighter_tests::inventory::{describe, row};
use lamplighter_tests::rollout::{Lights, happened, poke, seen, set_past, told};
use serde_json::{Value, json};

/// Each has its lights in a group, and AWS lets a thing into ten, with those that
/// it is in anyway.
const AT_ONCE: usize = 8;
/// A worker is done in less, or dead.
const ALIVE: Duration = Duration::from_secs(3);

/// Calls that name the job: which of an operation's.
const POINTS: [(&str, u64); 17] = [
    ("states:StartExecution", 1),
    ("dynamodb:PutItem", 1),
    ("dynamodb:PutItem", 2),
    ("dynamodb:TransactWriteItems", 1),
    ("dynamodb:TransactWriteItems", 2),
    ("dynamodb:TransactWriteItems", 3),
    ("dynamodb:TransactWriteItems", 5),
    ("dynamodb:TransactWriteItems", 7),
    ("dynamodb:TransactWriteItems", 9),
    ("dynamodb:TransactWriteItems", 12),
    ("dynamodb:TransactWriteItems", 15),
    ("iot:CreateJob", 1),
    ("iot:CreateJob", 2),
    ("iot:DescribeJob", 1),
    ("iot:CreateThingGroup", 1),
    ("iot:AddThingToThingGroup", 1),
    ("iot:DeleteThingGroup", 1),
];

/// Tells AWS that whoever has a turn has done it.
async fn answer_all(cloud: &Cloud, job: &Value) {
    let Some(name) = job["wave"]["jobId"].as_str() else {
        return;
    };
    let listed = describe(cloud, &format!("/jobs/{name}/things"))
        .await
        .json();
    for one in listed["executionSummaries"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let thing = one["thingArn"]
            .as_str()
            .and_then(|arn| arn.rsplit('/').next());
        if one["jobExecutionSummary"]["status"] == "QUEUED" {
            let path = format!("/things/{}/jobs/{name}", thing.expect("a name"));
            let ask = Ask::new("POST", path).text(r#"{"status": "SUCCEEDED"}"#);
            cloud.aws("iot-jobs-data", &ask).await;
        }
    }
}

/// Lets time pass: the minute between two jobs, a dead worker's lease, and the
/// quarter of an hour after which a job is looked at by itself.
async fn pass_time(cloud: &Cloud, job: &str, lease: &mut (String, Instant)) {
    let kept = row(cloud, &format!("ROLLOUT#{job}"), "ROLLOUT").await;
    let until = kept["leaseUntil"]["N"].as_str().unwrap_or_default();
    if until != lease.0 {
        *lease = (until.to_owned(), Instant::now());
    }
    if lease.1.elapsed() > ALIVE {
        if until != "0" {
            set_past(cloud, job, "leaseUntil", "leaseUntil > :past").await;
        }
        set_past(cloud, job, "wave.lookAt", "wave.lookAt > :past").await;
        lease.1 = Instant::now();
    }
    set_past(
        cloud,
        job,
        "notBefore",
        "notBefore > :past AND leaseUntil < :past",
    )
    .await;
    poke(cloud, job).await;
}

/// Carries a job out although one call is struck; what is wrong, if anything.
async fn case(
    cloud: &Cloud,
    lights: &Lights,
    caller: &str,
    (operation, nth): (&str, u64),
    mode: &str,
) -> Option<String> {
    let key = unique("key");
    let id = RolloutId::from_key(&format!("{caller}\0{key}"));
    let job = id.as_str();
    let fault = json!({
        "function": cloud.stack("DispatchJobFunction"), "operation": operation,
        "thing": job, "nth": nth, "mode": mode,
    });
    let fault = faults::set(cloud, &fault).await;
    let case = format!("{mode} {operation} #{nth} of {job}");
    let body = lights.blink(json!({"things": lights.things}), json!({"waves": [1, 101]}));
    let ask = Ask::new("POST", "/jobs")
        .text(body.to_string())
        .header("idempotency-key", key);
    deliver(cloud, &ask).await.expect(202);
    let (begun, mut lease) = (Instant::now(), (String::new(), Instant::now()));
    let done = loop {
        let seen = seen(cloud, job).await;
        if seen["status"] == "DONE" || begun.elapsed() > PATIENCE {
            break seen;
        }
        answer_all(cloud, &seen).await;
        pass_time(cloud, job, &mut lease).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    if done["status"] != "DONE" || done["counts"]["succeeded"] != 2 {
        return Some(format!("{case}: it ends as {done}"));
    }
    let trail = [
        "asked",
        "waveBegan 1",
        "waveEnded 1",
        "waveBegan 2",
        "waveEnded 2",
        "done",
    ];
    if happened(&done) != trail {
        return Some(format!("{case}: its trail is {:?}", happened(&done)));
    }
    if faults::fired(cloud, fault).await != 1 {
        return Some(format!("{case}: the point was not passed"));
    }
    for thing in &lights.things {
        let path = format!("/things/{thing}/jobs?maxResults=250");
        let listed = describe(cloud, &path).await.json();
        let all = listed["executionSummaries"].as_array().expect("a list");
        let ours = |one: &&Value| one["jobId"].as_str().is_some_and(|id| id.starts_with(job));
        let turns = all.iter().filter(ours).count();
        if turns != 1 {
            return Some(format!("{case}: {thing} has it {turns} times"));
        }
    }
    let group = describe(cloud, &format!("/thing-groups/{job}-w2")).await;
    (group.status != 404).then(|| format!("{case}: its group stays"))
}

#[tokio::test]
async fn a_job_survives_every_crash_and_no_light_has_it_twice() {
    let cloud = &Cloud::open();
    let lights = &Lights::new(cloud, 2).await;
    let body = lights.blink(lights.all(), json!({"waves": [1]}));
    let ask = Ask::new("POST", "/jobs").text(body.to_string());
    let first = deliver(cloud, &ask).await.expect(202);
    let caller = first["startedBy"].as_str().expect("a caller");
    let cases = CRASHES.iter().flat_map(|mode| {
        POINTS
            .iter()
            .map(move |point| case(cloud, lights, caller, *point, mode))
    });
    let outcomes: Vec<_> = stream::iter(cases)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let wrong: Vec<_> = outcomes.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    let first = first["jobId"].as_str().expect("an id");
    told(cloud, first, "cancel", json!({"running": true})).await;
}
