//! The phases of a rotation.

use serde::{Deserialize, Serialize};

/// How far a rotation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// The device is asked for a signing request.
    Requested,
    /// A certificate is being made.
    Issuing,
    /// The new certificate is in force beside the old; its proof is awaited.
    Issued,
    /// The device came with another key; the unproved certificate goes.
    Superseding,
    /// Proved; the old certificate is being put out of force.
    Retiring,
    /// The old certificate is out of force, and kept for a while.
    Retired,
    /// The old certificate is being removed.
    Removing,
    /// Not proved; the new certificate is being withdrawn.
    Withdrawing,
    /// The device has its new certificate and no other.
    Done,
    /// The device has its old certificate and no other.
    RolledBack,
    /// A deletion, or a case of compromise, has taken the device over.
    Fenced,
}

impl Phase {
    /// Whether nothing more will happen.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Done | Self::RolledBack | Self::Fenced)
    }

    /// The phase as the API spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requested => "REQUESTED",
            Self::Issuing => "ISSUING",
            Self::Issued => "ISSUED",
            Self::Superseding => "SUPERSEDING",
            Self::Retiring => "RETIRING",
            Self::Retired => "RETIRED",
            Self::Removing => "REMOVING",
            Self::Withdrawing => "WITHDRAWING",
            Self::Done => "DONE",
            Self::RolledBack => "ROLLED_BACK",
            Self::Fenced => "FENCED",
        }
    }
}
