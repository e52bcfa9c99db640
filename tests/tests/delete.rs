//! Deletion ends with a proof, leaves alone what others use, and is not DONE
//! while anything survives.

use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{created, deliver};
use lamplighter_tests::device::{Key, public_key_of_certificate, trace, unique};
use lamplighter_tests::faults::{self, Point};
use lamplighter_tests::inventory::{describe, iot, principals, state_of, versions};
use lamplighter_tests::removal::{claimed_only, deleted, operation, step, stepped_to_the_end};
use lamplighter_tests::tunnels;
use serde_json::{Value, json};

async fn certificate_status(cloud: &Cloud, id: &str) -> Option<String> {
    let reply = describe(cloud, &format!("/certificates/{id}")).await;
    let found = reply.json()["certificateDescription"]["status"].clone();
    (reply.status != 404).then(|| found.as_str().expect("a status").to_owned())
}

#[tokio::test]
async fn it_ends_with_a_proof_and_leaves_a_tombstone() {
    let cloud = Cloud::open();
    let thing = unique("gone");
    let device = created(&cloud, &json!({"thingName": thing})).await;
    let id = deleted(&cloud, &thing).await;

    let report = cloud
        .api(&Ask::new("GET", format!("/operations/{id}")))
        .await
        .expect(200);
    assert_eq!(report["kind"], "DELETE", "{report}");
    assert_eq!(report["status"], "DONE", "{report}");
    let proof = report["proof"].as_array().expect("a proof");
    assert!(proof.iter().all(|line| line["clear"] == true), "{report}");
    for subject in [
        "thing",
        "certificate",
        "principals",
        "shadow",
        "tunnels",
        "key object",
    ] {
        let told = |line: &Value| {
            line["subject"]
                .as_str()
                .is_some_and(|text| text.contains(subject))
        };
        assert!(
            proof.iter().any(told),
            "nothing is said of {subject}: {report}"
        );
    }

    let state = state_of(&cloud, &thing).await;
    assert_eq!(
        describe(&cloud, &format!("/things/{thing}")).await.status,
        404
    );
    assert_eq!(
        certificate_status(&cloud, device["certificateId"].as_str().unwrap()).await,
        None
    );
    assert_eq!(state["keyVersions"], 0, "{state}");
    assert_eq!(
        state["operations"],
        json!(["CREATE DONE", "DELETE DONE"]),
        "{state}"
    );
    assert_eq!(state["registry"], json!({"TOMBSTONE": null}), "{state}");
    assert_eq!(state["keys"], 0, "{state}");

    let again = cloud.api(&Ask::delete(&thing)).await.expect(200);
    assert_eq!(again["status"], "ABSENT", "{again}");
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_absent() {
    let cloud = Cloud::open();
    let thing = unique("never");
    let answer = cloud.api(&Ask::delete(&thing)).await.expect(200);
    assert_eq!(answer["thingName"], thing.as_str());
    assert_eq!(answer["status"], "ABSENT");
    assert!(answer["message"].is_string(), "{answer}");
}

#[tokio::test]
async fn a_thing_that_is_not_ours_stays() {
    let cloud = Cloud::open();
    let thing = unique("theirs");
    iot(&cloud, "POST", &format!("/things/{thing}"), &json!({}))
        .await
        .expect(200);
    cloud.api(&Ask::delete(&thing)).await.expect(200);
    describe(&cloud, &format!("/things/{thing}"))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_name_can_be_used_again() {
    let cloud = Cloud::open();
    let thing = unique("again");
    let first = created(&cloud, &json!({"thingName": thing})).await;
    deleted(&cloud, &thing).await;
    let second = created(&cloud, &json!({"thingName": thing})).await;
    assert_ne!(first["certificateId"], second["certificateId"]);
    assert_ne!(first["operationId"], second["operationId"]);
    let attached = principals(&cloud, &thing).await;
    assert_eq!(attached.len(), 1);
    assert!(attached[0].ends_with(second["certificateId"].as_str().unwrap()));
}

#[tokio::test]
async fn a_certificate_that_another_thing_uses_is_only_detached() {
    let cloud = Cloud::open();
    let (thing, other) = (unique("shares"), unique("other"));
    created(
        &cloud,
        &json!({"thingName": thing, "csr": Key::make(&thing).csr}),
    )
    .await;
    let csr = json!({"certificateSigningRequest": Key::make(&other).csr});
    let shared = iot(&cloud, "POST", "/certificates?setAsActive=true", &csr)
        .await
        .expect(200);
    iot(&cloud, "POST", &format!("/things/{other}"), &json!({}))
        .await
        .expect(200);
    let arn = shared["certificateArn"].as_str().unwrap();
    for name in [&thing, &other] {
        let ask =
            Ask::new("PUT", format!("/things/{name}/principals")).header("x-amzn-principal", arn);
        cloud.aws("iot", &ask).await.expect(200);
    }
    deleted(&cloud, &thing).await;
    let id = shared["certificateId"].as_str().unwrap();
    assert_eq!(
        certificate_status(&cloud, id).await.as_deref(),
        Some("ACTIVE")
    );
    assert_eq!(principals(&cloud, &other).await, [arn]);
}

/// Attaches so many certificates that they come in more than one page.
async fn crowd(cloud: &Cloud, thing: &str) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..30 {
        let csr = json!({"certificateSigningRequest": Key::make(thing).csr});
        let made = iot(cloud, "POST", "/certificates?setAsActive=true", &csr)
            .await
            .expect(200);
        let arn = made["certificateArn"].as_str().unwrap().to_owned();
        let ask =
            Ask::new("PUT", format!("/things/{thing}/principals")).header("x-amzn-principal", arn);
        cloud.aws("iot", &ask).await.expect(200);
        ids.push(made["certificateId"].as_str().unwrap().to_owned());
    }
    ids
}

#[tokio::test]
async fn the_second_page_of_certificates_goes_too() {
    let cloud = Cloud::open();
    let thing = unique("crowd");
    created(&cloud, &json!({"thingName": thing})).await;
    let ids = crowd(&cloud, &thing).await;
    deleted(&cloud, &thing).await;
    for id in ids {
        assert_eq!(certificate_status(&cloud, &id).await, None, "{id}");
    }
}

#[tokio::test]
async fn what_was_opened_and_started_for_the_device_ends_with_it() {
    let cloud = Cloud::open();
    let (thing, job) = (unique("busy"), unique("job"));
    let csr = Key::make(&thing).csr;
    created(&cloud, &json!({"thingName": thing, "csr": csr})).await;
    let arn = describe(&cloud, &format!("/things/{thing}"))
        .await
        .expect(200)["thingArn"]
        .clone();
    let body = json!({"targets": [arn], "document": "{}"});
    let executions = format!("/jobs/{job}/things");
    iot(&cloud, "PUT", &format!("/jobs/{job}"), &body)
        .await
        .expect(200);
    let execution = async || {
        let listed = describe(&cloud, &executions).await.expect(200);
        let status = &listed["executionSummaries"][0]["jobExecutionSummary"]["status"];
        status.as_str().map(str::to_owned)
    };
    assert_eq!(execution().await.as_deref(), Some("QUEUED"));
    tunnels::opened(&cloud, &thing).await;
    assert_eq!(tunnels::open_in_aws(&cloud, &thing).await.len(), 1);

    deleted(&cloud, &thing).await;
    let live = [Some("QUEUED"), Some("IN_PROGRESS")];
    assert!(!live.contains(&execution().await.as_deref()));
    assert!(tunnels::open_in_aws(&cloud, &thing).await.is_empty());
}

/// The newest certificates with this public key.
async fn certificates_of(cloud: &Cloud, public_key: &str) -> Vec<String> {
    let newest = "/certificates?pageSize=250&isAscendingOrder=false";
    let listed = describe(cloud, newest).await.expect(200);
    let mut found = Vec::new();
    for certificate in listed["certificates"].as_array().expect("certificates") {
        let id = certificate["certificateId"].as_str().expect("an id");
        let described = describe(cloud, &format!("/certificates/{id}")).await.json();
        // Another test may have deleted it by now.
        let pem = described["certificateDescription"]["certificatePem"].as_str();
        if pem.is_some_and(|pem| public_key_of_certificate(pem) == public_key) {
            found.push(id.to_owned());
        }
    }
    found
}

#[tokio::test]
async fn a_certificate_that_a_broken_creation_never_recorded_goes_too() {
    let cloud = Cloud::open();
    let (thing, trace) = (unique("broken"), trace());
    let key = Key::make(&thing);
    let point = Point {
        operation: "iot:CreateCertificateFromCsr".to_owned(),
        nth: 1,
    };
    let fault = faults::strike(&cloud, &trace, &point, "kill-after").await;
    let create = Ask::create(&json!({"thingName": thing, "csr": key.csr}));
    cloud.api(&create.trace(&trace)).await;
    assert_eq!(faults::fired(&cloud, fault).await, 1);
    assert_eq!(certificates_of(&cloud, &key.id).await.len(), 1);
    deleted(&cloud, &thing).await;
    assert_eq!(certificates_of(&cloud, &key.id).await, Vec::<String>::new());
}

/// A call that pretends to have removed something leaves a survivor; the
/// deletion must see it, and end only when it is gone.
async fn survives(cloud: &Cloud, thing: &str, effect: &str, subject: &str) {
    let id = claimed_only(cloud, thing).await;
    let fault = json!({
        "function": cloud.stack("DeleteDeviceFunction"), "operation": effect, "thing": thing,
        "mode": "swallow", "times": 4,
    });
    let fault = faults::set(cloud, &fault).await;
    let answer = step(cloud, thing, &id, None).await.json();
    assert!(
        faults::fired(cloud, fault).await > 0,
        "{effect} was not called: {answer}"
    );
    assert_ne!(
        answer["status"], "DONE",
        "{effect} did nothing, yet the deletion is done"
    );
    let row = operation(cloud, &id).await;
    assert_eq!(row["status"]["S"], "RUNNING", "{row}");
    let lines = row["proof"]["L"].as_array().expect("a proof");
    let survivor = |line: &Value| {
        line["M"]["subject"]["S"]
            .as_str()
            .is_some_and(|text| text.contains(subject))
            && line["M"]["clear"]["BOOL"] == false
    };
    assert!(
        lines.iter().any(survivor),
        "no line shows the surviving {subject}: {row}"
    );
    stepped_to_the_end(cloud, thing, &id).await;
    assert_eq!(operation(cloud, &id).await["status"]["S"], "DONE");
}

#[tokio::test]
async fn an_old_object_version_that_survives_is_seen() {
    let cloud = Cloud::open();
    let thing = unique("version");
    let device = created(&cloud, &json!({"thingName": thing})).await;
    let key = format!(
        "keys/{thing}/{}.json",
        device["operationId"].as_str().unwrap()
    );
    let path = format!("/{}/{key}", cloud.stack("CustodyBucket"));
    cloud
        .aws("s3", &Ask::new("PUT", path).text("{}"))
        .await
        .expect(200);
    assert_eq!(versions(&cloud, &format!("keys/{thing}/")).await.len(), 2);
    survives(&cloud, &thing, "s3:DeleteObjects", "key object").await;
    assert_eq!(versions(&cloud, &format!("keys/{thing}/")).await.len(), 0);
}

#[tokio::test]
async fn a_named_shadow_that_survives_is_seen() {
    let cloud = Cloud::open();
    let thing = unique("shadow");
    created(
        &cloud,
        &json!({"thingName": thing, "csr": Key::make(&thing).csr}),
    )
    .await;
    let shadow = Ask::new("POST", format!("/things/{thing}/shadow?name=lamp"))
        .text(json!({"state": {"desired": {"on": true}}}).to_string());
    cloud.aws("iotdata", &shadow).await.expect(200);
    survives(&cloud, &thing, "iot:DeleteThingShadow", "named shadows").await;
}

#[tokio::test]
async fn a_certificate_still_attached_is_seen() {
    let cloud = Cloud::open();
    let thing = unique("attached");
    created(
        &cloud,
        &json!({"thingName": thing, "csr": Key::make(&thing).csr}),
    )
    .await;
    survives(&cloud, &thing, "iot:DetachThingPrincipal", "principals").await;
}

#[tokio::test]
async fn a_deletion_repeated_is_the_same_operation() {
    let cloud = Cloud::open();
    let thing = unique("twice");
    created(&cloud, &json!({"thingName": thing})).await;
    let id = claimed_only(&cloud, &thing).await;
    let again = deliver(&cloud, &Ask::delete(&thing)).await.expect(202);
    assert_eq!(again["operationId"], id.as_str());
    assert_eq!(lamplighter_tests::removal::ended(&cloud, &id).await, "DONE");
}
