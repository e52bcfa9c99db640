//! `DELETE /devices/{thingName}`: claims the device and starts the workflow.

use lamplighter_domain::delete::{self as plan, Claim};
use lamplighter_domain::names::{OperationId, ThingName};
use lamplighter_domain::operation::Operation;
use lamplighter_domain::{Failure, Kind};

use super::{Deletion, registry};
use crate::{clock, rotations, workflows};

/// What a request to delete came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The registry knows no such device; the operation that deleted it, if one did.
    Absent(Option<OperationId>),
    /// The operation that deletes it.
    Accepted(OperationId),
}

/// How often the claim is tried while other requests change the device.
const ATTEMPTS: u32 = 4;

impl Deletion {
    /// Claims a device for deletion. Repeated, it is the same operation.
    pub async fn claim(&self, name: &ThingName) -> Result<Claimed, Failure> {
        for _ in 0..ATTEMPTS {
            let rows = self.rows(name).await?;
            let working = match &rows.record {
                Some(record) => self.operation(&record.operation_id).await?,
                None => None,
            };
            let now = clock::now();
            let record = rows.record.as_ref();
            let claim = plan::claim(record, rows.tombstone.as_ref(), working.as_ref(), now)?;
            match (claim, record) {
                (Claim::Absent(operation), _) => return Ok(Claimed::Absent(operation)),
                (Claim::Resume(id), _) => {
                    if let Some(row) = &rows.rotation {
                        rotations::let_go(&self.sfn, row).await?;
                    }
                    self.start(&id, name, working.as_ref()).await?;
                    return Ok(Claimed::Accepted(id));
                }
                (Claim::Begin { fence, inherited }, Some(record)) => {
                    let operation = registry::begun(clock::operation_id(), name, inherited, now);
                    let open = rows.rotation.as_ref().filter(|row| !row.phase.ended());
                    let rotation = match open {
                        Some(row) => Some((row, row.clone().fence(now)?)),
                        None => None,
                    };
                    let fence = fence.as_ref();
                    let fenced = rotation.as_ref().map(|(_, fenced)| fenced.clone());
                    if self.begin(record, &operation, fence, rotation).await? {
                        if let Some(fenced) = &fenced {
                            rotations::let_go(&self.sfn, fenced).await?;
                        }
                        let id = operation.operation_id;
                        self.start(&id, name, None).await?;
                        return Ok(Claimed::Accepted(id));
                    }
                }
                (Claim::Begin { .. }, None) => {
                    return Err(Failure::bug("a claim without a record"));
                }
            }
        }
        Err(
            Failure::busy("other requests are changing the device at this moment", 1)
                .field("thingName"),
        )
    }

    /// Sees to it that the workflow runs. An execution's name is used once: when
    /// the first has ended without an end of the operation, another is started.
    async fn start(
        &self,
        id: &OperationId,
        name: &ThingName,
        operation: Option<&Operation>,
    ) -> Result<(), Failure> {
        let attempt = operation.map_or(0, |operation| operation.attempt);
        let seconds = clock::now().epoch_seconds();
        let names = [
            id.to_string(),
            format!("{id}-{attempt}"),
            format!("{id}-at-{seconds}"),
        ];
        let input = serde_json::json!({ "operationId": id, "thingName": name }).to_string();
        // When all three are taken, another request started one this very second.
        workflows::start(&self.sfn, &self.workflow_arn, names, &input)
            .await
            .map_err(not_started)
    }
}

/// The device is claimed already, so the same request again goes on from there.
fn not_started(mut failure: Failure) -> Failure {
    if failure.kind == Kind::NotFound {
        failure.kind = Kind::Denied;
    }
    failure
}
