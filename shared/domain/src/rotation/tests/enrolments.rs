//! Rotations that a token has authorised.

use super::*;

/// What a token leads to in each phase, and what stands then.
#[test]
fn an_enrolment_takes_the_open_rotation_over_or_has_it_end_first() {
    use Phase::{
        Issued, Issuing, Removing, Requested, Retired, Retiring, Superseding, Withdrawing,
    };
    for phase in [Requested, Issuing, Issued, Superseding] {
        let mut open = in_phase(phase);
        (open.in_use, open.aborted) = (true, true);
        let before = open.wish.clone();
        let request = csr();
        let enrol::Entry::Through(taken) = open.enrol(&request, Moment(5)) else {
            panic!("{phase:?}");
        };
        assert_eq!(taken.wish.as_ref(), Some(&request), "{phase:?}");
        assert_eq!(taken.old, open.old, "what was proved stays");
        assert_eq!(taken.reason, Reason::Enrolment);
        let replaced: Vec<_> = before.iter().map(|csr| csr.public_key().clone()).collect();
        assert_eq!(taken.superseded, replaced, "{phase:?}");
        let standing = taken.standing(&op(1), request.public_key());
        assert_eq!(standing, enrol::Standing::Making, "{phase:?}");
        // The certificate for the key before goes, although it was in use.
        let next = taken.clone().settle(Moment(5));
        let wanted = match phase {
            Requested => Issuing,
            Issued => Superseding,
            other => other,
        };
        assert_eq!(next.phase, wanted);
        // The old certificate does not take it back; the same key is welcome.
        let ask = |csr: &Csr| {
            let message = Message::Request(op(1), csr.clone());
            taken.receive(&message, &id(OLD), Moment(6))
        };
        assert_eq!(ask(&csr()).unwrap_err().field.as_deref(), Some("csr"));
        assert!(!ask(&request).unwrap().changed);
        // A second token counts for more than the first.
        let enrol::Entry::Through(again) = taken.enrol(&csr(), Moment(7)) else {
            panic!("{phase:?}");
        };
        assert!(again.superseded.contains(request.public_key()));
        let standing = again.standing(&op(1), request.public_key());
        assert_eq!(standing, enrol::Standing::Over);
    }
    for phase in [Issued, Retiring, Retired, Removing, Withdrawing] {
        let mut open = in_phase(phase);
        if phase == Issued {
            open.proven_at = Some(Moment(4));
        }
        if phase == Retired {
            open.remove_at = Some(Moment(1_000));
        }
        let enrol::Entry::After(ending) = open.enrol(&csr(), Moment(5)) else {
            panic!("{phase:?}");
        };
        assert_eq!((&ending.wish, ending.phase), (&open.wish, phase));
        if phase == Retired {
            assert_eq!(ending.settle(Moment(5)).phase, Removing);
        } else {
            assert_eq!(ending.retired(Moment(9)).settle(Moment(9)).phase, Removing);
        }
    }
}

#[test]
fn an_enrolment_stands_where_its_rotation_does() {
    use Phase::{
        Done, Fenced, Issued, Issuing, Removing, Retired, Retiring, RolledBack, Withdrawing,
    };
    use enrol::Standing::{Making, Over};
    let new = id(NEW);
    let issued = enrol::Standing::Issued(&new);
    for (phase, standing) in [
        (Issuing, Making),
        (Issued, issued),
        (Retiring, issued),
        (Retired, issued),
        (Removing, issued),
        (Done, issued),
        (Withdrawing, Over),
        (RolledBack, Over),
        (Fenced, Over),
    ] {
        let rotation = in_phase(phase);
        let key = rotation.wish.as_ref().unwrap().public_key();
        assert_eq!(rotation.standing(&op(1), key), standing, "{phase:?}");
        assert_eq!(rotation.standing(&op(2), key), Over);
        assert_eq!(rotation.standing(&op(1), csr().public_key()), Over);
    }
}

/// The keys that a case has cut off with a rotation are freed with the next one,
/// but not one that a certificate was made for.
#[test]
fn an_enrolment_after_a_case_frees_what_was_never_certified() {
    let mut fenced = in_phase(Phase::Fenced);
    let made = fenced.wish.replace(csr()).unwrap();
    fenced.superseded = vec![csr().public_key().clone()];
    let left = [
        fenced.wish.as_ref().unwrap().public_key(),
        &fenced.superseded[0],
    ];
    let mut revoked = old();
    revoked.revoked_at = Some(Moment(3));
    let next = of(&revoked).enrolling(csr(), Some(&fenced));
    let kept: BTreeSet<_> = next.superseded.iter().collect();
    assert_eq!(kept, BTreeSet::from(left));
    assert!(!next.keys().contains(made.public_key()));
    assert_eq!(next.old_state, OldState::Revoked);
    let done = in_phase(Phase::Done);
    let next = requested().enrolling(csr(), Some(&done));
    assert!(
        next.superseded.is_empty(),
        "what a device has stays its own"
    );
}

#[test]
fn an_enrolment_does_not_wait_for_a_hand_out() {
    for phase in [Phase::Requested, Phase::Issued] {
        let mut open = by_hand_out(phase);
        open.in_use = true;
        let enrol::Entry::After(ending) = open.enrol(&csr(), Moment(5)) else {
            panic!("{phase:?}");
        };
        assert_eq!(ending.settle(Moment(5)).phase, Phase::Withdrawing);
    }
}

/// Whoever begins a rotation, a key that is in custody goes with its certificate.
#[test]
fn a_key_in_custody_is_known_to_a_rotation_that_a_token_began() {
    let mut old = old();
    old.key_object = Some("keys/milan-0001/op.json".to_owned());
    let mut rotation = of(&old).enrolling(csr(), None);
    rotation.phase = Phase::Removing;
    assert_eq!(rotation.next(), Next::Do(Work::Remove(KeyMadeHere::Purged)));
}
