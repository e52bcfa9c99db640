//! Who may delete, and how a deletion is given up.

use super::*;
use crate::device::DeviceRecord;
use crate::failure::Kind;
use crate::operation::{Operation, OperationKind};

fn record(status: &str) -> DeviceRecord {
    serde_json::from_value(serde_json::json!({
        "thingName": THING, "groups": ["milan"], "status": status, "custody": "device",
        "createdBy": OperationId::from_key("create"), "operationId": OperationId::from_key("working"),
        "createdAt": 1, "listingShard": "DEVICES#00",
    }))
    .unwrap()
}

fn operation(status: &str, lease_until: u64) -> Operation {
    serde_json::from_value(serde_json::json!({
        "operationId": OperationId::from_key("working"), "kind": "CREATE", "thingName": THING,
        "status": status, "startedAt": 1, "leaseUntil": lease_until, "attempt": 1,
        "deletion": {"certificates": {certificate_id('a').as_str(): {}}, "sessionDropped": true},
    }))
    .unwrap()
}

/// The claim at moment 100, in a word.
fn check_claim(device: &str, working: Option<(&str, u64)>, expected: &str) {
    let working = working.map(|(status, lease)| operation(status, lease));
    let word = match claim(Some(&record(device)), None, working.as_ref(), Moment(100)) {
        Ok(Claim::Absent(_)) => "absent",
        Ok(Claim::Resume(id)) if id == OperationId::from_key("working") => "resume",
        Ok(Claim::Resume(_)) => "another",
        Ok(Claim::Begin { fence: Some(_), .. }) => "fence",
        Ok(Claim::Begin { inherited, .. }) if !inherited.certificates.is_empty() => "again",
        Ok(Claim::Begin { .. }) => "begin",
        Err(failure) => {
            assert_eq!(failure.kind, Kind::Busy);
            assert!(failure.retry_after.is_some());
            "busy"
        }
    };
    assert_eq!(word, expected, "{device} {working:?}");
}

#[test]
fn who_may_delete() {
    check_claim("ACTIVE", Some(("DONE", 0)), "begin");
    check_claim("ACTIVE", None, "begin");
    check_claim("STUCK", Some(("STUCK", 0)), "begin");
    check_claim("CREATING", Some(("RUNNING", 101)), "busy");
    check_claim("CREATING", Some(("UNDOING", 101)), "busy");
    check_claim("CREATING", Some(("RUNNING", 99)), "fence");
    check_claim("CREATING", Some(("UNDOING", 99)), "fence");
    check_claim("CREATING", Some(("FAILED", 99)), "begin");
    check_claim("CREATING", None, "begin");
    check_claim("DELETING", Some(("RUNNING", 101)), "resume");
    check_claim("DELETING", Some(("RUNNING", 0)), "resume");
    check_claim("DELETING", Some(("FAILED", 0)), "again");
    check_claim("DELETING", None, "begin");
}

#[test]
fn an_update_is_let_end_or_is_fenced() {
    for (lease_until, status, fenced) in [
        (101, "RUNNING", None),
        (101, "UNDOING", None),
        (99, "RUNNING", Some(true)),
        (101, "DONE", Some(false)),
    ] {
        let mut update = operation(status, lease_until);
        update.kind = OperationKind::Update;
        let claimed = claim(Some(&record("ACTIVE")), None, Some(&update), Moment(100));
        let fence = claimed.map(|claim| matches!(claim, Claim::Begin { fence: Some(_), .. }));
        assert_eq!(fence.ok(), fenced, "{lease_until} {status}");
    }
}

#[test]
fn what_is_not_there_is_absent_and_names_its_deletion() {
    assert_eq!(claim(None, None, None, Moment(1)), Ok(Claim::Absent(None)));
    let id = OperationId::from_key("deleted");
    let tombstone = tombstone(
        &thing_name(),
        &id,
        &DeleteProgress::default(),
        None,
        Moment(1),
    );
    assert_eq!(
        claim(None, Some(&tombstone), None, Moment(1)),
        Ok(Claim::Absent(Some(id)))
    );
}

#[test]
fn giving_up_names_what_is_left_and_keeps_the_kind() {
    let mut seen = nothing();
    seen.named_shadows = names(&["config"]);
    let proof = proof(&seen, &dropped());
    let failure = given_up("States.Timeout", &dropped(), &proof);
    assert_eq!(failure.kind, Kind::Stuck);
    assert!(failure.reason.contains("named shadows"), "{failure}");
    assert_eq!(given_up("Denied", &dropped(), &proof).kind, Kind::Denied);
}
