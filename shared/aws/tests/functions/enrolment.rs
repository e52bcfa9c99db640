//! Tokens through the real clients: what is written of one, and how little a
//! request without one does.

use lamplighter_aws::clock;
use lamplighter_aws::enrolment::Enrolments;
use lamplighter_domain::Failure;
use lamplighter_domain::csr::sha256_hex;
use lamplighter_domain::enrolment::{EnrolRequest, TokenRequest};
use lamplighter_domain::names::{OperationId, ThingName};
use lamplighter_domain::rotation::Windows;
use serde_json::{Value, json};

use crate::cloud::Cloud;

const THING: &str = "milan-0001";

fn enrolments(cloud: &Cloud) -> Enrolments {
    Enrolments {
        table: cloud.table(),
        sfn: aws_sdk_sfn::Client::new(&cloud.sdk()),
        workflow_arn: "arn:workflow".to_owned(),
        windows: Windows {
            request_millis: 1,
            proof_millis: 1,
            grace_millis: 1,
        },
        endpoint: "x.example".to_owned(),
        server_ca_pem: "PEM".to_owned(),
    }
}

/// A device of this status.
fn cloud(status: &str) -> Cloud {
    let (cloud, operation) = (Cloud::default(), OperationId::from_key("k"));
    cloud.insert(&json!({
        "PK": format!("DEVICE#{THING}"), "SK": "RECORD", "thingName": THING, "attributes": {}, "groups": ["milan"],
        "status": status, "custody": "device", "createdBy": operation, "operationId": operation, "createdAt": 1,
        "certificateId": "a".repeat(64), "listingShard": "DEVICES#00",
    }));
    cloud
}

async fn issued(cloud: &Cloud, thing: &str) -> Result<Value, Failure> {
    let request = TokenRequest::parse(br#"{"reason": "the flash was replaced"}"#).unwrap();
    let name = ThingName::parse(thing).unwrap();
    let issued = enrolments(cloud).issue(&name, &request, "arn:alice").await;
    issued.map(|issued| json!(issued))
}

#[tokio::test]
async fn of_a_token_only_its_digest_is_written() {
    let cloud = cloud("ACTIVE");
    let issued = issued(&cloud, THING).await.unwrap();
    let token = issued["token"].as_str().unwrap();
    let sent = format!("{:?}", cloud.world().calls);
    assert!(sent.contains(&sha256_hex(token.as_bytes())), "{sent}");
    assert!(!sent.contains(token), "{sent}");
    assert!(sent.contains("attribute_not_exists(caseId)"), "{sent}");
    assert_eq!(cloud.count("TransactWriteItems"), 1);
}

#[tokio::test]
async fn a_token_is_refused_for_what_cannot_be_enrolled() {
    for (status, thing, refused) in [
        ("DELETING", THING, 409),
        ("STUCK", THING, 409),
        ("ACTIVE", "milan-0002", 404),
    ] {
        let cloud = cloud(status);
        let failure = issued(&cloud, thing).await.unwrap_err();
        assert_eq!(failure.http_status(), refused, "{status}");
        assert_eq!(cloud.writes(), 0);
    }
}

#[tokio::test]
async fn without_a_good_token_one_row_is_read_and_nothing_written() {
    let check = async |row: Option<Value>, thing: &str| {
        let cloud = cloud("ACTIVE");
        if let Some(row) = row {
            cloud.insert(&row);
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::new(vec!["l".to_owned()]).unwrap();
        let csr = csr.serialize_request(&key).unwrap().pem().unwrap();
        let body = json!({"thingName": thing, "token": "a".repeat(64), "csr": csr});
        let request = EnrolRequest::parse(body.to_string().as_bytes()).unwrap();
        let deadline = clock::now().plus_millis(29_000);
        let refused = enrolments(&cloud).enrol(&request, deadline).await;
        let problem = json!(refused.unwrap_err().problem(None));
        let names: Vec<_> = cloud
            .world()
            .calls
            .iter()
            .map(|call| call.0.clone())
            .collect();
        assert_eq!(names, ["GetItem"]);
        problem
    };
    let row = |token: &str, ends_at: u64| {
        Some(json!({
            "PK": format!("DEVICE#{THING}"), "SK": "ENROLMENT", "tokenDigest": sha256_hex(token.as_bytes()),
            "createdBy": OperationId::from_key("k"), "issuedAt": 1, "issuedBy": "arn:alice", "reason": "lost",
            "endsAt": ends_at, "expiresAt": 9,
        }))
    };
    let later = clock::now().plus_millis(60_000).0;
    let unknown = check(None, "nobody").await;
    assert_eq!(unknown["status"], 403, "{unknown}");
    assert_eq!(check(None, THING).await, unknown);
    assert_eq!(check(row(&"b".repeat(64), later), THING).await, unknown);
    assert_eq!(check(row(&"a".repeat(64), 1), THING).await, unknown);
}
