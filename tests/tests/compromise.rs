//! Compromise: a light whose key somebody else holds is cut off at once, and
//! stays so; a case says what was found, until an operator closes it.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use lamplighter_tests::cases::{certificate, opened, report, secured};
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{PATIENCE, created, deliver};
use lamplighter_tests::device::{trace, unique};
use lamplighter_tests::faults::{self, CRASHES, Point};
use lamplighter_tests::inventory::{describe, iot, row, state_of, versions};
use lamplighter_tests::lamp::{documents, lamp};
use lamplighter_tests::removal::ended;
use lamplighter_tests::rotation::{Event, Light, delivered};
use lamplighter_tests::running::{Created, of};
use lamplighter_tests::tunnels;
use serde_json::{Value, json};

const AT_ONCE: usize = 12;

async fn connected(cloud: &Cloud, thing: &str) -> bool {
    let ask = Ask::new("GET", format!("/connections/{thing}"));
    cloud.aws("iotdata", &ask).await.json()["connected"] == true
}

#[tokio::test]
async fn a_running_light_is_cut_off_and_does_not_come_back() {
    let cloud = Cloud::open();
    let light = Created::new("cut", &[]);
    let device = light.run(&[]);
    let started = Instant::now();
    while !connected(&cloud, &light.thing).await {
        assert!(started.elapsed() < PATIENCE, "it never connects");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let reported = lamp()
        .args(["cert", "compromised", &light.thing, "--confirmed"])
        .args(["--reason", "the light was stolen", "--output", "json"])
        .output()
        .expect("lamp runs");
    let case = documents(&reported).remove(0);
    assert_eq!(case["verdict"], "confirmed", "{case}");
    let id = case["caseId"].as_str().expect("an id");
    let case = secured(&cloud, id).await;
    assert!(!connected(&cloud, &light.thing).await, "{case}");

    device.repeats("refused", 3).await;
    let said = device.stop();
    assert_eq!(of(&said, "connected").len(), 1, "{said:?}");
    // Nor does it with the same certificate later.
    let device = light.run(&[]);
    device.repeats("refused", 2).await;
    let said = device.stop();
    assert!(of(&said, "connected").is_empty(), "{said:?}");

    let closed = lamp()
        .args(["case", "close", id, "--output", "json"])
        .output()
        .expect("lamp runs");
    assert!(closed.status.success(), "{closed:?}");
    let revoked = case["certificateId"].as_str().expect("an id");
    assert_eq!(
        certificate(&cloud, revoked).await,
        ("REVOKED".to_owned(), true)
    );
    // A revoked certificate renews nothing, closed case or not.
    let renewal = format!("/devices/{}/certificate/renewal", light.thing);
    cloud.api(&Ask::new("POST", renewal)).await.expect(409);
}

#[tokio::test]
async fn no_key_of_a_quarantined_device_is_handed_out() {
    let cloud = Cloud::open();
    let thing = unique("vault");
    created(&cloud, &json!({"thingName": thing})).await;
    // Every version goes, not only the one that is read.
    let stored = versions(&cloud, &format!("keys/{thing}/")).await;
    let first = stored.first().expect("a sealed key");
    let (key, _) = first.split_once(' ').expect("a key and its version");
    let path = format!("/{}/{key}", cloud.stack("CustodyBucket"));
    let put = Ask::new("PUT", path).text("another version");
    assert_eq!(cloud.aws("s3", &put).await.status, 200);
    assert_eq!(versions(&cloud, &format!("keys/{thing}/")).await.len(), 2);
    let case = opened(&cloud, &thing, "confirmed").await;
    let ask = Ask::credentials(&thing);
    assert_eq!(cloud.api(&ask).await.expect(403)["code"], "Denied");
    let id = case["caseId"].as_str().expect("an id");
    secured(&cloud, id).await;
    assert!(versions(&cloud, &format!("keys/{thing}/")).await.is_empty());
    let device = cloud
        .api(&Ask::new("GET", format!("/devices/{thing}")))
        .await
        .expect(200);
    assert_eq!(device["caseId"], case["caseId"], "{device}");
    assert!(device["quarantinedAt"].is_u64(), "{device}");
    // Reported again, it is the same case; closed, its key is still nobody's.
    assert_eq!(
        opened(&cloud, &thing, "suspected").await["caseId"],
        case["caseId"]
    );
    let closing = Ask::new("POST", format!("/cases/{id}/closing"));
    assert_eq!(cloud.api(&closing).await.expect(200)["status"], "CLOSED");
    assert_eq!(cloud.api(&closing).await.expect(200)["status"], "CLOSED");
    cloud.api(&ask).await.expect(403);
}

#[tokio::test]
async fn a_report_names_a_certificate_of_the_device_or_is_refused() {
    let cloud = Cloud::open();
    let (thing, other) = (unique("named"), unique("other"));
    created(&cloud, &json!({"thingName": thing})).await;
    let others = created(&cloud, &json!({"thingName": other})).await;
    let theirs = others["certificateId"].as_str().expect("an id");
    let mut body = json!({"verdict": "confirmed", "reason": "x", "certificateId": theirs});
    let answer = cloud.api(&report(&thing, &body)).await.expect(404);
    assert_eq!(answer["field"], "certificateId", "{answer}");
    assert_eq!(certificate(&cloud, theirs).await.0, "ACTIVE");
    body["verdict"] = "certain".into();
    cloud.api(&report(&thing, &body)).await.expect(400);
    let nobody = json!({"verdict": "confirmed", "reason": "x"});
    cloud
        .api(&report(&unique("nobody"), &nobody))
        .await
        .expect(404);
}

#[tokio::test]
async fn a_rotation_under_way_ends_and_what_it_made_goes_too() {
    let cloud = Cloud::open();
    let light = Light::new(&cloud).await;
    for event in [Event::Step, Event::Request, Event::Step] {
        let payload = light.event(&cloud, event).await;
        delivered(&cloud, &payload, None).await;
    }
    let new = light.new_id(&cloud).await;
    assert_eq!(certificate(&cloud, &new).await.0, "ACTIVE");
    let case = opened(&cloud, &light.thing, "confirmed").await;
    secured(&cloud, case["caseId"].as_str().expect("an id")).await;
    for id in [&light.old, &new] {
        assert_eq!(certificate(&cloud, id).await, ("REVOKED".to_owned(), true));
    }
    assert_eq!(light.phase(&cloud).await, "FENCED");
    assert_eq!(ended(&cloud, &light.rotation).await, "FAILED");
    // Neither proves nor requests anything any more.
    for event in [Event::Proof, Event::Request, Event::Step] {
        let payload = light.event(&cloud, event).await;
        delivered(&cloud, &payload, None).await;
    }
    assert_eq!(light.phase(&cloud).await, "FENCED");
}

#[tokio::test]
async fn tunnels_and_jobs_end_with_it() {
    let cloud = Cloud::open();
    let thing = unique("busy");
    created(&cloud, &json!({"thingName": thing})).await;
    tunnels::opened(&cloud, &thing).await;
    let arn = describe(&cloud, &format!("/things/{thing}"))
        .await
        .expect(200)["thingArn"]
        .clone();
    let (job, body) = (unique("job"), json!({"targets": [arn], "document": "{}"}));
    iot(&cloud, "PUT", &format!("/jobs/{job}"), &body)
        .await
        .expect(200);
    let case = opened(&cloud, &thing, "confirmed").await;
    secured(&cloud, case["caseId"].as_str().expect("an id")).await;
    assert!(tunnels::open_in_aws(&cloud, &thing).await.is_empty());
    let listed = describe(&cloud, &format!("/jobs/{job}/things"))
        .await
        .expect(200);
    let execution = &listed["executionSummaries"][0]["jobExecutionSummary"]["status"];
    assert_ne!(*execution, "QUEUED", "{listed}");
}

/// The report struck at one call, then reported again until it is secured.
async fn struck(cloud: &Cloud, point: &Point, mode: &str, undisturbed: &Value) -> Option<String> {
    let thing = unique("struck");
    created(cloud, &json!({"thingName": thing})).await;
    let here = format!("{mode} {} #{} of {thing}", point.operation, point.nth);
    let body = json!({"verdict": "confirmed", "reason": "a test"});
    let trace = trace();
    let fault = faults::strike(cloud, &trace, point, mode).await;
    cloud.api(&report(&thing, &body).trace(&trace)).await;
    if faults::fired(cloud, fault).await != 1 {
        return Some(format!("{here}: the point was not passed"));
    }
    let again = deliver(cloud, &report(&thing, &body)).await;
    if again.status != 202 {
        return Some(format!("{here}: {} {}", again.status, again.text));
    }
    secured(cloud, again.json()["caseId"].as_str().expect("an id")).await;
    let state = left(cloud, &thing).await;
    (state != *undisturbed).then(|| format!("{here}: {state}, undisturbed it is {undisturbed}"))
}

/// What is left of a device in AWS and in the registry once it is cut off.
async fn left(cloud: &Cloud, thing: &str) -> Value {
    let record = row(cloud, &format!("DEVICE#{thing}"), "RECORD").await;
    let id = record["certificateId"]["S"].as_str().expect("an id");
    json!({
        "state": state_of(cloud, thing).await,
        "certificate": certificate(cloud, id).await,
        "quarantined": record["quarantinedAt"]["N"].is_string(),
    })
}

#[tokio::test]
async fn a_report_survives_every_crash() {
    let cloud = &Cloud::open();
    // The account's first case makes the deny policy; here that is over.
    let first = unique("first");
    created(cloud, &json!({"thingName": first})).await;
    let case = opened(cloud, &first, "confirmed").await;
    secured(cloud, case["caseId"].as_str().expect("an id")).await;
    let thing = unique("whole");
    created(cloud, &json!({"thingName": thing})).await;
    let body = json!({"verdict": "confirmed", "reason": "a test"});
    let trace = trace();
    let reply = cloud.api(&report(&thing, &body).trace(&trace)).await;
    let case = reply.expect(202);
    assert!(case["securedAt"].is_u64(), "{case}");
    let undisturbed = left(cloud, &thing).await;
    assert_eq!(undisturbed["certificate"], json!(["REVOKED", true]));
    let points = faults::points(cloud, &trace).await;
    assert!(points.len() > 20, "{points:?}");
    let cases = CRASHES
        .iter()
        .flat_map(|mode| points.iter().map(move |point| (point, *mode)));
    let wrong: Vec<String> = stream::iter(cases)
        .map(|(point, mode)| struck(cloud, point, mode, &undisturbed))
        .buffer_unordered(AT_ONCE)
        .filter_map(async |outcome| outcome)
        .collect()
        .await;
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
