use std::collections::BTreeSet;

use super::*;
use crate::create::CreatePlan;
use crate::csr::Csr;
use crate::device::Tombstone;
use crate::request::CreateRequest;

mod claims;
mod convergence;

const THING: &str = "milan-0001";

fn thing_name() -> ThingName {
    ThingName::parse(THING).unwrap()
}

fn certificate_id(digit: char) -> CertificateId {
    CertificateId::parse(&digit.to_string().repeat(64)).unwrap()
}

fn arn(id: &CertificateId) -> String {
    format!("arn:aws:iot:eu-south-1:123456789012:cert/{id}")
}

fn names(all: &[&str]) -> BTreeSet<String> {
    all.iter().map(ToString::to_string).collect()
}

fn version(id: &str) -> ObjectVersion {
    ObjectVersion {
        key: format!("keys/{THING}/op.json"),
        version_id: id.to_owned(),
    }
}

fn certificate(id: &CertificateId, state: CertificateState, things: &[&str]) -> CertificateSeen {
    CertificateSeen {
        state: Some(state),
        things: names(things),
        arn: arn(id),
        not_after: Some(Moment(2_524_608_000_000)),
    }
}

/// A look that found nothing, at two topics and in both buckets.
fn nothing() -> Observation {
    Observation {
        thing_name: thing_name(),
        thing: None,
        principals: BTreeSet::new(),
        certificates: BTreeMap::new(),
        groups: BTreeSet::new(),
        evaluated: false,
        dynamic_groups: BTreeSet::new(),
        member_of: BTreeSet::new(),
        classic_shadow: false,
        named_shadows: BTreeSet::new(),
        retained: [("lights/milan-0001/state".to_owned(), false)].into(),
        executions: BTreeSet::new(),
        tunnels: BTreeSet::new(),
        connected: false,
        versions: BTreeSet::new(),
        replica: Some(BTreeSet::new()),
    }
}

fn dropped() -> DeleteProgress {
    DeleteProgress {
        session_dropped: true,
        ..DeleteProgress::default()
    }
}

/// What is planted survives: its line alone is not clear, names it, and
/// exactly these effects go for it.
fn check(plant: impl FnOnce(&mut Observation), subject: &str, named: &str, expected: &[Effect]) {
    let mut seen = nothing();
    plant(&mut seen);
    let mut progress = dropped();
    progress.remember(&seen);
    let proof = proof(&seen, &progress);
    let left: Vec<_> = proof.iter().filter(|line| !line.clear).collect();
    assert_eq!(left.len(), 1, "{subject}: {proof:#?}");
    assert_eq!(left[0].subject, subject);
    assert!(
        left[0].found.contains(named),
        "{:?} does not name {named}",
        left[0].found
    );
    assert_eq!(effects(&seen, &progress).concat(), expected, "{subject}");
}

#[test]
fn a_dynamic_group_that_has_the_device_makes_the_proof_fail() {
    check(
        |seen| seen.evaluated = true,
        "dynamic groups",
        "a document",
        &[Effect::LeaveDynamicGroups],
    );
    // The stream takes it out of the group; there is nothing to do but wait.
    check(
        |seen| seen.member_of = [GroupName::parse("dim").unwrap()].into(),
        "dynamic groups",
        "member of dim",
        &[],
    );
}

#[test]
fn every_kind_of_survivor_makes_the_proof_fail() {
    let id = certificate_id('a');
    check(
        |seen| seen.thing = Some(ThingSeen::default()),
        "thing",
        "the thing",
        &[Effect::DeleteThing],
    );
    check(
        |seen| seen.principals = names(&["eu-south-1:cognito"]),
        "principals",
        "cognito",
        &[Effect::Detach("eu-south-1:cognito".to_owned())],
    );
    check(
        |seen| {
            seen.certificates
                .insert(id.clone(), certificate(&id, CertificateState::InForce, &[]));
        },
        &format!("certificate {id}"),
        "in force",
        &[
            Effect::Inactivate(id.clone()),
            Effect::DeleteCertificate(id.clone()),
        ],
    );
    check(
        |seen| {
            seen.certificates.insert(
                id.clone(),
                certificate(&id, CertificateState::Inactive, &[]),
            );
        },
        &format!("certificate {id}"),
        "not deleted yet",
        &[Effect::DeleteCertificate(id.clone())],
    );
    check(
        |seen| seen.groups = names(&["milan"]),
        "memberships",
        "milan",
        &[Effect::LeaveGroup("milan".to_owned())],
    );
    check(
        |seen| seen.classic_shadow = true,
        "classic shadow",
        "a document",
        &[Effect::DeleteClassicShadow],
    );
    check(
        |seen| seen.named_shadows = names(&["config"]),
        "named shadows",
        "config",
        &[Effect::DeleteNamedShadow("config".to_owned())],
    );
    check(
        |seen| {
            seen.retained
                .insert("lights/milan-0001/state".to_owned(), true);
        },
        "retained message on lights/milan-0001/state",
        "a message",
        &[Effect::ClearRetained("lights/milan-0001/state".to_owned())],
    );
    check(
        |seen| seen.executions = names(&["update-1"]),
        "job executions",
        "update-1",
        &[Effect::CancelExecution("update-1".to_owned())],
    );
    check(
        |seen| seen.tunnels = names(&["t-1"]),
        "tunnels",
        "t-1",
        &[Effect::CloseTunnel("t-1".to_owned())],
    );
    check(
        |seen| seen.connected = true,
        "connection",
        "connected",
        &[Effect::CloseConnection],
    );
    check(
        |seen| seen.versions = [version("v1")].into(),
        "key object versions",
        "v1",
        &[Effect::Purge(Store::Custody, vec![version("v1")])],
    );
    check(
        |seen| seen.replica = Some([version("v2")].into()),
        "key object versions, replica",
        "v2",
        &[Effect::Purge(Store::Replica, vec![version("v2")])],
    );
}

