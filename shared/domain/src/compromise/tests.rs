use std::collections::BTreeMap;

use super::*;
use crate::create::CreatePlan;
use crate::delete::{CertificateSeen, CertificateState, ObjectVersion, Store, is_clear};
use crate::request::CreateRequest;

fn id(letter: char) -> CertificateId {
    CertificateId::parse(&letter.to_string().repeat(64)).unwrap()
}

fn case_id(n: u8) -> CaseId {
    CaseId::from_random([n; 16])
}

fn device() -> DeviceRecord {
    let body = br#"{"thingName": "milan-0001"}"#;
    let request = CreateRequest::parse(body, None).unwrap().0;
    let mut device = CreatePlan::new(OperationId::from_random([7; 16]), request).claimed(Moment(1));
    device.status = DeviceStatus::Active;
    device.certificate_id = Some(id('a'));
    device
}

fn report(verdict: Verdict, certificate_id: Option<CertificateId>) -> Report {
    Report {
        certificate_id,
        verdict,
        reason: "seen elsewhere".to_owned(),
    }
}

fn filed(verdict: Verdict, open: Option<&Case>) -> Filed {
    let filing = Filing {
        by: "arn:alice",
        at: Moment(10),
        window_millis: 5,
    };
    file(
        &report(verdict, None),
        id('a'),
        &device(),
        open,
        case_id(1),
        filing,
    )
    .unwrap()
}

