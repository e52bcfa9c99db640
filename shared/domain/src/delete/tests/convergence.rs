//! Whatever fails in between, a deletion converges.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

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
            // The groups' own rows follow from the stream.
            Effect::LeaveDynamicGroups => {
                seen.evaluated = false;
                seen.dynamic_groups.clear();
                seen.member_of.clear();
            }
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
