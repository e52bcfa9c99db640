//! Creation, by a signing request and by a key made here.

use lamplighter_domain::csr::certificate_id;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{created, deliver};
use lamplighter_tests::device::{Key, public_key_of_certificate, unique};
use lamplighter_tests::inventory::{describe, iot, principals, state_of, versions};
use serde_json::{Value, json};

/// The whole answer, as the API promises it.
fn check_answer(cloud: &Cloud, answer: &Value, thing: &str, custody: &str) {
    let text = |field: &str| {
        answer[field]
            .as_str()
            .unwrap_or_else(|| panic!("no {field}: {answer}"))
    };
    assert_eq!(text("thingName"), thing);
    assert_eq!(text("status"), "ACTIVE");
    assert_eq!(text("custody"), custody);
    assert_eq!(text("endpoint"), cloud.stack("DataEndpoint"));
    assert!(text("serverCaPem").contains("BEGIN CERTIFICATE"));
    assert!(!text("operationId").is_empty());
    let id = certificate_id(text("certificatePem")).expect("a certificate");
    assert_eq!(
        id.as_str(),
        text("certificateId"),
        "AWS IoT's id is the SHA-256 of the certificate"
    );
}

#[tokio::test]
async fn with_a_signing_request_the_key_stays_on_the_device() {
    let cloud = Cloud::open();
    let thing = unique("csr");
    let key = Key::make(&thing);
    let ask = Ask::create(&json!({"thingName": thing, "csr": key.csr}));
    let answer = deliver(&cloud, &ask).await.expect(201);
    check_answer(&cloud, &answer, &thing, "device");
    assert_eq!(
        public_key_of_certificate(answer["certificatePem"].as_str().unwrap()),
        key.id
    );
    assert_eq!(
        deliver(&cloud, &ask).await.expect(200),
        answer,
        "repeated, it is the same"
    );

    let state = state_of(&cloud, &thing).await;
    assert_eq!(state["certificates"], json!(["ACTIVE"]), "{state}");
    assert_eq!(
        state["groups"],
        json!([cloud.stack("DefaultGroup")]),
        "{state}"
    );
    assert_eq!(state["keyVersions"], 0, "{state}");
    assert_eq!(state["operations"], json!(["CREATE DONE"]), "{state}");
    assert_eq!(
        state["registry"],
        json!({"RECORD": "ACTIVE", "CERT#attached": null}),
        "{state}"
    );
}

#[tokio::test]
async fn without_one_a_key_is_made_and_kept_sealed() {
    let cloud = Cloud::open();
    let thing = unique("vault");
    let ask = Ask::create(&json!({"thingName": thing}));
    let answer = deliver(&cloud, &ask).await.expect(201);
    check_answer(&cloud, &answer, &thing, "vault");
    assert_eq!(
        deliver(&cloud, &ask).await.expect(200),
        answer,
        "repeated, it is the same"
    );

    let id = answer["operationId"].as_str().unwrap();
    let kept = versions(&cloud, &format!("keys/{thing}/")).await;
    assert_eq!(kept.len(), 1);
    assert!(
        kept.iter()
            .all(|version| version.starts_with(&format!("keys/{thing}/{id}.json "))),
        "{kept:?}"
    );
}

#[tokio::test]
async fn the_thing_is_as_asked() {
    let cloud = Cloud::open();
    let thing = unique("whole");
    let (kind, payer) = (unique("type"), unique("payer"));
    let searchable = json!({"thingTypeProperties": {"searchableAttributes": ["city"]}});
    iot(&cloud, "POST", &format!("/thing-types/{kind}"), &searchable)
        .await
        .expect(200);
    iot(
        &cloud,
        "POST",
        &format!("/billing-groups/{payer}"),
        &json!({}),
    )
    .await
    .expect(200);
    let group = cloud.stack("DefaultGroup");
    let attributes = json!({"city": "milan", "wattage": "60", "pole": "7", "side": "left"});
    let body = json!({
        "thingName": thing, "thingType": kind, "attributes": attributes, "groups": [group],
        "billingGroup": payer, "csr": Key::make(&thing).csr,
    });
    let answer = created(&cloud, &body).await;

    let described = describe(&cloud, &format!("/things/{thing}"))
        .await
        .expect(200);
    assert_eq!(described["thingTypeName"], kind.as_str());
    assert_eq!(described["attributes"], attributes);
    assert_eq!(described["billingGroupName"], payer.as_str());
    let attached = principals(&cloud, &thing).await;
    assert_eq!(attached.len(), 1);
    assert!(attached[0].ends_with(answer["certificateId"].as_str().unwrap()));

    let ask = Ask::new("GET", format!("/devices/{thing}"));
    let shown = cloud.api(&ask).await.expect(200);
    assert_eq!(shown["status"], "ACTIVE");
    for field in ["thingType", "attributes", "groups", "billingGroup"] {
        assert_eq!(shown[field], body[field], "{shown}");
    }
    assert_eq!(
        shown["certificates"][0]["certificateId"],
        answer["certificateId"]
    );
}

#[tokio::test]
async fn another_request_for_the_name_is_told_which_field_differs() {
    let cloud = Cloud::open();
    let thing = unique("differs");
    let base =
        json!({"thingName": thing, "attributes": {"city": "milan"}, "csr": Key::make(&thing).csr});
    created(&cloud, &base).await;
    let before = state_of(&cloud, &thing).await;
    for (field, value) in [
        ("attributes", json!({"city": "turin"})),
        ("thingType", json!("streetlight")),
        ("groups", json!(["elsewhere"])),
        ("billingGroup", json!("billing-milan")),
        ("csr", json!(Key::make(&thing).csr)),
        ("csr", Value::Null),
    ] {
        let mut other = base.clone();
        other[field] = value;
        let problem = deliver(&cloud, &Ask::create(&other)).await.expect(409);
        assert_eq!(problem["code"], "Conflict", "{problem}");
        assert_eq!(problem["field"], field, "{problem}");
    }
    assert_eq!(state_of(&cloud, &thing).await, before);
}

#[tokio::test]
async fn a_thing_that_is_not_ours_is_left_alone() {
    let cloud = Cloud::open();
    let thing = unique("foreign");
    iot(&cloud, "POST", &format!("/things/{thing}"), &json!({}))
        .await
        .expect(200);
    let problem = deliver(&cloud, &Ask::create(&json!({"thingName": thing})))
        .await
        .expect(409);
    assert_eq!(problem["field"], "thingName", "{problem}");
    assert_eq!(
        describe(&cloud, &format!("/things/{thing}")).await.status,
        200
    );
    assert_eq!(versions(&cloud, &format!("keys/{thing}/")).await.len(), 0);
}

#[tokio::test]
async fn an_unsigned_request_gets_nowhere() {
    let cloud = Cloud::open();
    let thing = unique("unsigned");
    let reply = cloud
        .unsigned(&Ask::create(&json!({"thingName": thing})))
        .await;
    assert_eq!(reply.status, 403, "{}", reply.text);
    assert_eq!(
        describe(&cloud, &format!("/things/{thing}")).await.status,
        404
    );
}
