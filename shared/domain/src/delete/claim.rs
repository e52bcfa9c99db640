//! Who may delete, and when a deletion is given up.

use super::{DeleteProgress, ProofLine};
use crate::device::{DeviceRecord, DeviceStatus, Tombstone};
use crate::failure::{Failure, Kind};
use crate::names::OperationId;
use crate::operation::{Operation, OperationKind, OperationStatus};
use crate::time::Moment;

/// What a request to delete amounts to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// The registry knows no such device. The operation that deleted it, if
    /// one did.
    Absent(Option<OperationId>),
    /// A deletion is under way already: the same operation again.
    Resume(OperationId),
    /// A new deletion.
    Begin {
        /// The creation or update that is to be stopped for it; its lease is over.
        fence: Option<OperationId>,
        /// What an earlier deletion that was given up still knew.
        inherited: DeleteProgress,
    },
}

/// Decides by the device's record and the operation that the record names.
pub fn claim(
    record: Option<&DeviceRecord>,
    tombstone: Option<&Tombstone>,
    operation: Option<&Operation>,
    now: Moment,
) -> Result<Claim, Failure> {
    let Some(record) = record else {
        return Ok(Claim::Absent(
            tombstone.map(|tombstone| tombstone.operation_id.clone()),
        ));
    };
    let running = operation.filter(|operation| {
        matches!(
            operation.status,
            OperationStatus::Running | OperationStatus::Undoing
        )
    });
    let begin = |fence, inherited| Ok(Claim::Begin { fence, inherited });
    match (record.status, running) {
        // Its last calls may still be under way, and hit what comes after.
        (DeviceStatus::Active, Some(update)) if update.kind == OperationKind::Update => {
            if now < update.lease_until {
                let seconds = now.until(update.lease_until).div_ceil(1000);
                let busy = Failure::busy("the device is being updated at this moment", seconds);
                return Err(busy.field("thingName"));
            }
            begin(Some(update.operation_id.clone()), DeleteProgress::default())
        }
        (DeviceStatus::Active | DeviceStatus::Stuck, _) | (DeviceStatus::Creating, None) => {
            begin(None, DeleteProgress::default())
        }
        (DeviceStatus::Creating, Some(creation)) if now < creation.lease_until => {
            let seconds = now.until(creation.lease_until).div_ceil(1000);
            Err(
                Failure::busy("the device is being created at this moment", seconds)
                    .field("thingName"),
            )
        }
        (DeviceStatus::Creating, Some(creation)) => begin(
            Some(creation.operation_id.clone()),
            DeleteProgress::default(),
        ),
        (DeviceStatus::Deleting, Some(deletion)) => {
            Ok(Claim::Resume(deletion.operation_id.clone()))
        }
        (DeviceStatus::Deleting, None) => {
            let earlier = operation.and_then(|operation| operation.deletion.clone());
            begin(
                None,
                DeleteProgress {
                    hindrance: None,
                    ..earlier.unwrap_or_default()
                },
            )
        }
    }
}

/// Why a deletion is given up, in words; `named` is the workflow's `errorType`.
pub fn given_up(named: &str, progress: &DeleteProgress, proof: &[ProofLine]) -> Failure {
    let left: Vec<_> = proof
        .iter()
        .filter(|line| !line.clear)
        .map(|line| line.subject.as_str())
        .collect();
    let reason = if left.is_empty() {
        "the deletion did not come to its end".to_owned()
    } else {
        format!("this is still there: {}", left.join(", "))
    };
    let operator = progress.hindrance.as_ref().map_or_else(
        || format!("the workflow gave up with {named}"),
        |hindrance| {
            format!(
                "the workflow gave up with {named}; last refusal: {}",
                hindrance.operator
            )
        },
    );
    Failure::new(
        kind(named),
        reason,
        "See the proof for what is left, remove what holds it, and delete the device again.",
    )
    .operator(operator)
}

/// The workflow names our kinds and its own (`States.Timeout`); a deletion that
/// ends by one of those needs a person.
fn kind(named: &str) -> Kind {
    [
        Kind::Invalid,
        Kind::NotFound,
        Kind::Conflict,
        Kind::Denied,
        Kind::Busy,
        Kind::Unknown,
        Kind::Bug,
    ]
    .into_iter()
    .find(|kind| kind.name() == named)
    .unwrap_or(Kind::Stuck)
}