fn opened(verdict: Verdict) -> Case {
    match filed(verdict, None) {
        Filed::Opened(case) => *case,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reports_are_read_with_the_field_at_fault() {
    let check = |body: &str, refused: Option<&str>| {
        let parsed = Report::parse(body.as_bytes());
        let field = parsed.as_ref().err().and_then(|f| f.field.as_deref());
        assert_eq!(field, refused, "{body}: {parsed:?}");
    };
    check(r#"{"verdict": "suspected", "reason": "x"}"#, None);
    check(r#"{"verdict": "confirmed", "reason": "x"}"#, None);
    check(
        r#"{"verdict": "CONFIRMED", "reason": "x"}"#,
        Some("verdict"),
    );
    check(r#"{"verdict": "confirmed"}"#, Some("reason"));
    check(r#"{"verdict": "confirmed", "reason": " "}"#, Some("reason"));
    let long = "x".repeat(501);
    check(
        &format!(r#"{{"verdict": "confirmed", "reason": "{long}"}}"#),
        Some("reason"),
    );
    check(
        r#"{"verdict": "confirmed", "reason": "x", "certificateId": "y"}"#,
        Some("certificateId"),
    );
    check(
        r#"{"verdict": "confirmed", "reason": "x", "thingName": "y"}"#,
        Some("body"),
    );
}

#[test]
fn only_a_certificate_of_the_device_is_reported() {
    let check = |named: Option<CertificateId>, of: Option<CertificateId>| {
        let report = report(Verdict::Confirmed, named);
        let found = reported(&report, &device(), &[], &BTreeSet::from([id('b')]));
        assert_eq!(found.as_ref().ok(), of.as_ref(), "{found:?}");
    };
    check(None, Some(id('a')));
    check(Some(id('b')), Some(id('b')));
    check(Some(id('c')), None);
}

#[test]
fn a_case_is_one_a_device_and_only_ever_gets_worse() {
    use Verdict::{Confirmed, Suspected};
    let check = |open: Verdict, then: Verdict, confirmed: bool| {
        let case = opened(open);
        match filed(then, Some(&case)) {
            Filed::Confirmed(now) => {
                assert!(confirmed, "{open:?} {then:?}");
                assert_eq!((now.case_id, now.deadline), (case.case_id, None));
            }
            Filed::Known(now) => assert!(!confirmed && *now == case, "{open:?} {then:?}"),
            Filed::Opened(_) => panic!("a second case"),
        }
    };
    check(Suspected, Suspected, false);
    check(Suspected, Confirmed, true);
    check(Confirmed, Suspected, false);
    check(Confirmed, Confirmed, false);
    assert_eq!(opened(Suspected).deadline, Some(Moment(15)));
    assert_eq!(opened(Confirmed).deadline, None);
}

#[test]
fn a_device_that_comes_or_goes_gets_no_case() {
    for (status, kind) in [
        (DeviceStatus::Active, None),
        (DeviceStatus::Stuck, None),
        (DeviceStatus::Creating, Some(Kind::Busy)),
        (DeviceStatus::Deleting, Some(Kind::Conflict)),
    ] {
        let device = DeviceRecord { status, ..device() };
        let filing = Filing {
            by: "arn:alice",
            at: Moment(10),
            window_millis: 5,
        };
        let report = report(Verdict::Confirmed, None);
        let filed = file(&report, id('a'), &device, None, case_id(1), filing);
        assert_eq!(filed.err().map(|f| f.kind), kind, "{status:?}");
    }
}

#[test]
fn a_confirmed_case_is_closed_only_once_secured() {
    let line = |clear: bool| crate::delete::line("connection", "x", (!clear).then_some("one"));
    let open = opened(Verdict::Confirmed);
    assert!(open.clone().close("arn:bob", Moment(20)).is_err());
    let left = open.clone().observed(vec![line(false)], Moment(15));
    assert_eq!(left.secured_at, None);
    assert!(left.close("arn:bob", Moment(20)).is_err());
    let secured = open.observed(vec![line(true)], Moment(15));
    assert_eq!(secured.secured_at, Some(Moment(15)));
    let closed = secured.close("arn:bob", Moment(20)).unwrap();
    assert_eq!(closed.clone().close("arn:eve", Moment(30)), Ok(closed));
    assert!(
        opened(Verdict::Suspected)
            .close("arn:bob", Moment(20))
            .is_ok()
    );
}

#[test]
fn nothing_renews_or_hands_out_what_was_compromised() {
    let plain = device();
    let quarantined = DeviceRecord {
        quarantined_at: Some(Moment(3)),
        ..device()
    };
    let suspected = DeviceRecord {
        case_id: Some(case_id(1)),
        ..device()
    };
    assert!(renewable(&plain, None).is_ok());
    assert!(renewable(&suspected, None).is_ok());
    assert!(renewable(&quarantined, None).is_err());
    assert_eq!(
        may_be_handed_out(&quarantined, None)
            .unwrap_err()
            .http_status(),
        403
    );
    // The label goes when the case is closed; the revocation does not.
    let row = serde_json::json!({
        "certificateId": id('a'), "certificatePem": "PEM", "publicKey": "b".repeat(64),
        "custody": "device", "issuer": "aws-iot", "issuedAt": 1, "notAfter": 2, "revokedAt": 3,
    });
    let row: CertificateRecord = serde_json::from_value(row).unwrap();
    assert!(renewable(&plain, Some(&row)).is_err());
    assert!(may_be_handed_out(&plain, Some(&row)).is_err());
}

fn certificate(state: Option<CertificateState>, things: &[&str]) -> DenySeen {
    DenySeen {
        certificate: CertificateSeen {
            state,
            things: things.iter().map(|name| (*name).to_owned()).collect(),
            arn: "arn:cert".to_owned(),
            not_after: None,
        },
        denied: false,
        marked: false,
        ours: true,
    }
}

/// A device that does everything it can.
fn busy() -> Seen {
    let version = |key: &str| ObjectVersion {
        key: key.to_owned(),
        version_id: "1".to_owned(),
    };
    Seen {
        thing_name: ThingName::parse("milan-0001").unwrap(),
        certificates: BTreeMap::from([(
            id('a'),
            certificate(Some(CertificateState::InForce), &["milan-0001"]),
        )]),
        rotating: true,
        executions: BTreeSet::from(["job".to_owned()]),
        tunnels: BTreeSet::from(["tunnel".to_owned()]),
        connected: true,
        versions: BTreeSet::from([version("keys/milan-0001/a")]),
        replica: Some(BTreeSet::from([version("keys/milan-0001/a")])),
    }
}

/// What AWS and the registry show after an effect.
fn carried_out(seen: &mut Seen, case: &mut Case, effect: Effect) {
    match effect {
        Effect::EndRotation => {
            seen.rotating = false;
            // What the rotation was making comes to light.
            seen.certificates
                .insert(id('b'), certificate(Some(CertificateState::InForce), &[]));
        }
        Effect::Revoke(id) => {
            let each = seen.certificates.get_mut(&id).unwrap();
            each.certificate.state = Some(CertificateState::Revoked);
        }
        Effect::Mark(id) => seen.certificates.get_mut(&id).unwrap().marked = true,
        Effect::Deny(_) => seen
            .certificates
            .values_mut()
            .for_each(|each| each.denied = true),
        Effect::CloseConnection => {
            seen.connected = false;
            case.session_dropped = true;
        }
        Effect::CloseTunnel(tunnel) => drop(seen.tunnels.remove(&tunnel)),
        Effect::CancelExecution(job) => drop(seen.executions.remove(&job)),
        Effect::Purge(Store::Custody, _) => seen.versions.clear(),
        Effect::Purge(Store::Replica, _) => seen.replica = Some(BTreeSet::new()),
    }
}

#[test]
fn wherever_it_is_broken_off_looking_again_secures_the_device() {
    let most: usize = effects(&busy(), &opened(Verdict::Confirmed)).concat().len();
    assert_eq!(most, 9);
    for broken_off in 0..=most {
        let (mut seen, mut case) = (busy(), opened(Verdict::Confirmed));
        for effect in effects(&seen, &case).concat().into_iter().take(broken_off) {
            carried_out(&mut seen, &mut case, effect);
        }
        for _ in 0..3 {
            for effect in effects(&seen, &case).concat() {
                carried_out(&mut seen, &mut case, effect);
            }
        }
        assert_eq!(
            effects(&seen, &case),
            Vec::<Stage>::new(),
            "after {broken_off}"
        );
        let found = found(&seen, &case);
        assert!(is_clear(&found), "{found:?}");
        assert_eq!(seen.certificates.len(), 2);
    }
}

#[test]
fn nobody_comes_in_before_anybody_is_thrown_out() {
    let stages = effects(&busy(), &opened(Verdict::Confirmed));
    let at = |wanted: &Effect| {
        stages
            .iter()
            .position(|stage| stage.contains(wanted))
            .unwrap()
    };
    assert!(at(&Effect::Revoke(id('a'))) < at(&Effect::CloseConnection));
    assert!(at(&Effect::CloseConnection) < at(&Effect::Deny("arn:cert".to_owned())));
    assert!(!is_clear(&found(&busy(), &opened(Verdict::Confirmed))));
}

#[test]
fn a_session_is_dropped_once_though_nobody_is_connected() {
    let (mut seen, mut case) = (busy(), opened(Verdict::Confirmed));
    for (connected, dropped, closes) in [
        (false, false, true),
        (false, true, false),
        (true, true, true),
        (true, false, true),
    ] {
        (seen.connected, case.session_dropped) = (connected, dropped);
        let effects = effects(&seen, &case).concat();
        let told = found(&seen, &case);
        let clear = told.iter().filter(|line| line.clear).count();
        assert_eq!(
            effects.contains(&Effect::CloseConnection),
            closes,
            "{connected} {dropped}"
        );
        assert_eq!(clear, usize::from(!connected) + usize::from(dropped));
    }
}

#[test]
fn a_certificate_that_is_anothers_is_left_to_it() {
    let mut seen = busy();
    let mut foreign = certificate(Some(CertificateState::InForce), &["milan-0001", "other"]);
    (foreign.ours, foreign.marked) = (false, true);
    seen.certificates.insert(id('f'), foreign.clone());
    let effects_now = |seen: &Seen| effects(seen, &opened(Verdict::Confirmed)).concat();
    assert!(!effects_now(&seen).contains(&Effect::Revoke(id('f'))));
    foreign.ours = true;
    seen.certificates.insert(id('f'), foreign);
    assert!(effects_now(&seen).contains(&Effect::Revoke(id('f'))));
}

#[test]
fn a_suspicion_waits_for_another_certificate_or_its_deadline() {
    let mut case = opened(Verdict::Suspected);
    case.deadline = Some(Moment(10 + 10_000_000));
    let renewed = DeviceRecord {
        certificate_id: Some(id('b')),
        ..device()
    };
    let anew = DeviceRecord {
        created_by: OperationId::from_random([8; 16]),
        ..device()
    };
    let check = |device: Option<&DeviceRecord>, now: u64, wanted: Suspicion| {
        assert_eq!(case.suspicion(device, Moment(now)), wanted, "{now}");
    };
    check(Some(&renewed), 20, Suspicion::Replaced);
    check(Some(&anew), 20, Suspicion::Replaced);
    check(None, 20, Suspicion::Replaced);
    check(Some(&device()), 20, Suspicion::Waiting(3_000));
    check(Some(&device()), 60_010, Suspicion::Waiting(60_000));
    check(Some(&device()), 5_000_010, Suspicion::Waiting(1_800_000));
    check(Some(&device()), 9_999_010, Suspicion::Waiting(1_000));
    check(Some(&device()), 10_000_010, Suspicion::Overdue);
    check(Some(&renewed), 10_000_010, Suspicion::Replaced);
    let closed = case.clone().close("arn:bob", Moment(20)).unwrap();
    assert_eq!(
        closed.suspicion(Some(&device()), Moment(30)),
        Suspicion::Closed
    );
}
