//! Deletion, as a reconciler: what is seen in, what is to be done out.
//!
//! Nothing is remembered as done. Every round looks at everything again, and
//! the look that finds nothing left is the proof (invariant 3). What the
//! registry must remember between looks is only what AWS can no longer tell:
//! which certificates belonged to the device once they are detached.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::csr::PublicKeyId;
use crate::device::{CertificateRecord, DeviceRecord, Tombstone};
use crate::failure::Failure;
use crate::names::{CertificateId, GroupName, OperationId, ThingName};
use crate::rotation::Rotation;
use crate::time::Moment;

mod claim;
mod proof;
#[cfg(test)]
mod tests;

pub use claim::{Claim, claim, given_up};
pub(crate) use proof::line;
pub use proof::{ProofLine, is_clear, proof};

/// What a deletion must still know when AWS no longer tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteProgress {
    /// Every certificate that was ever seen to be the device's. It stands here
    /// before the first detachment.
    #[serde(default)]
    pub certificates: BTreeMap<CertificateId, KnownCertificate>,
    /// Whether the device's MQTT session has been dropped. AWS lists sessions
    /// to nobody, so this is the one effect that no look can confirm.
    #[serde(default)]
    pub session_dropped: bool,
    /// Every dynamic group that the device was ever seen to be in. It stands
    /// here before the device is taken out of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub dynamic_groups: BTreeSet<GroupName>,
    /// The last refusal by AWS, for the operator should it never settle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hindrance: Option<Failure>,
}

/// A certificate as the deletion remembers it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KnownCertificate {
    /// When it ends, if that was ever seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
    /// Whether another thing was ever seen to use it. Once shared, it is left
    /// alone for good: whose it is, is not this device's to decide.
    #[serde(default)]
    pub shared: bool,
}

/// Everything linked to one device, as one look found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The device.
    pub thing_name: ThingName,
    /// The thing, if it exists.
    pub thing: Option<ThingSeen>,
    /// The principals attached to the thing, as AWS names them.
    pub principals: BTreeSet<String>,
    /// Every certificate that is or was the device's.
    pub certificates: BTreeMap<CertificateId, CertificateSeen>,
    /// The thing groups it is in.
    pub groups: BTreeSet<String>,
    /// Whether the registry has a document of it for dynamic groups.
    pub evaluated: bool,
    /// The dynamic groups that it is in by that.
    pub dynamic_groups: BTreeSet<GroupName>,
    /// The dynamic groups that have it among their members. They follow, from
    /// the registry's stream.
    pub member_of: BTreeSet<GroupName>,
    /// Whether it has a classic (unnamed) shadow.
    pub classic_shadow: bool,
    /// Its named shadows.
    pub named_shadows: BTreeSet<String>,
    /// The topics looked at for a retained message, and whether one was there.
    pub retained: BTreeMap<String, bool>,
    /// The jobs with an execution for it that is queued or in progress.
    pub executions: BTreeSet<String>,
    /// The open tunnels to it.
    pub tunnels: BTreeSet<String>,
    /// Whether a client with its name is connected.
    pub connected: bool,
    /// The versions of its key objects, delete markers included.
    pub versions: BTreeSet<ObjectVersion>,
    /// The same in the replica bucket, if there is one.
    pub replica: Option<BTreeSet<ObjectVersion>>,
}

/// The thing itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ThingSeen {
    /// The billing group it is in. AWS takes a thing out of it by deleting it.
    pub billing_group: Option<String>,
}

/// One certificate, as one look found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSeen {
    /// Its state, or nothing when it does not exist any more.
    pub state: Option<CertificateState>,
    /// The things it is attached to.
    pub things: BTreeSet<String>,
    /// Its ARN; empty when it does not exist.
    pub arn: String,
    /// When it ends, if known.
    pub not_after: Option<Moment>,
}

/// A certificate's state, as far as deletion tells states apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateState {
    /// A device can connect with it, or soon can.
    InForce,
    /// Nobody can connect with it.
    Inactive,
    /// Revoked: evidence of an open case, and kept.
    Revoked,
}

/// One version of an object, or one delete marker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectVersion {
    /// The object's key.
    pub key: String,
    /// The version.
    pub version_id: String,
}

/// Which of the two buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// The custody bucket.
    Custody,
    /// Its replica in another region. S3 does not replicate the deletion of a
    /// version, so it is purged by itself.
    Replica,
}

