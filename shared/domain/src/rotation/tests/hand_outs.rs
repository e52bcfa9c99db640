//! Rotations whose key is made here.

use super::*;

#[test]
fn a_rotation_goes_by_a_hand_out_until_the_device_has_asked_itself() {
    use Phase::{Done, Issued, Issuing, Retired, RolledBack, Withdrawing};
    let switched = requested().hand_out(Moment(90)).unwrap();
    assert_eq!(
        (switched.custody, switched.deadline),
        (Custody::Vault, Moment(190))
    );
    assert_eq!(switched.clone().hand_out(Moment(95)).unwrap(), switched);
    let mut asked = requested();
    asked.wish = Some(csr());
    let aborted = requested().abort();
    for rotation in [asked, aborted]
        .into_iter()
        .chain([Issuing, Issued, Retired, Withdrawing, Done, RolledBack].map(in_phase))
        .chain([Done, RolledBack].map(by_hand_out))
    {
        let refused = rotation.clone().hand_out(Moment(1)).unwrap_err();
        assert_eq!(refused.kind, Kind::Conflict, "{:?}", rotation.phase);
    }
    assert!(by_hand_out(Issued).hand_out(Moment(1)).is_ok());
}

#[test]
fn a_key_is_made_here_and_certified_as_if_the_device_had_asked() {
    let rotation = by_hand_out(Phase::Requested);
    assert_eq!(rotation.next(), Next::Do(Work::MakeKey));
    let csr = csr();
    let made = rotation.key_made(csr.clone()).settle(Moment(1));
    assert_eq!(made.next(), Next::Do(Work::Prepare(csr.clone())));
    assert!(made.keys().contains(csr.public_key()), "it is held first");
    // The device's own request comes to nothing, but for the key it was given.
    let says = |csr: &Csr| made.receive(&Message::Request(op(1), csr.clone()), &id(OLD), Moment(2));
    assert!(!says(&csr).unwrap().changed);
    let refused = says(&self::csr()).unwrap_err();
    assert_eq!(refused.field.as_deref(), Some("rotationId"));
}

fn purged(rotation: &Rotation) -> Vec<Effect> {
    let Next::Do(work) = rotation.next() else {
        return Vec::new();
    };
    let purge = |effect: &&Effect| matches!(effect, Effect::PurgeNew | Effect::PurgeOld);
    work.effects().iter().filter(purge).copied().collect()
}

#[test]
fn a_key_in_custody_goes_with_the_proof_or_with_its_certificate() {
    use Effect::{PurgeNew, PurgeOld};
    let check = |rotation: Rotation, gone: &[Effect]| {
        assert_eq!(purged(&rotation), gone, "{rotation:?}");
    };
    let kept = |mut rotation: Rotation| {
        rotation.proved_key = KeyMadeHere::Left;
        rotation
    };
    let after_a_vault = |mut rotation: Rotation| {
        rotation.old_key = Some("keys/milan-0001/op.json".to_owned());
        rotation
    };
    check(by_hand_out(Phase::Issued), &[]);
    check(by_hand_out(Phase::Retiring), &[PurgeNew]);
    check(kept(by_hand_out(Phase::Retiring)), &[]);
    check(after_a_vault(in_phase(Phase::Retiring)), &[]);
    check(in_phase(Phase::Removing), &[]);
    check(after_a_vault(in_phase(Phase::Removing)), &[PurgeOld]);
    check(after_a_vault(by_hand_out(Phase::Removing)), &[PurgeOld]);
    // What comes to nothing leaves no key, whether or not it was on record.
    let withdrawn = kept(by_hand_out(Phase::Withdrawing)).withdrawn(Moment(3));
    check(withdrawn.clone(), &[PurgeNew]);
    assert_eq!(withdrawn.discarded(Moment(4)).phase, Phase::RolledBack);
    for rotation in [
        by_hand_out(Phase::Requested).settle(Moment(100)),
        by_hand_out(Phase::Requested).abort().settle(Moment(1)),
    ] {
        check(rotation, &[PurgeNew]);
    }
    let done = in_phase(Phase::Withdrawing).withdrawn(Moment(3));
    assert_eq!(done.phase, Phase::RolledBack, "no key was made here");
}
