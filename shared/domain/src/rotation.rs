//! Rotation: a device's certificate replaced by a new one, with proof.
//!
//! Both certificates are in force until the device has proved the new one, by
//! a message that it sends after it has durably promoted it, with the new
//! certificate as the message's principal. Only then the old one goes. Without
//! proof the new one is withdrawn and the old one stays (invariant 2).
//!
//! The whole rotation is one row, changed by compare-and-swap on its version.
//! What [`receive`](Rotation::receive) accepts from a device and what
//! [`settle`](Rotation::settle) decides are therefore never both true: a proof
//! and a withdrawal exclude each other by the row itself.

mod asked;
pub mod enrol;
mod hand_out;
pub mod job;
mod message;
#[cfg(test)]
mod model;
mod phase;
mod reason;
#[cfg(test)]
mod tests;
mod view;
pub mod wallet;
mod work;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::create::Mint;
use crate::csr::{Csr, PublicKeyId};
use crate::device::{CertificateRecord, Custody, Issuer};
use crate::failure::Failure;
use crate::names::{CertificateId, OperationId, SweepId, ThingName};
use crate::time::Moment;

pub use asked::Asked;
pub use job::Messenger;
pub use message::{Message, RawMessage, Received, Reply, Sender, Word, topic};
pub use phase::Phase;
pub use reason::Reason;
pub use view::RotationView;
pub use work::{Effect, KeyMadeHere, Work};

/// How often a device may come with another key in one rotation. More is a
/// device that keeps nothing, and costs a certificate each time.
const MOST_KEYS: usize = 5;

/// How long a rotation's parts may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Windows {
    /// For the device to send its signing request.
    pub request_millis: u64,
    /// For the device to prove the new certificate.
    pub proof_millis: u64,
    /// From the old certificate's retirement to its removal.
    pub grace_millis: u64,
}

/// How a certificate was when a rotation began that is to replace it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OldState {
    /// It could be used, or was at least not taken away for good.
    #[default]
    InForce,
    /// A case of compromise had revoked it: it is detached, and neither put
    /// into another state nor removed.
    Revoked,
}

/// The certificate that is to be the device's next.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct New {
    /// The signing request it is made from.
    pub csr: Csr,
    /// How far its making has come.
    pub mint: Mint,
}

/// `DEVICE#name / ROTATION`: the rotation under way, or the last one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// Its id; an operation's.
    pub rotation_id: OperationId,
    /// The device.
    pub thing_name: ThingName,
    /// How far it has come.
    pub phase: Phase,
    /// The certificate that the device has last proved.
    pub old: CertificateId,
    /// How that certificate was when the rotation began.
    #[serde(default)]
    pub old_state: OldState,
    /// How many rotations have tried to replace that certificate before.
    #[serde(default)]
    pub tries: u32,
    /// The sweep that it counts for, if one started it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep_id: Option<SweepId>,
    /// What issues the new one.
    pub issuer: Issuer,
    /// Who makes its key: the device, which sends a signing request, or we, to
    /// hand it out.
    #[serde(default)]
    pub custody: Custody,
    /// What becomes of a key made here once the device has proved it.
    #[serde(default)]
    pub proved_key: KeyMadeHere,
    /// The old certificate's key object, where its key is in custody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_key: Option<String>,
    /// Why it was started.
    #[serde(default)]
    pub reason: Reason,
    /// What carries the word to renew; a job as long as that may be there.
    #[serde(default)]
    pub messenger: Messenger,
    /// How long its parts may take.
    pub windows: Windows,
    /// When it began.
    pub started_at: Moment,
    /// Until when the device may send what is awaited.
    pub deadline: Moment,
    /// The signing request that is to be certified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wish: Option<Csr>,
    /// What is made from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<New>,
    /// Keys that the device itself has replaced in this rotation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<PublicKeyId>,
    /// Whether the phase's word has been published to the device.
    #[serde(default)]
    pub told: bool,
    /// Whether the device was last seen connected with the new certificate.
    #[serde(default)]
    pub in_use: bool,
    /// When that was, as AWS IoT's lifecycle events count.
    #[serde(default)]
    pub presence_at: Moment,
    /// When the device proved the new certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven_at: Option<Moment>,
    /// When the old certificate may be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove_at: Option<Moment>,
    /// Whether an operator or a sweep wants it ended.
    #[serde(default)]
    pub aborted: bool,
    /// Until when the invocation that works on it may be alive.
    pub lease_until: Moment,
    /// Counts the invocations that took it up.
    pub attempt: u64,
    /// Counts the row's changes.
    pub version: u64,
    /// What wakes the workflow that waits for the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_token: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
}

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Next {
    /// Work to do now.
    Do(Work),
    /// The device's turn, until this moment.
    AwaitDevice(Moment),
    /// Nothing, until this moment.
    Sleep(Moment),
    /// It has ended.
    Ended,
}

/// How long a certificate whose rotation came to nothing is left in peace.
const REST_MILLIS: u64 = 24 * 60 * 60 * 1000;

