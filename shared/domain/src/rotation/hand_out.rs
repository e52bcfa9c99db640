//! A rotation whose key is made here, for a device that can make no signing
//! request: its operator is handed the pair out, and the device proves it as
//! any other.
//!
//! The key's request stands in the row as if the device had sent it, and all
//! that follows is the same. What is different is that a key object is to be
//! purged: with the certificate that comes to nothing, or once the device has
//! proved that it has the key itself.

use super::{KeyMadeHere, Phase, Rotation};
use crate::csr::Csr;
use crate::custody;
use crate::device::Custody;
use crate::failure::Failure;
use crate::time::Moment;

impl Rotation {
    /// Whether the new certificate's key is made here.
    pub fn by_hand_out(&self) -> bool {
        self.custody == Custody::Vault
    }

    /// Makes it a rotation by hand-out, from now on. One that is so already
    /// stays as it is.
    ///
    /// # Errors
    /// `Conflict` once the device has sent a request of its own, or when the
    /// rotation is being ended.
    pub fn hand_out(mut self, now: Moment) -> Result<Self, Failure> {
        if self.by_hand_out() && !self.phase.ended() {
            return Ok(self);
        }
        if self.phase != Phase::Requested || self.wish.is_some() || self.aborted {
            return Err(Failure::conflict(
                "custody",
                format!(
                    "the rotation {} goes by a signing request of the device's own",
                    self.rotation_id
                ),
                "Wait until it has ended, and ask again if the device still needs a key.",
            ));
        }
        self.custody = Custody::Vault;
        self.deadline = now.plus_millis(self.windows.request_millis);
        Ok(self)
    }

    /// A key is in custody; its request is what is certified.
    #[must_use]
    pub fn key_made(mut self, csr: Csr) -> Self {
        self.wish = Some(csr);
        self
    }

    /// The key that was made here is gone, and with it the rotation.
    #[must_use]
    pub fn discarded(mut self, now: Moment) -> Self {
        self.end(Phase::RolledBack, now);
        self
    }

    /// Where the key that is made here lies, as long as it does.
    pub fn new_key(&self) -> Option<String> {
        self.by_hand_out()
            .then(|| custody::object(&self.thing_name, &self.rotation_id))
    }

    /// What becomes of the new certificate's key with the proof.
    pub(super) fn new_key_when_proved(&self) -> KeyMadeHere {
        if self.by_hand_out() {
            self.proved_key
        } else {
            KeyMadeHere::Left
        }
    }

    /// What becomes of the old certificate's key with that certificate.
    pub(super) fn old_key_when_removed(&self) -> KeyMadeHere {
        match self.old_key {
            Some(_) => KeyMadeHere::Purged,
            None => KeyMadeHere::Left,
        }
    }
}
