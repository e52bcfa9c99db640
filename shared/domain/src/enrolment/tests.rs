use serde_json::{Value, json};

use super::*;
use crate::create::CreatePlan;
use crate::names::CaseId;
use crate::request::CreateRequest;

const T: Moment = Moment(1_000_000);

fn op(n: u8) -> OperationId {
    OperationId::from_random([n; 16])
}

fn token(n: u8) -> Token {
    Token::from_random([n; 32])
}

fn key(n: u8) -> PublicKeyId {
    serde_json::from_value(hex(&[n; 32]).into()).unwrap()
}

fn device() -> DeviceRecord {
    let request = CreateRequest::parse(br#"{"thingName": "milan-0001"}"#, None);
    let mut device = CreatePlan::new(op(7), request.unwrap().0).claimed(Moment(1));
    device.status = DeviceStatus::Active;
    device
}

fn issued(device: Option<&DeviceRecord>) -> Result<TokenRecord, Failure> {
    let request = TokenRequest {
        minutes: 60,
        reason: "the flash was replaced".to_owned(),
    };
    let name = ThingName::parse("milan-0001").unwrap();
    issue(&name, device, &request, &token(1), "arn:alice", T)
}

fn record() -> TokenRecord {
    issued(Some(&device())).unwrap()
}

fn used() -> TokenRecord {
    let admitted = Some(Admitted {
        public_key: key(1),
        rotation_id: op(3),
    });
    TokenRecord {
        admitted,
        ..record()
    }
}

#[test]
fn a_token_is_issued_for_an_active_device_without_a_case() {
    let check = |device: Option<DeviceRecord>, refused: Option<(Kind, &str)>| {
        let issued = issued(device.as_ref());
        let failure = issued.err().map(|failure| (failure.kind, failure.reason));
        match (failure, refused) {
            (None, None) => {}
            (Some((kind, reason)), Some((wanted, named))) => {
                assert_eq!(kind, wanted);
                assert!(reason.contains(named), "{reason}");
            }
            (failure, _) => panic!("{failure:?} instead of {refused:?}"),
        }
    };
    let with = |status| DeviceRecord { status, ..device() };
    check(Some(device()), None);
    check(None, Some((Kind::NotFound, "milan-0001")));
    for status in [
        DeviceStatus::Creating,
        DeviceStatus::Deleting,
        DeviceStatus::Stuck,
    ] {
        check(Some(with(status)), Some((Kind::Conflict, status.name())));
    }
    let case = CaseId::from_random([9; 16]);
    let mut suspected = device();
    suspected.case_id = Some(case.clone());
    check(Some(suspected), Some((Kind::Conflict, case.as_str())));
}

#[test]
fn a_token_admits_one_key_until_it_ends() {
    let check = |record: Option<TokenRecord>, token: Token, key: PublicKeyId, later, wanted| {
        let now = T.plus_millis(later);
        let admission = admit(record.as_ref(), &token, &key, now);
        let what = match &admission {
            Ok(Admission::First) => "first",
            Ok(Admission::Again(rotation)) if *rotation == op(3) => "again",
            Ok(Admission::Again(_)) => "another rotation",
            Err(_) => "refused",
        };
        assert_eq!(what, wanted, "{record:?} {later}");
        admission.err()
    };
    let hour = 60 * 60_000;
    check(Some(record()), token(1), key(1), 0, "first");
    check(Some(record()), token(1), key(1), hour - 1, "first");
    check(Some(used()), token(1), key(1), hour - 1, "again");
    let refusals = [
        check(None, token(1), key(1), 0, "refused"),
        check(Some(record()), token(2), key(1), 0, "refused"),
        check(Some(record()), token(1), key(1), hour, "refused"),
        check(Some(used()), token(1), key(2), 0, "refused"),
        check(Some(used()), token(2), key(1), 0, "refused"),
        check(Some(used()), token(1), key(1), hour, "refused"),
    ];
    all_alike(refusals.into_iter().flatten());
}

#[test]
fn a_token_that_is_good_admits_to_no_device_that_has_changed() {
    let check = |change: fn(&mut DeviceRecord)| {
        let mut device = device();
        change(&mut device);
        enrollable(Some(&device), &record()).map(drop)
    };
    check(|_| {}).unwrap();
    all_alike([
        check(|device| device.created_by = op(8)).unwrap_err(),
        check(|device| device.case_id = Some(CaseId::from_random([9; 16]))).unwrap_err(),
        check(|device| device.status = DeviceStatus::Deleting).unwrap_err(),
        enrollable(None, &record()).unwrap_err(),
    ]);
}

/// To whoever asks, all refusals are one; to the operator each says why.
fn all_alike(refusals: impl IntoIterator<Item = Failure>) {
    let mut reasons = std::collections::BTreeSet::new();
    for refusal in refusals {
        assert_eq!(
            json!(refusal.problem(None)),
            json!(refused("").problem(None))
        );
        assert_eq!(refusal.http_status(), 403);
        reasons.insert(refusal.operator);
    }
    assert!(reasons.len() > 3 && !reasons.contains(""), "{reasons:?}");
}

#[test]
fn a_token_shows_nowhere_by_itself() {
    let token = token(0xab);
    assert_eq!(format!("{token:?}"), "Token");
    let row = json!(record()).to_string();
    assert!(!row.contains(self::token(1).reveal()), "{row}");
    assert!(row.contains(&self::token(1).digest()), "{row}");
    let text = token.reveal().to_uppercase();
    let refusal = Token::parse(&text).unwrap_err();
    assert!(!format!("{refusal:?}").contains(&text), "{refusal:?}");
}

#[test]
fn requests_are_read_field_by_field() {
    let pem = {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["l".to_owned()]).unwrap();
        params.serialize_request(&key).unwrap().pem().unwrap()
    };
    let check = |body: Value, field: Option<&str>| {
        let read = EnrolRequest::parse(body.to_string().as_bytes());
        let failure = read.err().and_then(|failure| failure.field);
        assert_eq!(failure.as_deref(), field, "{body}");
    };
    let good = json!({"thingName": "x", "token": token(1).reveal(), "csr": pem});
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    check(good.clone(), None);
    check(with("token", "a".into()), Some("token"));
    check(with("token", Value::Null), Some("token"));
    check(with("thingName", "a b".into()), Some("thingName"));
    check(with("csr", "-".into()), Some("csr"));
    check(with("certificateId", "x".into()), Some("body"));
    check(with("csr", "x".repeat(20_000).into()), Some("body"));

    let check = |body: Value, read: Result<u64, &str>| {
        let request = TokenRequest::parse(body.to_string().as_bytes());
        let outcome = request.map(|request| request.minutes);
        let outcome = outcome.map_err(|failure| failure.field.unwrap_or_default());
        assert_eq!(outcome, read.map_err(str::to_owned), "{body}");
    };
    check(json!({"reason": "lost"}), Ok(60));
    check(json!({"reason": "lost", "minutes": 1}), Ok(1));
    check(json!({"reason": "lost", "minutes": 1440}), Ok(1440));
    check(json!({"reason": "lost", "minutes": 0}), Err("minutes"));
    check(json!({"reason": "lost", "minutes": 1441}), Err("minutes"));
    check(json!({"minutes": 60}), Err("reason"));
    check(json!({"reason": "  "}), Err("reason"));
    check(json!({"reason": "x".repeat(501)}), Err("reason"));
    check(json!({"reason": "lost", "token": "mine"}), Err("body"));
}