impl Rotation {
    /// The id of the rotation that a due certificate is to have now: whoever
    /// starts it, and however often, starts the same one. Nothing while one is
    /// under way, or has just come to nothing.
    pub fn due_id(
        thing_name: &ThingName,
        old: &CertificateId,
        earlier: Option<&Self>,
        now: Moment,
    ) -> Option<OperationId> {
        if let Some(earlier) = earlier.filter(|earlier| earlier.old == *old) {
            let rested = earlier.ended_at?.plus_millis(REST_MILLIS) <= now;
            rested.then_some(())?;
        }
        Some(OperationId::of_rotation(
            thing_name,
            old,
            tries(old, earlier),
        ))
    }

    /// A rotation that begins now, to replace the certificate that the device
    /// has proved last: how that one is, and where its key lies, is on record
    /// from here on. `earlier` is what stands in the device's row: one at a
    /// time.
    ///
    /// # Errors
    /// `Busy` while another rotation of the device is under way.
    pub fn start(
        rotation_id: OperationId,
        thing_name: ThingName,
        old: &CertificateRecord,
        windows: Windows,
        earlier: Option<&Self>,
        now: Moment,
    ) -> Result<Self, Failure> {
        if let Some(earlier) = earlier
            && !earlier.phase.ended()
        {
            return Err(Failure::busy(
                format!(
                    "the rotation {} of {thing_name} is under way",
                    earlier.rotation_id
                ),
                60,
            ));
        }
        Ok(Self {
            rotation_id,
            thing_name,
            phase: Phase::Requested,
            tries: tries(&old.certificate_id, earlier),
            old: old.certificate_id.clone(),
            old_state: match old.revoked_at {
                None => OldState::InForce,
                Some(_) => OldState::Revoked,
            },
            sweep_id: None,
            issuer: old.issuer,
            custody: Custody::Device,
            proved_key: KeyMadeHere::Purged,
            old_key: old.key_object.clone(),
            reason: Reason::default(),
            messenger: Messenger::Mqtt,
            windows,
            started_at: now,
            deadline: now.plus_millis(windows.request_millis),
            wish: None,
            new: None,
            superseded: Vec::new(),
            told: false,
            in_use: false,
            presence_at: Moment(0),
            proven_at: None,
            remove_at: None,
            aborted: false,
            lease_until: Moment(0),
            attempt: 0,
            version: earlier.map_or(0, |earlier| earlier.version + 1),
            task_token: None,
            ended_at: None,
        })
    }

    /// Takes the rotation up, so that nobody else works on it until the lease
    /// ends.
    ///
    /// # Errors
    /// `Busy` while another invocation may be alive.
    pub fn lease(mut self, now: Moment, until: Moment) -> Result<Self, Failure> {
        if now < self.lease_until {
            return Err(Failure::busy(
                "another invocation works on this rotation",
                1 + now.until(self.lease_until) / 1000,
            ));
        }
        self.lease_until = until;
        self.attempt += 1;
        self.task_token = None;
        Ok(self.settle(now))
    }

    /// Gives the lease back.
    #[must_use]
    pub fn release(mut self) -> Self {
        self.lease_until = Moment(0);
        self
    }

    /// Whether the device has proved a new certificate, whatever became of it
    /// after that.
    pub fn renewed(&self) -> bool {
        self.phase == Phase::Done || (self.phase == Phase::Fenced && self.proven_at.is_some())
    }

    /// The id of the new certificate, once it may exist under it.
    pub fn new_id(&self) -> Option<&CertificateId> {
        self.new.as_ref()?.mint.certificate_id.as_ref()
    }

    /// The public keys that the rotation holds for the device: none of them may
    /// come to another. What the device was left with stays held; of a rotation
    /// that came to nothing all are free again.
    pub fn keys(&self) -> BTreeSet<PublicKeyId> {
        let new = self.new.iter().map(|new| new.csr.public_key());
        match self.phase {
            Phase::RolledBack => BTreeSet::new(),
            Phase::Done => new.cloned().collect(),
            _ => new
                .chain(self.wish.iter().map(Csr::public_key))
                .chain(&self.superseded)
                .cloned()
                .collect(),
        }
    }

    /// Decides what needs no work: what the device sent, and what time has
    /// brought. The decision holds once the row is written.
    #[must_use]
    pub fn settle(mut self, now: Moment) -> Self {
        let late = now >= self.deadline;
        match self.phase {
            Phase::Requested if self.wish.is_some() && !self.aborted => self.enter(Phase::Issuing),
            // A key may be stored, or a job be there, that the row does not know of yet.
            Phase::Requested if (late || self.aborted) && (self.by_hand_out() || self.by_job()) => {
                self.enter(Phase::Withdrawing);
            }
            Phase::Requested if late || self.aborted => self.end(Phase::RolledBack, now),
            Phase::Issued if self.proven_at.is_some() => self.enter(Phase::Retiring),
            Phase::Issued if self.wants_another() => self.enter(Phase::Superseding),
            // A certificate in use is never withdrawn; it is asked for again.
            Phase::Issued if late && self.in_use => {
                self.deadline = now.plus_millis(self.windows.proof_millis);
                self.told = false;
            }
            Phase::Issued if late || (self.aborted && !self.in_use) => {
                self.enter(Phase::Withdrawing);
            }
            Phase::Retired if self.remove_at.is_some_and(|at| now >= at) => {
                self.enter(Phase::Removing);
            }
            _ => {}
        }
        self
    }