/// One call that removes something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Sets a certificate INACTIVE.
    Inactivate(CertificateId),
    /// Closes the connection and drops the session behind it.
    CloseConnection,
    /// Closes a tunnel.
    CloseTunnel(String),
    /// Cancels the execution of a job for this thing.
    CancelExecution(String),
    /// Deletes the classic shadow.
    DeleteClassicShadow,
    /// Deletes a named shadow.
    DeleteNamedShadow(String),
    /// Clears the retained message of a topic.
    ClearRetained(String),
    /// Detaches a principal, given as AWS names it.
    Detach(String),
    /// Deletes a certificate.
    DeleteCertificate(CertificateId),
    /// Leaves a thing group.
    LeaveGroup(String),
    /// Removes the document and the membership of dynamic groups.
    LeaveDynamicGroups,
    /// Deletes the thing.
    DeleteThing,
    /// Deletes versions of key objects, at most [`MOST_VERSIONS_A_CALL`].
    Purge(Store, Vec<ObjectVersion>),
}

/// Effects that do not depend on each other.
pub type Stage = Vec<Effect>;

/// `DeleteObjects` takes at most this many versions.
pub const MOST_VERSIONS_A_CALL: usize = 1000;

impl Observation {
    fn principal_of(&self, id: &CertificateId) -> Option<&String> {
        self.principals
            .iter()
            .find(|principal| certificate_of(principal).as_ref() == Some(id))
    }
}

impl CertificateSeen {
    /// The things other than this one that it is attached to.
    pub fn others<'a>(&'a self, thing: &'a ThingName) -> impl Iterator<Item = &'a String> {
        self.things
            .iter()
            .filter(move |name| *name != thing.as_str())
    }

    fn attached_to(&self, thing: &ThingName) -> bool {
        self.things.contains(thing.as_str())
    }
}

impl DeleteProgress {
    /// Adds what a look has found.
    pub fn remember(&mut self, seen: &Observation) {
        for (id, certificate) in &seen.certificates {
            let known = self.certificates.entry(id.clone()).or_default();
            known.not_after = known.not_after.max(certificate.not_after);
            known.shared |= certificate.others(&seen.thing_name).next().is_some();
        }
        self.dynamic_groups
            .extend(seen.dynamic_groups.iter().cloned());
    }

    fn shared(&self, id: &CertificateId) -> bool {
        self.certificates.get(id).is_some_and(|known| known.shared)
    }
}

/// The certificate that a principal's ARN names; other principals name none.
pub fn certificate_of(principal: &str) -> Option<CertificateId> {
    let (_, id) = principal.rsplit_once(":cert/")?;
    CertificateId::parse(id).ok()
}

/// The device's own topics among the declared ones. A topic without the
/// device's name in it is shared with others, and left alone.
pub fn retained_topics<'a>(
    thing: &ThingName,
    declared: impl IntoIterator<Item = &'a String>,
) -> BTreeSet<String> {
    declared
        .into_iter()
        .filter(|topic| topic.contains("{thingName}"))
        .map(|topic| topic.replace("{thingName}", thing.as_str()))
        .collect()
}

/// What is to be done about what was found, in this order: nobody can connect
/// any more before anything is taken away, and what others depend on goes last.
/// Empty when nothing is left to do.
pub fn effects(seen: &Observation, progress: &DeleteProgress) -> Vec<Stage> {
    let ours = || {
        seen.certificates
            .iter()
            .filter(|(id, _)| !progress.shared(id))
    };
    let deletable = [
        Some(CertificateState::InForce),
        Some(CertificateState::Inactive),
    ];
    let stages = [
        ours()
            .filter(|(_, certificate)| certificate.state == Some(CertificateState::InForce))
            .map(|(id, _)| Effect::Inactivate(id.clone()))
            .collect(),
        (seen.connected || !progress.session_dropped)
            .then_some(Effect::CloseConnection)
            .into_iter()
            .collect(),
        each(&seen.tunnels, Effect::CloseTunnel)
            .chain(each(&seen.executions, Effect::CancelExecution))
            .collect(),
        seen.classic_shadow
            .then_some(Effect::DeleteClassicShadow)
            .into_iter()
            .chain(each(&seen.named_shadows, Effect::DeleteNamedShadow))
            .chain(each(
                seen.retained
                    .iter()
                    .filter(|(_, there)| **there)
                    .map(|(topic, _)| topic),
                Effect::ClearRetained,
            ))
            .collect(),
        attachments(seen).into_iter().map(Effect::Detach).collect(),
        ours()
            .filter(|(_, certificate)| deletable.contains(&certificate.state))
            .map(|(id, _)| Effect::DeleteCertificate(id.clone()))
            .chain(each(&seen.groups, Effect::LeaveGroup))
            .chain(seen.evaluated.then_some(Effect::LeaveDynamicGroups))
            .collect(),
        // Executions can be looked up only through the thing, so a survivor
        // among them would vanish from every look once the thing is gone.
        (seen.thing.is_some() && seen.executions.is_empty())
            .then_some(Effect::DeleteThing)
            .into_iter()
            .collect(),
        purges(&seen.versions, seen.replica.as_ref())
            .into_iter()
            .map(|(store, versions)| Effect::Purge(store, versions))
            .collect(),
    ];
    stages
        .into_iter()
        .filter(|stage: &Stage| !stage.is_empty())
        .collect()
}

