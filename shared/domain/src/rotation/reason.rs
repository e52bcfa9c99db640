//! Why rotations are started.

use serde::{Deserialize, Serialize};

/// Why a rotation was started; the device is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Reason {
    /// The certificate is due, or somebody wants it renewed.
    #[default]
    Due,
    /// Somebody else may hold its key.
    Suspected,
    /// The device slept past its certificate's end or lost its key, and came
    /// with a token.
    Enrolment,
}

impl Reason {
    /// The reason as the `renew` message spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Due => "DUE",
            Self::Suspected => "SUSPECTED",
            Self::Enrolment => "ENROLMENT",
        }
    }
}
