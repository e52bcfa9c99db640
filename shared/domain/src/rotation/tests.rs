mod enrolments;
mod hand_outs;
mod jobs;

use super::*;
use crate::failure::Kind;

const OLD: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const NEW: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const FOREIGN: &str = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";

fn id(text: &str) -> CertificateId {
    CertificateId::parse(text).unwrap()
}

fn op(n: u8) -> OperationId {
    OperationId::from_random([n; 16])
}

fn csr() -> Csr {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["l".to_owned()]).unwrap();
    Csr::parse(&params.serialize_request(&key).unwrap().pem().unwrap()).unwrap()
}

/// A certificate's record.
pub(super) fn certificate(
    certificate_id: CertificateId,
    public_key: PublicKeyId,
    key_object: Option<String>,
) -> CertificateRecord {
    CertificateRecord {
        certificate_id,
        certificate_pem: String::new(),
        public_key,
        custody: Custody::Device,
        key_object,
        key_purged_at: None,
        issuer: Issuer::AwsIot,
        issued_at: Moment(0),
        not_after: Moment(1_000),
        due_at: None,
        due_shard: None,
        revoked_at: None,
        hand_out: None,
    }
}

fn old() -> CertificateRecord {
    certificate(id(OLD), csr().public_key().clone(), None)
}

fn requested() -> Rotation {
    of(&old())
}

fn of(old: &CertificateRecord) -> Rotation {
    let windows = Windows {
        request_millis: 100,
        proof_millis: 100,
        grace_millis: 50,
    };
    let thing = ThingName::parse("milan-0001").unwrap();
    Rotation::start(op(1), thing, old, windows, None, Moment(0)).unwrap()
}

/// The rotation in each phase that a device can meet, with its new certificate
/// where there is one.
fn in_phase(phase: Phase) -> Rotation {
    let mut rotation = requested();
    if phase != Phase::Requested {
        let csr = csr();
        rotation.wish = Some(csr.clone());
        let mint = Mint {
            intended_at: Moment(1),
            public_key: csr.public_key().clone(),
            certificate_id: Some(id(NEW)),
            certificate_pem: None,
        };
        rotation.new = Some(New { csr, mint });
    }
    rotation.phase = phase;
    rotation
}

fn check(phase: Phase, message: &Message, principal: &str, refused_for: Option<&str>) {
    let rotation = in_phase(phase);
    let answer = rotation.receive(message, &id(principal), Moment(5));
    let field = answer.as_ref().err().map(|failure| {
        assert_eq!(failure.kind, Kind::Denied);
        failure.field.as_deref().unwrap()
    });
    assert_eq!(field, refused_for, "{phase:?} {message:?} by {principal}");
}

#[test]
fn only_the_proved_certificate_asks_and_only_the_new_one_proves() {
    use Phase::{Done, Fenced, Issued, Issuing, Requested, Retired, RolledBack, Withdrawing};
    let ask = |n| Message::Request(op(n), csr());
    let prove = |n| Message::Proof(op(n));
    for phase in [Requested, Issuing, Issued] {
        check(phase, &ask(1), OLD, None);
        check(phase, &ask(1), FOREIGN, Some("principal"));
        check(phase, &ask(1), NEW, Some("principal"));
        check(phase, &ask(2), OLD, Some("rotationId"));
    }
    for phase in [Withdrawing, Retired, Done, RolledBack, Fenced] {
        check(phase, &ask(1), OLD, Some("rotationId"));
    }
    check(Issued, &prove(1), NEW, None);
    check(Issued, &prove(1), OLD, Some("principal"));
    check(Issued, &prove(1), FOREIGN, Some("principal"));
    check(Issued, &prove(2), NEW, Some("principal"));
    check(Requested, &prove(1), OLD, Some("principal"));
    for phase in [Withdrawing, RolledBack, Fenced] {
        check(phase, &prove(1), NEW, Some("principal"));
    }
    // Heard before: the device is told again.
    check(Retired, &prove(1), NEW, None);
    check(Done, &prove(1), NEW, None);
    check(Done, &prove(1), OLD, Some("principal"));
}

#[test]
fn a_late_proof_of_an_earlier_rotation_is_answered_and_changes_nothing() {
    let rotation = in_phase(Phase::Requested);
    let received = rotation
        .receive(&Message::Proof(op(9)), &id(OLD), Moment(5))
        .unwrap();
    assert!(!received.changed && !received.wake);
    assert_eq!(received.reply, Some(Reply::Retired(op(9), id(OLD))));
}