    /// What comes next, after [`settle`](Self::settle).
    pub fn next(&self) -> Next {
        let new =
            |work: fn(New) -> Work| self.new.clone().map_or(Next::Ended, |n| Next::Do(work(n)));
        match (self.phase, &self.new, &self.wish) {
            (Phase::Requested, ..) if self.by_hand_out() => Next::Do(Work::MakeKey),
            (Phase::Requested, ..) if !self.told && self.by_job() => Next::Do(Work::Post),
            (Phase::Requested, ..) if !self.told => Next::Do(Work::Tell(Word::Renew)),
            (Phase::Issued, ..) if !self.told => Next::Do(Work::Tell(Word::Accepted)),
            (Phase::Retired, ..) if !self.told => Next::Do(Work::Tell(Word::Retired)),
            (Phase::Requested | Phase::Issued, ..) => Next::AwaitDevice(self.deadline),
            (Phase::Issuing, None, Some(wish)) => Next::Do(Work::Prepare(wish.clone())),
            (Phase::Issuing, ..) => new(Work::Issue),
            (Phase::Withdrawing, None, _) | (Phase::Removing, ..) if self.by_job() => {
                Next::Do(Work::Recall)
            }
            (Phase::Withdrawing, None, _) => Next::Do(Work::Discard),
            (Phase::Superseding | Phase::Withdrawing, ..) => new(Work::Withdraw),
            (Phase::Retiring, ..) => Next::Do(Work::Retire(self.new_key_when_proved())),
            (Phase::Retired, ..) => Next::Sleep(self.remove_at.unwrap_or(self.deadline)),
            (Phase::Removing, ..) => Next::Do(Work::Remove(self.old_key_when_removed())),
            (Phase::Done | Phase::RolledBack | Phase::Fenced, ..) => Next::Ended,
        }
    }

    /// The word of the phase was published.
    #[must_use]
    pub fn told(mut self) -> Self {
        self.told = true;
        self
    }

    /// What will be made is decided; from here it may exist.
    #[must_use]
    pub fn prepared(mut self, new: New) -> Self {
        self.new = Some(new);
        self
    }

    /// The new certificate is in force beside the old.
    #[must_use]
    pub fn issued(mut self, id: CertificateId, now: Moment) -> Self {
        if let Some(new) = &mut self.new {
            new.mint.certificate_id = Some(id);
        }
        self.enter(Phase::Issued);
        self.deadline = now.plus_millis(self.windows.proof_millis);
        self
    }

    /// The old certificate is out of force; the device's is the new one.
    #[must_use]
    pub fn retired(mut self, now: Moment) -> Self {
        self.enter(Phase::Retired);
        self.remove_at = Some(now.plus_millis(self.windows.grace_millis));
        self
    }

    /// The old certificate is gone.
    #[must_use]
    pub fn removed(mut self, now: Moment) -> Self {
        self.end(Phase::Done, now);
        self
    }

    /// The new certificate is gone: for another key, or for good.
    #[must_use]
    pub fn withdrawn(mut self, now: Moment) -> Self {
        self.new = None;
        self.in_use = false;
        if self.phase == Phase::Superseding {
            self.enter(Phase::Requested);
            self.told = true;
            self.deadline = now.plus_millis(self.windows.request_millis);
        } else if !self.by_hand_out() && !self.by_job() {
            self.end(Phase::RolledBack, now);
        }
        self
    }

    /// An operator or a sweep wants it ended. A proof that has come, or a new
    /// certificate in use, still decides for the new one.
    #[must_use]
    pub fn abort(mut self) -> Self {
        self.aborted = true;
        self
    }

    /// A deletion takes the device over, and with it whatever was made.
    ///
    /// # Errors
    /// `Busy` while an invocation may be alive.
    pub fn fence(mut self, now: Moment) -> Result<Self, Failure> {
        if now < self.lease_until {
            return Err(Failure::busy(
                "the device's certificate is being renewed",
                5,
            ));
        }
        if !self.phase.ended() {
            self.end(Phase::Fenced, now);
        }
        self.version += 1;
        Ok(self)
    }

    /// Whether the certificate that was made is for another key than the
    /// device now wants.
    fn wants_another(&self) -> bool {
        match (&self.wish, &self.new) {
            (Some(wish), Some(new)) => wish.public_key() != new.csr.public_key(),
            _ => false,
        }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.told = false;
    }

    fn end(&mut self, phase: Phase, now: Moment) {
        self.enter(phase);
        self.ended_at = Some(now);
    }
}

fn tries(old: &CertificateId, earlier: Option<&Rotation>) -> u32 {
    earlier
        .filter(|earlier| earlier.old == *old)
        .map_or(0, |earlier| earlier.tries + 1)
}
