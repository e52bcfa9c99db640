//! A rotation that a token has authorised instead of the old certificate: the
//! device slept past that one's end, or has lost its key.

use super::{Phase, Reason, Rotation};
use crate::csr::{Csr, PublicKeyId};
use crate::names::{CertificateId, OperationId};
use crate::time::Moment;

/// What an enrolment makes of the rotation that is open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The rotation goes on, with the enrolment's key.
    Through(Box<Rotation>),
    /// It takes no more keys and ends first, and soon: the certificate that is
    /// out of force is kept no longer, and a key that was made to be handed out
    /// is not waited for.
    After(Box<Rotation>),
}

/// How far the certificate of an enrolment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing<'a> {
    /// It is in force.
    Issued(&'a CertificateId),
    /// It is being made.
    Making,
    /// It was withdrawn, or another key has taken its place.
    Over,
}

impl Rotation {
    /// A rotation that begins with the signing request that a token vouches
    /// for. What `earlier`, cut off by a case, holds of keys for which nothing
    /// was made is this rotation's to free.
    #[must_use]
    pub fn enrolling(mut self, csr: Csr, earlier: Option<&Self>) -> Self {
        if let Some(fenced) = earlier.filter(|earlier| earlier.phase == Phase::Fenced) {
            let made = fenced.new.as_ref().map(|new| new.csr.public_key());
            let left = fenced.keys().into_iter();
            let left = left.filter(|key| Some(key) != made && key != csr.public_key());
            self.superseded = left.collect();
        }
        self.wants(csr)
    }

    fn wants(mut self, csr: Csr) -> Self {
        self.wish = Some(csr);
        self.reason = Reason::Enrolment;
        self
    }

    /// What a token's signing request leads to while this rotation is open.
    /// The device says that it has no other key any more, so the new
    /// certificate goes even if it was last seen connected with it; the old one,
    /// which is the proved one, is not touched.
    pub fn enrol(&self, csr: &Csr, now: Moment) -> Entry {
        let mut next = self.clone();
        if self.by_hand_out() && self.proven_at.is_none() {
            (next.aborted, next.in_use) = (true, false);
            return Entry::After(Box::new(next));
        }
        let takes_keys = matches!(
            self.phase,
            Phase::Requested | Phase::Issuing | Phase::Issued | Phase::Superseding
        );
        if !takes_keys || self.proven_at.is_some() {
            next.windows.grace_millis = 0;
            next.remove_at = self.remove_at.map(|at| at.min(now));
            return Entry::After(Box::new(next));
        }
        if let Some(wish) = &self.wish
            && wish.public_key() != csr.public_key()
        {
            next.superseded.push(wish.public_key().clone());
        }
        next.superseded.retain(|key| key != csr.public_key());
        next.aborted = false;
        Entry::Through(Box::new(next.wants(csr.clone())))
    }

    /// How far the certificate is that was enrolled for in a rotation, with a
    /// key.
    pub fn standing(&self, rotation: &OperationId, key: &PublicKeyId) -> Standing<'_> {
        let new = self.new.as_ref().filter(|new| new.csr.public_key() == key);
        let issued = new.and_then(|new| new.mint.certificate_id.as_ref());
        let wanted = self.wish.as_ref().map(Csr::public_key) == Some(key);
        let takes_none = matches!(
            self.phase,
            Phase::Withdrawing | Phase::RolledBack | Phase::Fenced
        );
        let in_force = !matches!(
            self.phase,
            Phase::Requested | Phase::Issuing | Phase::Superseding
        );
        match issued.filter(|_| in_force) {
            _ if self.rotation_id != *rotation || !wanted || takes_none => Standing::Over,
            Some(id) => Standing::Issued(id),
            None => Standing::Making,
        }
    }
}