#[test]
fn a_repeated_request_gets_the_same_certificate_and_another_key_another() {
    let rotation = in_phase(Phase::Issued);
    let same = rotation.wish.clone().unwrap();
    let again = rotation
        .receive(&Message::Request(op(1), same.clone()), &id(OLD), Moment(5))
        .unwrap();
    assert!(!again.changed);
    assert!(matches!(again.reply, Some(Reply::Accepted(_, new)) if new.csr == same));

    let another = rotation
        .receive(&Message::Request(op(1), csr()), &id(OLD), Moment(5))
        .unwrap();
    assert!(another.changed && another.wake);
    let next = another.rotation.settle(Moment(6));
    assert_eq!(next.phase, Phase::Superseding);
    // The first request, late, does not swing it back.
    let late = next
        .receive(&Message::Request(op(1), same), &id(OLD), Moment(7))
        .unwrap();
    assert!(!late.changed);
}

#[test]
fn a_device_that_keeps_no_key_is_refused_in_the_end() {
    let mut rotation = requested();
    for _ in 0..=MOST_KEYS {
        let message = Message::Request(op(1), csr());
        rotation = rotation
            .receive(&message, &id(OLD), Moment(1))
            .unwrap()
            .rotation;
    }
    let refused = rotation.receive(&Message::Request(op(1), csr()), &id(OLD), Moment(1));
    assert_eq!(refused.unwrap_err().field.as_deref(), Some("csr"));
}

fn settled(change: impl FnOnce(&mut Rotation), phase: Phase, now: u64, then: Phase) {
    let mut rotation = in_phase(phase);
    change(&mut rotation);
    assert_eq!(
        rotation.settle(Moment(now)).phase,
        then,
        "{phase:?} at {now}"
    );
}

#[test]
fn time_and_messages_decide_what_comes_next() {
    use Phase::{Issued, Issuing, Removing, Requested, Retired, Retiring, RolledBack, Withdrawing};
    settled(|_| {}, Requested, 99, Requested);
    settled(|_| {}, Requested, 100, RolledBack);
    settled(|r| r.wish = Some(csr()), Requested, 100, Issuing);
    settled(|r| r.aborted = true, Requested, 1, RolledBack);
    settled(|_| {}, Issued, 99, Issued);
    settled(|_| {}, Issued, 100, Withdrawing);
    settled(|r| r.in_use = true, Issued, 100, Issued);
    settled(|r| r.aborted = true, Issued, 1, Withdrawing);
    settled(|r| r.proven_at = Some(Moment(99)), Issued, 100, Retiring);
    settled(|r| r.remove_at = Some(Moment(9)), Retired, 8, Retired);
    settled(|r| r.remove_at = Some(Moment(9)), Retired, 9, Removing);
}

#[test]
fn a_certificate_in_use_is_asked_for_again() {
    let mut rotation = in_phase(Phase::Issued);
    (rotation.in_use, rotation.told) = (true, true);
    let asked = rotation.settle(Moment(100));
    assert_eq!(asked.deadline, Moment(200));
    assert_eq!(asked.next(), Next::Do(Work::Tell(Word::Accepted)));
}

#[test]
fn one_rotation_at_a_time_and_one_invocation_at_a_time() {
    let open = requested();
    let next = |earlier: &Rotation| {
        let (name, windows) = (open.thing_name.clone(), open.windows);
        Rotation::start(op(2), name, &old(), windows, Some(earlier), Moment(1))
    };
    assert_eq!(next(&open).unwrap_err().kind, Kind::Busy);
    assert!(next(&in_phase(Phase::Done)).is_ok());

    let leased = open.clone().lease(Moment(1), Moment(20)).unwrap();
    assert_eq!(
        leased
            .clone()
            .lease(Moment(19), Moment(40))
            .unwrap_err()
            .kind,
        Kind::Busy
    );
    assert_eq!(
        leased.clone().fence(Moment(19)).unwrap_err().kind,
        Kind::Busy
    );
    assert_eq!(
        leased.clone().fence(Moment(20)).unwrap().phase,
        Phase::Fenced
    );
    assert_eq!(leased.lease(Moment(20), Moment(40)).unwrap().attempt, 2);
}

