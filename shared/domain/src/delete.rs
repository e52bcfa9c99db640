//! Deletion.

use serde::{Deserialize, Serialize};

/// What a deletion has found and counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteProgress {}

/// One line of the proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProofLine {}
