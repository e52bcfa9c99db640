//! Operations: one create, delete or renewal each, idempotent by its id.

use serde::{Deserialize, Serialize};

use crate::create::CreatePlan;
use crate::delete::{DeleteProgress, ProofLine};
use crate::failure::Failure;
use crate::names::{CertificateId, OperationId, ThingName};
use crate::time::Moment;
use crate::update::UpdatePlan;

/// What kind of work an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OperationKind {
    /// A creation.
    Create,
    /// A deletion.
    Delete,
    /// A renewal: one rotation of a device's certificate.
    Renew,
    /// A change of attributes, groups, billing group or thing type.
    Update,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum OperationStatus {
    /// Under way.
    Running,
    /// Refused; what it did is being undone.
    Undoing,
    /// Done, as asked.
    Done,
    /// Refused, and nothing of it remains.
    Compensated,
    /// Not done, and given up; what remains is in the proof or the failure.
    Failed,
    /// An undo failed; a person is needed.
    Stuck,
}

/// `OP#id / OPERATION`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Operation {
    /// Its id.
    pub operation_id: OperationId,
    /// What kind of work.
    pub kind: OperationKind,
    /// The device.
    pub thing_name: ThingName,
    /// Where it stands.
    pub status: OperationStatus,
    /// When it was claimed.
    pub started_at: Moment,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// Until when the invocation that works on it may be alive.
    pub lease_until: Moment,
    /// Counts the invocations that took it up; the newest alone may commit.
    pub attempt: u64,
    /// A creation's whole plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<CreatePlan>,
    /// An update's whole plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdatePlan>,
    /// How far a creation's minting has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mint: Option<crate::create::Mint>,
    /// The certificate that a renewal has given the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<CertificateId>,
    /// What a deletion has found and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<DeleteProgress>,
    /// A deletion's proof: the last reads after the last effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proof: Vec<ProofLine>,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// When the row may go, in seconds since 1970 (the table's time to live).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl Operation {
    /// An operation that begins now. No invocation holds it yet.
    pub fn begun(
        operation_id: OperationId,
        kind: OperationKind,
        thing_name: ThingName,
        now: Moment,
    ) -> Self {
        Self {
            operation_id,
            kind,
            thing_name,
            status: OperationStatus::Running,
            started_at: now,
            ended_at: None,
            lease_until: Moment(0),
            attempt: 0,
            plan: None,
            update: None,
            mint: None,
            certificate_id: None,
            deletion: None,
            proof: Vec::new(),
            failure: None,
            expires_at: Some(now.plus_millis(KEPT_MILLIS).epoch_seconds()),
        }
    }
}

/// For how long an ended operation can be looked up.
pub const KEPT_MILLIS: u64 = 90 * 24 * 60 * 60 * 1000;
