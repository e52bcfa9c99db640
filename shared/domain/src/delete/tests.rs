use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::device::{DeviceRecord, Tombstone};
use crate::failure::Kind;
use crate::operation::Operation;

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
    let expected = [
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

/// AWS as a deletion meets it: calls fail, and detachment settles late.
#[derive(Clone, Debug)]
struct World {
    seen: Observation,
    /// How many looks it takes until a detachment counts for deletion.
    settling: u8,
}

impl World {
    fn look(&mut self) -> Observation {
        self.settling = self.settling.saturating_sub(1);
        self.seen.clone()
    }

    fn apply(&mut self, effect: &Effect) {
        let settled = self.settling == 0 && self.seen.principals.is_empty();
        let seen = &mut self.seen;
        match effect {
            Effect::Inactivate(id) => {
                seen.certificates.get_mut(id).unwrap().state = Some(CertificateState::Inactive);
            }
            Effect::CloseConnection => seen.connected = false,
            Effect::CloseTunnel(tunnel) => drop(seen.tunnels.remove(tunnel)),
            Effect::CancelExecution(job) => drop(seen.executions.remove(job)),
            Effect::DeleteClassicShadow => seen.classic_shadow = false,
            Effect::DeleteNamedShadow(shadow) => drop(seen.named_shadows.remove(shadow)),
            Effect::ClearRetained(topic) => drop(seen.retained.insert(topic.clone(), false)),
            Effect::Detach(principal) => {
                seen.principals.remove(principal);
                for certificate in seen
                    .certificates
                    .values_mut()
                    .filter(|c| c.arn == *principal)
                {
                    certificate.things.remove(THING);
                }
            }
            Effect::DeleteCertificate(id) => {
                let certificate = seen.certificates.get_mut(id).unwrap();
                assert_ne!(
                    certificate.state,
                    Some(CertificateState::Revoked),
                    "evidence is kept"
                );
                if settled
                    && certificate.things.is_empty()
                    && certificate.state == Some(CertificateState::Inactive)
                {
                    certificate.state = None;
                }
            }
            Effect::LeaveGroup(group) => drop(seen.groups.remove(group)),
            Effect::DeleteThing if settled => {
                seen.thing = None;
                seen.groups.clear();
            }
            Effect::DeleteThing => {}
            Effect::Purge(Store::Custody, versions) => {
                seen.versions.retain(|v| !versions.contains(v));
            }
            Effect::Purge(Store::Replica, versions) => {
                seen.replica
                    .as_mut()
                    .unwrap()
                    .retain(|v| !versions.contains(v));
            }
        }
    }
}

fn state() -> impl Strategy<Value = CertificateState> {
    prop_oneof![
        Just(CertificateState::InForce),
        Just(CertificateState::Inactive),
        Just(CertificateState::Revoked)
    ]
}

prop_compose! {
    fn world()(
        states in vec((state(), any::<bool>(), any::<bool>()), 0..4),
        (thing, billing, classic, connected) in any::<(bool, bool, bool, bool)>(),
        (groups, shadows, jobs, tunnels) in (0..3_usize, 0..3_usize, 0..3_usize, 0..3_usize),
        (versions, replica, retained) in (0..5_usize, 0..5_usize, any::<bool>()),
        settling in 0..4_u8,
    ) -> World {
        let many = |n: usize, what: &str| (0..n).map(|i| format!("{what}-{i}")).collect::<BTreeSet<_>>();
        let mut seen = nothing();
        for (digit, (state, attached, shared)) in "0123".chars().zip(states) {
            let id = certificate_id(digit);
            let attached = attached && thing;
            let mut things = BTreeSet::new();
            if attached {
                things.insert(THING.to_owned());
                seen.principals.insert(arn(&id));
            }
            if shared {
                things.insert("turin-7".to_owned());
            }
            let certificate = CertificateSeen { things, ..certificate(&id, state, &[]) };
            seen.certificates.insert(id, certificate);
        }
        if thing {
            let billing_group = billing.then(|| "billing-milan".to_owned());
            seen.thing = Some(ThingSeen { billing_group });
            seen.groups = many(groups, "group");
        }
        seen.classic_shadow = classic;
        seen.connected = connected;
        seen.named_shadows = many(shadows, "shadow");
        seen.executions = many(jobs, "job");
        seen.tunnels = many(tunnels, "tunnel");
        seen.versions = many(versions, "v").iter().map(|v| version(v)).collect();
        seen.replica = Some(many(replica, "r").iter().map(|v| version(v)).collect());
        seen.retained.insert("lights/milan-0001/state".to_owned(), retained);
        World { seen, settling }
    }
}

proptest! {
    /// Whatever fails in between, and wherever an invocation is killed, the
    /// deletion ends with a clear proof, and what is not the device's alone is
    /// as it was (invariants 3 and 6).
    #[test]
    fn it_converges(mut world in world(), fate in vec(0..4_u8, 0..200)) {
        let before = world.seen.clone();
        let mut fate = fate.into_iter();
        let mut progress = DeleteProgress::default();
        let mut rounds = 0;
        let ended = loop {
            rounds += 1;
            prop_assert!(rounds < 300, "it does not converge: {world:#?}");
            let seen = world.look();
            progress.remember(&seen);
            let stages = effects(&seen, &progress);
            if stages.is_empty() {
                break seen;
            }
            'round: for stage in stages {
                for effect in &stage {
                    match fate.next() {
                        // Killed before the call, or after it and before its answer.
                        Some(0) => break 'round,
                        Some(1) => {
                            world.apply(effect);
                            break 'round;
                        }
                        // Refused, and passed over.
                        Some(2) => {}
                        _ => {
                            world.apply(effect);
                            progress.session_dropped |= *effect == Effect::CloseConnection;
                        }
                    }
                }
            }
        };
        let proof = proof(&ended, &progress);
        prop_assert!(is_clear(&proof), "{proof:#?}");
        for (id, was) in &before.certificates {
            let is = &ended.certificates[id];
            let shared = was.things.contains("turin-7");
            if shared || was.state == Some(CertificateState::Revoked) {
                prop_assert_eq!(is.state, was.state);
                prop_assert_eq!(is.things.contains("turin-7"), shared);
            } else {
                prop_assert_eq!(is.state, None);
            }
        }
    }
}
