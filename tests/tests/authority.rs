//! Our own authority and its certificates. What follows when another authority
//! follows is in `test_authority.py`: a cloud sees that once.

use lamplighter_domain::csr::certificate_id;
use lamplighter_tests::authority::{listed, openssl_accepts, ready};
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::delivery::{created, deliver};
use lamplighter_tests::device::{Key, public_key_of_certificate, unique};
use lamplighter_tests::inventory::{describe, state_of};
use lamplighter_tests::removal::deleted;
use serde_json::{Value, json};

const DAY_MILLIS: u64 = 24 * 60 * 60 * 1000;

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field}: {value}"))
}

/// Creates a device of our own authority, with its own key or with one of ours.
async fn device(cloud: &Cloud, key: Option<&Key>, thing: &str) -> Value {
    let mut body = json!({"thingName": thing, "issuer": "kms-ca"});
    if let Some(key) = key {
        body["csr"] = key.csr.clone().into();
    }
    let answer = created(cloud, &body).await;
    let again = deliver(cloud, &Ask::create(&body)).await.expect(200);
    assert_eq!(again, answer, "repeated, it is the same");
    answer
}

#[tokio::test]
async fn a_certificate_of_ours_verifies_is_registered_and_goes_with_its_device() {
    let cloud = Cloud::open();
    ready(&cloud).await;
    for custody in ["device", "vault"] {
        let thing = unique("own");
        let key = (custody == "device").then(|| Key::make(&thing));
        let answer = device(&cloud, key.as_ref(), &thing).await;
        assert_eq!(answer["custody"], custody);
        let pem = text(&answer, "certificatePem");
        let id = text(&answer, "certificateId");
        assert!(openssl_accepts(text(&answer, "issuerPem"), pem), "{answer}");
        assert_eq!(certificate_id(pem).expect("a certificate").as_str(), id);
        if let Some(key) = &key {
            assert_eq!(public_key_of_certificate(pem), key.id);
        }

        let aws = describe(&cloud, &format!("/certificates/{id}"))
            .await
            .expect(200);
        let aws = &aws["certificateDescription"];
        assert_eq!(
            (&aws["status"], &aws["certificateMode"]),
            (&json!("ACTIVE"), &json!("SNI_ONLY"))
        );
        let shown = cloud
            .api(&Ask::new("GET", format!("/devices/{thing}")))
            .await
            .expect(200);
        let shown = &shown["certificates"][0];
        assert_eq!(shown["issuer"], "kms-ca", "{shown}");
        let [from, until] = ["issuedAt", "notAfter"].map(|field| shown[field].as_u64().unwrap());
        let days = (until - from + DAY_MILLIS / 2) / DAY_MILLIS;
        assert_eq!(days, 365, "{shown}");

        deleted(&cloud, &thing).await;
        let gone = describe(&cloud, &format!("/certificates/{id}")).await;
        assert_eq!(gone.status, 404, "{}", gone.text);
        assert_eq!(state_of(&cloud, &thing).await["keyVersions"], 0);
    }
}

#[tokio::test]
async fn the_issuer_is_part_of_the_request() {
    let cloud = Cloud::open();
    ready(&cloud).await;
    let thing = unique("whose");
    let csr = Key::make(&thing).csr;
    let ask =
        |issuer: &str| Ask::create(&json!({"thingName": thing, "csr": csr, "issuer": issuer}));
    deliver(&cloud, &ask("kms-ca")).await.expect(201);
    let problem = deliver(&cloud, &ask("aws-iot")).await.expect(409);
    assert_eq!(problem["field"], "issuer", "{problem}");
    let problem = deliver(&cloud, &ask("acm")).await.expect(400);
    assert_eq!(problem["field"], "issuer", "{problem}");

    // A common name holds 64 characters, a thing name up to 128.
    let long = format!("{}-{}", unique("long"), "x".repeat(64));
    let body = json!({"thingName": long, "issuer": "kms-ca"});
    let problem = deliver(&cloud, &Ask::create(&body)).await.expect(400);
    assert_eq!(problem["field"], "thingName", "{problem}");
    assert_eq!(state_of(&cloud, &long).await["registry"], json!({}));
    deliver(&cloud, &Ask::create(&json!({"thingName": long})))
        .await
        .expect(201);
}

#[tokio::test]
async fn an_authority_is_made_once_and_what_it_cannot_be_is_refused() {
    let cloud = Cloud::open();
    let first = ready(&cloud).await;
    assert_eq!(ready(&cloud).await, first, "a second time it is only told");
    assert_eq!(listed(&cloud).await[0], first);
    let unknown = json!({"replaces": "a".repeat(40)}).to_string();
    let ask = Ask::new("POST", "/authorities/rotation").text(unknown);
    let problem = deliver(&cloud, &ask).await.expect(409);
    assert_eq!(problem["field"], "replaces", "{problem}");
    for (path, body, field) in [
        ("/authorities", json!({"years": 0}), "years"),
        ("/authorities", json!({"subject": ""}), "subject"),
        ("/authorities", json!({"colour": "red"}), "body"),
        ("/authorities/rotation", json!({}), "replaces"),
        (
            "/authorities/rotation",
            json!({"replaces": "x"}),
            "replaces",
        ),
    ] {
        let ask = Ask::new("POST", path).text(body.to_string());
        let problem = cloud.api(&ask).await.expect(400);
        assert_eq!(problem["field"], field, "{body}: {problem}");
    }
}