#[test]
fn a_look_that_finds_nothing_is_the_proof_and_says_where_it_looked() {
    let seen = nothing();
    let proof = proof(&seen, &dropped());
    assert!(is_clear(&proof), "{proof:#?}");
    assert_eq!(effects(&seen, &dropped()), Vec::<Stage>::new());
    let subjects: Vec<_> = proof.iter().map(|line| line.subject.as_str()).collect();
    assert_eq!(
        subjects,
        [
            "thing",
            "principals",
            "memberships",
            "dynamic groups",
            "classic shadow",
            "named shadows",
            "retained message on lights/milan-0001/state",
            "job executions",
            "tunnels",
            "connection",
            "key object versions",
            "key object versions, replica",
        ]
    );
    assert!(
        proof
            .iter()
            .all(|line| !line.looked.is_empty() && line.found == "nothing")
    );
}

#[test]
fn without_a_replica_or_topics_the_proof_does_not_pretend() {
    let mut seen = nothing();
    seen.replica = None;
    seen.retained.clear();
    let proof = proof(&seen, &dropped());
    assert!(!proof.iter().any(|line| line.subject.contains("replica")));
    let retained = proof
        .iter()
        .find(|line| line.subject.starts_with("retained"))
        .unwrap();
    assert!(retained.looked.starts_with("nowhere"), "{retained:?}");
}

#[test]
fn the_billing_group_counts_as_a_membership() {
    let mut seen = nothing();
    seen.thing = Some(ThingSeen {
        billing_group: Some("billing-milan".to_owned()),
    });
    let proof = proof(&seen, &dropped());
    let line = proof
        .iter()
        .find(|line| line.subject == "memberships")
        .unwrap();
    assert!(
        !line.clear && line.found.contains("billing-milan"),
        "{line:?}"
    );
}

/// What becomes of one attached certificate: the effects that name it, and its
/// line once it is detached.
fn check_certificate(
    state: CertificateState,
    others: &[&str],
    expected: &[Effect],
    found: &str,
    clear: bool,
) {
    let id = certificate_id('b');
    let mut seen = nothing();
    let attached: Vec<_> = others.iter().copied().chain([THING]).collect();
    seen.principals.insert(arn(&id));
    seen.certificates
        .insert(id.clone(), certificate(&id, state, &attached));
    let mut progress = dropped();
    progress.remember(&seen);
    assert_eq!(effects(&seen, &progress).concat(), expected);
    let line = |seen: &Observation| {
        let lines = proof(seen, &progress);
        lines
            .into_iter()
            .find(|line| line.subject == format!("certificate {id}"))
            .unwrap()
    };
    assert!(!line(&seen).clear, "an attachment is never clear");

    seen.principals.clear();
    seen.certificates
        .insert(id.clone(), certificate(&id, state, others));
    let line = line(&seen);
    assert!(line.found.contains(found), "{line:?}");
    assert_eq!(line.clear, clear, "{line:?}");
}

#[test]
fn shared_and_revoked_certificates_are_detached_and_left() {
    let id = certificate_id('b');
    let detach = Effect::Detach(arn(&id));
    check_certificate(
        CertificateState::InForce,
        &[],
        &[
            Effect::Inactivate(id.clone()),
            detach.clone(),
            Effect::DeleteCertificate(id.clone()),
        ],
        "in force",
        false,
    );
    check_certificate(
        CertificateState::InForce,
        &["turin-7"],
        std::slice::from_ref(&detach),
        "shared, left",
        true,
    );
    check_certificate(
        CertificateState::Revoked,
        &[],
        &[detach],
        "REVOKED, kept",
        true,
    );
}

#[test]
fn once_shared_a_certificate_is_left_for_good() {
    let id = certificate_id('b');
    let mut progress = dropped();
    let mut seen = nothing();
    seen.certificates.insert(
        id.clone(),
        certificate(&id, CertificateState::InForce, &["turin-7"]),
    );
    progress.remember(&seen);
    seen.certificates
        .insert(id.clone(), certificate(&id, CertificateState::InForce, &[]));
    progress.remember(&seen);
    assert!(effects(&seen, &progress).is_empty());
}