#[test]
fn a_certificate_whose_rotation_came_to_nothing_rests_a_day() {
    let thing = ThingName::parse("milan-0001").unwrap();
    let due = |earlier: Option<&Rotation>, now| Rotation::due_id(&thing, &id(OLD), earlier, now);
    let first = due(None, Moment(0)).unwrap();
    assert_eq!(due(None, Moment(9)), Some(first.clone()), "always the same");
    let mut ended = in_phase(Phase::RolledBack);
    assert_eq!(due(Some(&ended), Moment(9)), None, "one is under way");
    ended.ended_at = Some(Moment(5));
    assert_eq!(due(Some(&ended), Moment(REST_MILLIS)), None);
    let second = due(Some(&ended), Moment(REST_MILLIS + 5)).unwrap();
    assert_ne!(first, second);
    ended.old = id(FOREIGN);
    assert_eq!(
        due(Some(&ended), Moment(6)),
        Some(first),
        "another certificate"
    );
}

#[test]
fn a_device_speaks_only_of_itself() {
    let raw = |client: &str, topic: &str, principal: &str| -> RawMessage {
        serde_json::from_value(serde_json::json!({
            "rotationId": op(1), "clientId": client, "topicThing": topic, "principal": principal,
            "topicWord": "proof",
        }))
        .unwrap()
    };
    assert!(raw("a", "a", OLD).sender().is_ok());
    assert!(raw("a", "b", OLD).sender().is_err(), "another's topic");
    assert!(raw("a", "a", "root").sender().is_err(), "no certificate");
    assert_eq!(raw("a", "a", OLD).message().unwrap(), Message::Proof(op(1)));
}

#[test]
fn a_rotation_holds_every_key_that_may_be_certified_and_frees_them_at_its_end() {
    let key = |csr: &Csr| csr.public_key().clone();
    let (first, second) = (csr(), csr());
    let mut rotation = requested();
    assert!(rotation.keys().is_empty());
    for wish in [&first, &second] {
        let message = Message::Request(op(1), wish.clone());
        rotation = rotation
            .receive(&message, &id(OLD), Moment(1))
            .unwrap()
            .rotation;
    }
    let both = BTreeSet::from([key(&first), key(&second)]);
    assert_eq!(rotation.keys(), both, "the replaced one may come late");
    for (phase, held) in [
        (Phase::Fenced, both.clone()),
        (Phase::RolledBack, BTreeSet::new()),
    ] {
        rotation.phase = phase;
        assert_eq!(rotation.keys(), held, "{phase:?}");
    }
    let mut done = in_phase(Phase::Removing);
    done.superseded.push(key(&first));
    let new = key(&done.new.as_ref().unwrap().csr);
    assert_eq!(done.keys(), BTreeSet::from([new.clone(), key(&first)]));
    assert_eq!(done.removed(Moment(2)).keys(), BTreeSet::from([new]));
}

fn shown(rotation: &Rotation) -> serde_json::Value {
    serde_json::to_value(RotationView::new(rotation)).unwrap()
}

#[test]
fn a_caller_sees_how_far_it_is_and_nothing_that_is_secret() {
    for (phase, awaited) in [
        (Phase::Requested, "requestBefore"),
        (Phase::Issued, "proveBefore"),
        (Phase::Retired, ""),
    ] {
        let mut rotation = in_phase(phase);
        rotation.task_token = Some("what-wakes-the-workflow".to_owned());
        let text = shown(&rotation).to_string();
        for other in ["requestBefore", "proveBefore"] {
            assert_eq!(text.contains(other), other == awaited, "{text}");
        }
        for secret in ["what-wakes", "CERTIFICATE REQUEST", "lease", "version"] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    let mut rotation = in_phase(Phase::Issued);
    rotation.deadline = Moment(7);
    rotation.proven_at = Some(Moment(5));
    let seen = shown(&rotation);
    assert_eq!(seen["phase"], "ISSUED");
    assert_eq!(seen["oldCertificateId"], OLD);
    assert_eq!(seen["newCertificateId"], NEW);
    assert_eq!(
        (&seen["proveBefore"], &seen["provenAt"]),
        (&7.into(), &5.into())
    );
    let seen = shown(&rotation.retired(Moment(9)));
    assert_eq!(seen["removeAt"], 59);
}

#[test]
fn what_was_proved_is_renewed_even_if_the_device_went() {
    for (phase, proved, renewed) in [
        (Phase::Done, true, true),
        (Phase::Fenced, true, true),
        (Phase::Fenced, false, false),
        (Phase::RolledBack, false, false),
        (Phase::Retired, true, false),
    ] {
        let mut rotation = in_phase(phase);
        rotation.proven_at = proved.then_some(Moment(4));
        assert_eq!(rotation.renewed(), renewed, "{phase:?}");
    }
}

/// A rotation by hand-out, in each phase that it can meet.
fn by_hand_out(phase: Phase) -> Rotation {
    let mut rotation = in_phase(phase);
    rotation.custody = Custody::Vault;
    rotation
}
