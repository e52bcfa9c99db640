//! What starts a rotation: a caller, a sweep, or a device that comes while
//! its certificate is due.

use lamplighter_domain::device::Custody;
use lamplighter_domain::names::{OperationId, ThingName};
use lamplighter_domain::rotation::{Asked, Reason, Rotation};
use lamplighter_domain::{Failure, Kind};
use serde::Serialize;
use serde_json::json;

use super::rows::Beginning;
use super::{Renewals, Step};
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
    /// Where its key is to be made here, one under way that has no signing
    /// request yet goes that way from now on.
    ///
    /// # Errors
    /// `Conflict` when a key is to be made here, and the device has sent a
    /// request of its own.
    pub async fn request(
        &self,
        name: &ThingName,
        asked: &Asked,
        reason: Reason,
    ) -> Result<Started, Failure> {
        let Asked {
            idempotency_key,
            custody,
            messenger,
        } = asked;
        let key = idempotency_key.as_deref();
        let open = self.rotation(name).await?.filter(|row| !row.phase.ended());
        let rotation = match open {
            Some(rotation) if *custody == Custody::Vault => self.turn_to_hand_out(rotation).await?,
            Some(rotation) => rotation,
            None => {
                let id = key.map_or_else(clock::operation_id, OperationId::from_key);
                let beginning = Beginning {
                    reason,
                    custody: *custody,
                    messenger: *messenger,
                    ..Beginning::default()
                };
                self.begin(name, &id, &beginning).await?
            }
        };
        self.start(&rotation).await?;
        Ok(Started {
            operation_id: rotation.rotation_id,
            thing_name: name.clone(),
            status: "RUNNING",
        })
    }

    /// The workflow may be waiting for the device, which has nothing to say any
    /// more.
    async fn turn_to_hand_out(&self, open: Rotation) -> Result<Rotation, Failure> {
        let step = Step {
            rotation_id: open.rotation_id,
            thing_name: open.thing_name,
            sweep_id: None,
            task_token: None,
        };
        let turned = self.change(&step, |row| row.hand_out(clock::now())).await?;
        if let Some(token) = &turned.task_token {
            self.wake(token).await?;
        }
        Ok(turned)
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
        match self.begin(name, &rotation, &Beginning::default()).await {
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
