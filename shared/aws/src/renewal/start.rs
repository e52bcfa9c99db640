//! What starts a rotation: a caller, a sweep, or a device that comes while
//! its certificate is due.

use lamplighter_domain::names::{OperationId, ThingName};
use lamplighter_domain::rotation::{Reason, Rotation};
use lamplighter_domain::{Failure, Kind};
use serde::Serialize;
use serde_json::json;

use super::Renewals;
use crate::{clock, workflows};

/// What a caller is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The rotation.
    pub operation_id: OperationId,
    /// The device.
    pub thing_name: ThingName,
    /// `RUNNING`.
    pub status: &'static str,
}

impl Renewals {
    /// Starts a rotation for a caller; one that is under way is the answer too.
    pub async fn request(
        &self,
        name: &ThingName,
        idempotency_key: Option<&str>,
        reason: Reason,
    ) -> Result<Started, Failure> {
        let open = self.rotation(name).await?.filter(|row| !row.phase.ended());
        let rotation = if let Some(rotation) = open {
            rotation
        } else {
            let id = idempotency_key.map_or_else(clock::operation_id, OperationId::from_key);
            self.begin(name, &id, None, reason).await?
        };
        self.start(&rotation).await?;
        Ok(Started {
            operation_id: rotation.rotation_id,
            thing_name: name.clone(),
            status: "RUNNING",
        })
    }

    /// Starts a rotation if the device's certificate is due.
    pub(super) async fn start_if_due(&self, name: &ThingName) -> Result<(), Failure> {
        let Some(id) = self.device(name).await?.and_then(|d| d.certificate_id) else {
            return Ok(());
        };
        let now = clock::now();
        match self.certificate(name, &id).await? {
            Some(certificate) if certificate.due_at.is_some_and(|at| at <= now) => {}
            _ => return Ok(()),
        }
        let earlier = self.rotation(name).await?;
        let Some(rotation) = Rotation::due_id(name, &id, earlier.as_ref(), now) else {
            return Ok(());
        };
        match self.begin(name, &rotation, None, Reason::Due).await {
            Ok(row) if !row.phase.ended() => self.start(&row).await,
            Ok(_) => Ok(()),
            // It has been asked today, or the device is going.
            Err(failure) if matches!(failure.kind, Kind::NotFound | Kind::Conflict) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Sees to it that the workflow runs. An execution is named by its rotation,
    /// so that it runs once; should that one have failed, another takes over.
    async fn start(&self, rotation: &Rotation) -> Result<(), Failure> {
        let Rotation {
            rotation_id: id,
            thing_name,
            attempt,
            ..
        } = rotation;
        let input = json!({ "rotationId": id, "thingName": thing_name }).to_string();
        let names = [id.to_string(), format!("{id}-{attempt}")];
        workflows::start(&self.sfn, &self.workflow_arn, names, &input).await
    }
}
