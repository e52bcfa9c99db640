//! A rotation's log: a line for what was heard, decided, done and told, so
//! that one device's rotation can be read from the logs alone. Names, ids and
//! phases only: no signing request, no certificate, no token (invariant 4).

use lamplighter_domain::names::{CertificateId, OperationId, ThingName};
use lamplighter_domain::rotation::{Effect, Phase, Rotation, Word};
use tracing::info;

/// What came from the device, or about it, and with which certificate.
pub(crate) fn heard(
    thing: &ThingName,
    rotation: Option<&OperationId>,
    word: &str,
    with: &CertificateId,
) {
    let rotation = rotation.map(OperationId::as_str);
    let (thing, with) = (thing.as_str(), with.as_str());
    info!(thing, rotation, word, with, "heard");
}

/// What the row says from now on, if that is another phase than before.
pub(crate) fn decided(before: Option<&Rotation>, after: &Rotation) {
    let from = before.map(|row| row.phase);
    if from == Some(after.phase) {
        return;
    }
    let (thing, rotation) = (after.thing_name.as_str(), after.rotation_id.as_str());
    let (from, to) = (from.map(Phase::name), after.phase.name());
    let (old, new) = (
        after.old.as_str(),
        after.new_id().map(CertificateId::as_str),
    );
    info!(thing, rotation, from, to, old, new, "decided");
}

/// A call to AWS that a work consists of has succeeded. What is published has
/// a line of its own.
pub(crate) fn did(rotation: &Rotation, effect: Effect) {
    if !matches!(effect, Effect::Publish(_)) {
        let (thing, rotation) = (rotation.thing_name.as_str(), rotation.rotation_id.as_str());
        info!(thing, rotation, ?effect, "did");
    }
}

/// What was published to the device.
pub(crate) fn told(thing: &ThingName, rotation: Option<&str>, word: Word) {
    let (thing, word) = (thing.as_str(), word.name());
    info!(thing, rotation, word, "told");
}
