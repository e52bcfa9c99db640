//! What is done for a rotation, piece by piece.

use serde::{Deserialize, Serialize};

use super::{New, Word};
use crate::csr::Csr;

/// One piece of work, done under the lease. Each is *ensured*: done twice is
/// done once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// Tell the device the phase's word.
    Tell(Word),
    /// Have a job tell the device the word to renew.
    Post,
    /// Take that job back.
    Recall,
    /// Make a key here and put it in custody.
    MakeKey,
    /// Decide what will be made from this request; nothing exists yet.
    Prepare(Csr),
    /// Make the certificate and attach it.
    Issue(New),
    /// Detach the new certificate, put it out of force, remove it.
    Withdraw(New),
    /// Purge the key that was made here, if one was.
    Discard,
    /// Detach the old certificate and put it out of force.
    Retire(KeyMadeHere),
    /// Remove the old certificate.
    Remove(KeyMadeHere),
}

/// What becomes of a key that was made here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyMadeHere {
    /// There is none, or it stays.
    Left,
    /// It is purged.
    #[default]
    Purged,
}

/// One call to AWS, or one message. A work's effects are carried out in this
/// order, and each may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Publish a word to the device.
    Publish(Word),
    /// Make the job that carries the word to renew.
    CreateJob,
    /// Cancel that job, also where the device is at it.
    CancelJob,
    /// Remove it.
    DeleteJob,
    /// Make a key, seal it and store it, unless one is stored.
    StoreKey,
    /// Sign, or note the intent; outside nothing changes.
    Prepare,
    /// Make the new certificate, in force.
    Mint,
    /// Attach the new certificate to the thing.
    AttachNew,
    /// Detach the new certificate.
    DetachNew,
    /// Put the new certificate out of force.
    DeactivateNew,
    /// Remove the new certificate.
    DeleteNew,
    /// Purge every version of the new certificate's key.
    PurgeNew,
    /// Detach the old certificate.
    DetachOld,
    /// Put the old certificate out of force.
    DeactivateOld,
    /// Remove the old certificate.
    DeleteOld,
    /// Purge every version of the old certificate's key.
    PurgeOld,
}

impl Work {
    /// What the work consists of.
    pub fn effects(&self) -> &'static [Effect] {
        use Effect::{
            AttachNew, CancelJob, CreateJob, DeactivateNew, DeactivateOld, DeleteJob, DeleteNew,
            DeleteOld, DetachNew, DetachOld, Mint, Prepare, Publish, PurgeNew, PurgeOld, StoreKey,
        };
        use KeyMadeHere::{Left, Purged};
        match self {
            Self::Tell(Word::Renew) => &[Publish(Word::Renew)],
            Self::Tell(Word::Accepted) => &[Publish(Word::Accepted)],
            Self::Tell(Word::Rejected) => &[Publish(Word::Rejected)],
            Self::Tell(Word::Retired) => &[Publish(Word::Retired)],
            Self::Post => &[CreateJob],
            Self::Recall => &[CancelJob, DeleteJob],
            Self::MakeKey => &[StoreKey],
            Self::Prepare(_) => &[Prepare],
            Self::Issue(_) => &[Mint, AttachNew],
            Self::Withdraw(_) => &[DetachNew, DeactivateNew, DeleteNew],
            Self::Discard => &[PurgeNew],
            Self::Retire(Left) => &[DetachOld, DeactivateOld],
            Self::Retire(Purged) => &[DetachOld, DeactivateOld, PurgeNew],
            Self::Remove(Left) => &[DeleteOld],
            Self::Remove(Purged) => &[DeleteOld, PurgeOld],
        }
    }
}