fn each<'a>(
    names: impl IntoIterator<Item = &'a String>,
    effect: fn(String) -> Effect,
) -> impl Iterator<Item = Effect> {
    names.into_iter().cloned().map(effect)
}

/// The attachments, seen from either side: while AWS settles, the thing's list
/// and the certificate's may differ.
fn attachments(seen: &Observation) -> BTreeSet<String> {
    let by_certificate = seen
        .certificates
        .values()
        .filter(|certificate| certificate.attached_to(&seen.thing_name))
        .map(|certificate| certificate.arn.clone());
    seen.principals
        .iter()
        .cloned()
        .chain(by_certificate)
        .collect()
}

/// The versions of key objects in both stores, as many at once as a call takes.
pub(crate) fn purges(
    custody: &BTreeSet<ObjectVersion>,
    replica: Option<&BTreeSet<ObjectVersion>>,
) -> Vec<(Store, Vec<ObjectVersion>)> {
    let mut calls = Vec::new();
    let stores = [(Store::Custody, Some(custody)), (Store::Replica, replica)];
    for (store, versions) in stores {
        let versions: Vec<_> = versions.into_iter().flatten().cloned().collect();
        let some = versions.chunks(MOST_VERSIONS_A_CALL);
        calls.extend(some.map(|some| (store, some.to_vec())));
    }
    calls
}

/// The public keys that are the device's, by its rows. The key that it was
/// created with is, as long as nothing else says which it has now: a rotation
/// may have given it up since, and somebody else may have it.
pub fn keys(
    record: Option<&DeviceRecord>,
    certificates: &[CertificateRecord],
    rotation: Option<&Rotation>,
) -> BTreeSet<PublicKeyId> {
    let unmade = record.filter(|record| record.certificate_id.is_none());
    let asked = unmade.and_then(|record| record.request.csr.as_ref());
    certificates
        .iter()
        .map(|certificate| certificate.public_key.clone())
        .chain(asked.map(|csr| csr.public_key().clone()))
        .chain(rotation.into_iter().flat_map(Rotation::keys))
        .collect()
}

/// For how long at least a tombstone is kept, so that a repeated deletion is
/// told which operation did it.
const TOMBSTONE_AT_LEAST_MILLIS: u64 = crate::operation::KEPT_MILLIS;

/// What remains of the device. An earlier generation's certificates stay
/// refused as well.
pub fn tombstone(
    thing: &ThingName,
    operation: &OperationId,
    progress: &DeleteProgress,
    earlier: Option<&Tombstone>,
    now: Moment,
) -> Tombstone {
    let ids: BTreeSet<_> = progress
        .certificates
        .keys()
        .chain(
            earlier
                .into_iter()
                .flat_map(|tombstone| &tombstone.certificate_ids),
        )
        .cloned()
        .collect();
    let last = progress
        .certificates
        .values()
        .filter_map(|known| known.not_after)
        .fold(now.plus_millis(TOMBSTONE_AT_LEAST_MILLIS), Moment::max);
    Tombstone {
        thing_name: thing.clone(),
        certificate_ids: ids.into_iter().collect(),
        operation_id: operation.clone(),
        deleted_at: now,
        expires_at: last
            .epoch_seconds()
            .max(earlier.map_or(0, |tombstone| tombstone.expires_at)),
    }
}
