//! Bad input is refused with its field, the reason and the remedy, and nothing
//! is created. One test alone, because it compares all that the account holds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lamplighter_tests::cloud::{Ask, Cloud};
use lamplighter_tests::device::{Key, unique};
use lamplighter_tests::inventory::Inventory;
use serde_json::{Map, Value, json};

fn attributes(count: usize) -> Value {
    (0..count)
        .map(|n| (format!("a{n}"), json!("v")))
        .collect::<Map<_, _>>()
        .into()
}

/// The request with the last byte of its signature changed.
fn broken(csr: &str) -> String {
    let body: String = csr
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .collect();
    let mut der = STANDARD.decode(body).expect("base64");
    *der.last_mut().expect("bytes") ^= 1;
    let body = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n")
}

/// Bodies of another shape, with the status and the field that name it.
fn misshapen() -> Vec<(Ask, u16, &'static str)> {
    let name = || unique("bad");
    let body = Ask::create;
    vec![
        (
            Ask::create(&Value::Null).text("{\"thingName\": \"l"),
            400,
            "body",
        ),
        (Ask::create(&Value::Null).text(""), 400, "body"),
        (body(&json!([])), 400, "body"),
        (
            body(&json!([name(), null, {"city": "milan"}, ["g"], null, null, null, null])),
            400,
            "body",
        ),
        (body(&json!({})), 400, "thingName"),
        (
            Ask::create(&Value::Null)
                .text(r#"{"thingName": "l", "attributes": {"a": "1", "a": "2"}}"#),
            400,
            "body",
        ),
        (
            body(&json!({"thingName": name(), "colour": "red"})),
            400,
            "body",
        ),
        (body(&json!({"thingName": 7})), 400, "thingName"),
        (
            body(&json!({"thingName": name(), "groups": "milan"})),
            400,
            "groups",
        ),
        (body(&json!({"thingName": "x".repeat(70_000)})), 413, "body"),
    ]
}

/// Fields with what AWS would refuse, in the same way.
fn bad() -> Vec<(Ask, u16, &'static str)> {
    let name = || unique("bad");
    let groups: Vec<_> = (0..9).map(|n| format!("g{n}")).collect();
    let good = Key::make("bad").csr;
    let keys_differ = Ask::create(&json!({"thingName": name(), "idempotencyKey": "a"}));
    let body = Ask::create;
    vec![
        (body(&json!({"thingName": ""})), 400, "thingName"),
        (body(&json!({"thingName": "a light"})), 400, "thingName"),
        (
            body(&json!({"thingName": "x".repeat(129)})),
            400,
            "thingName",
        ),
        (
            body(&json!({"thingName": name(), "thingType": unique("none")})),
            422,
            "thingType",
        ),
        (
            body(&json!({"thingName": name(), "attributes": attributes(4)})),
            400,
            "attributes",
        ),
        (
            body(&json!({"thingName": name(), "thingType": "t", "attributes": attributes(51)})),
            400,
            "attributes",
        ),
        (
            body(&json!({"thingName": name(), "attributes": {"a b": "c"}})),
            400,
            "attributes",
        ),
        (
            body(&json!({"thingName": name(), "groups": groups})),
            400,
            "groups",
        ),
        (
            body(&json!({"thingName": name(), "groups": [unique("none")]})),
            422,
            "groups",
        ),
        (
            body(&json!({"thingName": name(), "billingGroup": unique("none")})),
            422,
            "billingGroup",
        ),
        (
            body(&json!({"thingName": name(), "csr": include_str!("data/rsa-1024.csr.pem")})),
            400,
            "csr",
        ),
        (
            body(&json!({"thingName": name(), "csr": broken(&good)})),
            400,
            "csr",
        ),
        (
            body(&json!({"thingName": name(), "csr": "-----BEGIN CERTIFICATE REQUEST-----\njunk"})),
            400,
            "csr",
        ),
        (
            body(
                &json!({"thingName": name(), "csr": good.replace("CERTIFICATE REQUEST", "CERTIFICATE")}),
            ),
            400,
            "csr",
        ),
        (
            keys_differ.header("idempotency-key", "b"),
            400,
            "idempotencyKey",
        ),
    ]
}

#[tokio::test]
async fn bad_input_is_refused_and_nothing_is_created() {
    let cloud = Cloud::open();
    let before = Inventory::take(&cloud).await;
    for (ask, status, field) in misshapen().into_iter().chain(bad()) {
        let reply = cloud.api(&ask).await;
        let shown = format!("{ask:.300?}: {}", reply.text);
        assert_eq!(reply.status, status, "{shown}");
        assert_eq!(
            reply.header("content-type"),
            Some("application/problem+json"),
            "{shown}"
        );
        let problem = reply.json();
        assert_eq!(problem["status"], status, "{shown}");
        assert_eq!(problem["field"], field, "{shown}");
        assert_eq!(problem["code"], "Invalid", "{shown}");
        for part in ["type", "title", "reason", "remedy"] {
            assert!(
                problem[part].as_str().is_some_and(|text| !text.is_empty()),
                "no {part}: {shown}"
            );
        }
        assert_eq!(
            Inventory::take(&cloud).await,
            before,
            "something was left by {shown}"
        );
    }
}
