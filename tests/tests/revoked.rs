//! What somebody revokes by hand, what a case or a deletion ends, and keys whose
//! certificates are gone: no rotation is jammed, and nothing of it stays.

use std::time::{Duration, Instant};

use lamplighter_tests::cases::{certificate, opened, secured};
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{PATIENCE, created, deliver};
use lamplighter_tests::device::{Key, token, unique};
use lamplighter_tests::inventory::{describe, iot};
use lamplighter_tests::removal::deleted;
use lamplighter_tests::rotation::{Event, Light, delivered};
use serde_json::{Value, json};

async fn revoke(cloud: &Cloud, id: &str) {
    let path = format!("/certificates/{id}?newStatus=REVOKED");
    iot(cloud, "PUT", &path, &Value::Null).await.expect(200);
}

async fn happens(cloud: &Cloud, light: &Light, events: &[Event]) {
    for event in events {
        delivered(cloud, &light.event(cloud, *event).await, None).await;
    }
}

/// A light whose new certificate is issued and not yet proved.
async fn issued(cloud: &Cloud) -> Light {
    let light = Light::new(cloud).await;
    happens(cloud, &light, &[Event::Step, Event::Request, Event::Step]).await;
    light
}

/// The rotation goes on to its end without having to wait.
async fn ends(cloud: &Cloud, light: &Light, moment: &str) -> String {
    light.pass(cloud, Some(moment)).await;
    happens(cloud, light, &[Event::Step]).await;
    light.phase(cloud).await
}

#[tokio::test]
async fn a_new_certificate_revoked_by_hand_is_withdrawn_and_the_next_is_proved() {
    let cloud = &Cloud::open();
    let light = issued(cloud).await;
    let new = light.new_id(cloud).await;
    revoke(cloud, &new).await;
    assert_eq!(ends(cloud, &light, "deadline").await, "ROLLED_BACK");
    assert_eq!(certificate(cloud, &new).await.0, "GONE");
    let old = light.old.clone();
    let again = light.again(old);
    let events = [
        Event::Step,
        Event::Request,
        Event::Step,
        Event::Proof,
        Event::Step,
    ];
    happens(cloud, &again, &events).await;
    assert_eq!(ends(cloud, &again, "removeAt").await, "DONE");
}

#[tokio::test]
async fn an_old_certificate_revoked_by_hand_lets_its_successor_be_proved() {
    let cloud = &Cloud::open();
    let light = issued(cloud).await;
    revoke(cloud, &light.old).await;
    happens(cloud, &light, &[Event::Proof, Event::Step]).await;
    assert_eq!(ends(cloud, &light, "removeAt").await, "DONE");
    assert_eq!(
        certificate(cloud, &light.new_id(cloud).await).await.0,
        "ACTIVE"
    );
}

#[tokio::test]
async fn what_was_revoked_by_hand_is_not_renewed_on_request() {
    let cloud = &Cloud::open();
    let light = Light::new(cloud).await;
    revoke(cloud, &light.old).await;
    for custody in ["device", "vault"] {
        let ask = Ask::new(
            "POST",
            format!("/devices/{}/certificate/renewal", light.thing),
        )
        .text(json!({"custody": custody}).to_string());
        let refused = cloud.api(&ask).await.expect(409);
        assert_eq!(refused["code"], "Conflict", "{refused}");
    }
}

#[tokio::test]
async fn a_key_whose_certificate_is_gone_is_nobodys_again() {
    let cloud = &Cloud::open();
    let thing = unique("turn");
    let first = Key::make(&thing);
    let answer = created(cloud, &json!({"thingName": thing, "csr": first.csr})).await;
    let old = answer["certificateId"].as_str().expect("an id").to_owned();
    let light = Light {
        old,
        rotation: format!("op-{:0>32}", token()),
        key: Key::make(&thing),
        thing,
    };
    let events = [
        Event::Step,
        Event::Request,
        Event::Step,
        Event::Proof,
        Event::Step,
    ];
    happens(cloud, &light, &events).await;
    let new = light.new_id(cloud).await;
    assert_eq!(ends(cloud, &light, "removeAt").await, "DONE");

    let other = json!({"thingName": unique("other"), "csr": first.csr});
    assert_eq!(
        cloud.api(&Ask::create(&other)).await.expect(409)["field"],
        "csr"
    );
    let again = Light {
        key: first,
        ..light.again(new)
    };
    happens(cloud, &again, &[Event::Step, Event::Request, Event::Step]).await;
    assert_eq!(again.phase(cloud).await, "REQUESTED");
}

/// A light that a job has told of its renewal, whose workflow waits for it.
async fn told_by_a_job(cloud: &Cloud) -> Light {
    let light = Light::new(cloud).await;
    let ask = Ask::new(
        "POST",
        format!("/devices/{}/certificate/renewal", light.thing),
    )
    .text(json!({"messenger": "job"}).to_string());
    let answer = deliver(cloud, &ask).await.expect(202);
    let rotation = answer["operationId"].as_str().expect("an id").to_owned();
    let light = Light { rotation, ..light };
    light.waits(cloud).await;
    describe(cloud, &format!("/jobs/{}", light.job()))
        .await
        .expect(200);
    light
}

/// Long before the device's time to answer has passed.
async fn job_goes(cloud: &Cloud, light: &Light) {
    let started = Instant::now();
    let job = format!("/jobs/{}", light.job());
    while describe(cloud, &job).await.status != 404 {
        assert!(started.elapsed() < PATIENCE, "{job} is still there");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

#[tokio::test]
async fn a_job_that_tells_of_a_renewal_goes_with_its_device() {
    let cloud = &Cloud::open();
    let light = told_by_a_job(cloud).await;
    deleted(cloud, &light.thing).await;
    job_goes(cloud, &light).await;
}

#[tokio::test]
async fn a_job_that_tells_of_a_renewal_goes_when_a_case_cuts_its_device_off() {
    let cloud = &Cloud::open();
    let light = told_by_a_job(cloud).await;
    let case = opened(cloud, &light.thing, "confirmed").await;
    secured(cloud, case["caseId"].as_str().expect("an id")).await;
    job_goes(cloud, &light).await;
}