#[test]
fn the_order_is_the_contracts() {
    let id = certificate_id('a');
    let mut seen = nothing();
    seen.thing = Some(ThingSeen::default());
    seen.principals.insert(arn(&id));
    seen.certificates.insert(
        id.clone(),
        certificate(&id, CertificateState::InForce, &[THING]),
    );
    seen.groups = names(&["g"]);
    seen.classic_shadow = true;
    seen.named_shadows = names(&["n"]);
    seen.retained
        .insert("lights/milan-0001/state".to_owned(), true);
    seen.executions = names(&["j"]);
    seen.tunnels = names(&["t"]);
    seen.connected = true;
    seen.versions = [version("v1")].into();
    seen.replica = Some([version("v2")].into());
    let mut progress = DeleteProgress::default();
    progress.remember(&seen);
    let mut expected = [
        vec![Effect::Inactivate(id.clone())],
        vec![Effect::CloseConnection],
        vec![
            Effect::CloseTunnel("t".to_owned()),
            Effect::CancelExecution("j".to_owned()),
        ],
        vec![
            Effect::DeleteClassicShadow,
            Effect::DeleteNamedShadow("n".to_owned()),
            Effect::ClearRetained("lights/milan-0001/state".to_owned()),
        ],
        vec![Effect::Detach(arn(&id))],
        vec![
            Effect::DeleteCertificate(id),
            Effect::LeaveGroup("g".to_owned()),
        ],
        vec![Effect::DeleteThing],
        vec![
            Effect::Purge(Store::Custody, vec![version("v1")]),
            Effect::Purge(Store::Replica, vec![version("v2")]),
        ],
    ];
    // An execution is looked up through the thing, so the thing waits until a
    // look has found none.
    let without_the_thing: Vec<_> = expected
        .iter()
        .filter(|stage| stage[..] != [Effect::DeleteThing])
        .cloned()
        .collect();
    assert_eq!(effects(&seen, &progress), without_the_thing);
    seen.executions.clear();
    expected[2].pop();
    assert_eq!(effects(&seen, &progress), expected);
}

#[test]
fn more_versions_than_one_call_takes_are_purged_in_several() {
    let mut seen = nothing();
    seen.versions = (0..2500).map(|n| version(&format!("v{n}"))).collect();
    let sizes: Vec<_> = effects(&seen, &dropped())
        .concat()
        .iter()
        .map(|effect| match effect {
            Effect::Purge(Store::Custody, versions) => versions.len(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [1000, 1000, 500]);
}

#[test]
fn a_session_is_dropped_even_if_nobody_is_connected() {
    assert_eq!(
        effects(&nothing(), &DeleteProgress::default()),
        [[Effect::CloseConnection]]
    );
}

#[test]
fn only_topics_that_name_the_device_are_its_own() {
    let declared = [
        "lights/{thingName}/state",
        "fleet/announcements",
        "a/{thingName}/b/{thingName}",
    ];
    let declared: Vec<_> = declared.map(str::to_owned).into();
    assert_eq!(
        retained_topics(&thing_name(), &declared),
        names(&["lights/milan-0001/state", "a/milan-0001/b/milan-0001"])
    );
}

#[test]
fn the_tombstone_keeps_every_generations_certificates_until_the_last_would_end() {
    let mut progress = dropped();
    let mut seen = nothing();
    seen.certificates.insert(
        certificate_id('a'),
        certificate(&certificate_id('a'), CertificateState::Revoked, &[]),
    );
    progress.remember(&seen);
    let operation = OperationId::from_key("k");
    let earlier = Tombstone {
        thing_name: thing_name(),
        certificate_ids: vec![certificate_id('c')],
        operation_id: OperationId::from_key("earlier"),
        deleted_at: Moment(0),
        expires_at: 9,
    };
    let now = Moment(1_000_000);
    let made = tombstone(&thing_name(), &operation, &progress, Some(&earlier), now);
    assert_eq!(
        made.certificate_ids,
        [certificate_id('a'), certificate_id('c')]
    );
    assert_eq!(made.expires_at, 2_524_608_000);
    let bare = tombstone(
        &thing_name(),
        &operation,
        &DeleteProgress::default(),
        None,
        now,
    );
    assert!(bare.certificate_ids.is_empty() && bare.expires_at > now.epoch_seconds());
}

#[test]
fn the_key_a_device_was_created_with_is_its_own_until_a_certificate_says_which_is() {
    let csr = Csr::parse(include_str!("../../fixtures/rsa-2048.csr.pem")).unwrap();
    let body = serde_json::json!({"thingName": "milan-0001", "csr": csr.pem()}).to_string();
    let request = CreateRequest::parse(body.as_bytes(), None).unwrap().0;
    let plan = CreatePlan::new(OperationId::from_random([1; 16]), request);
    let mut record = plan.claimed(Moment(0));
    let asked = BTreeSet::from([csr.public_key().clone()]);
    assert_eq!(keys(Some(&record), &[], None), asked);
    record.certificate_id = Some(CertificateId::of_der(b"renewed since"));
    assert_eq!(keys(Some(&record), &[], None), BTreeSet::new());
    assert_eq!(keys(None, &[], None), BTreeSet::new());
}
