//! A rotation's rows: one of its own, the certificates, and the operation.

use aws_sdk_dynamodb::types::{ConditionCheck, Delete, Put, TransactWriteItem, Update};
use lamplighter_domain::Failure;
use lamplighter_domain::compromise;
use lamplighter_domain::device::{
    CertificateRecord, Custody, DeviceRecord, DeviceStatus, KeyOwner,
};
use lamplighter_domain::names::{CertificateId, OperationId, SweepId, ThingName};
use lamplighter_domain::rotation::{Messenger, Reason, Rotation};

use super::{Renewals, Step, journal};
use crate::table::{self, Key};
use crate::{clock, rotations};

/// How often a change is tried while others change the same row.
const ATTEMPTS: u32 = 12;

/// What a rotation is begun with.
#[derive(Default)]
pub(super) struct Beginning<'a> {
    /// The sweep that starts it.
    pub(super) sweep: Option<&'a SweepId>,
    /// Why.
    pub(super) reason: Reason,
    /// Who makes the new key.
    pub(super) custody: Custody,
    /// Who tells the device, if not whoever the stack is set to.
    pub(super) messenger: Option<Messenger>,
}

impl Renewals {
    pub(super) async fn rotation(&self, name: &ThingName) -> Result<Option<Rotation>, Failure> {
        self.table.get(&Key::rotation(name)).await
    }

    pub(super) async fn device(&self, name: &ThingName) -> Result<Option<DeviceRecord>, Failure> {
        self.table.get(&Key::device(name)).await
    }

    pub(super) async fn certificate(
        &self,
        name: &ThingName,
        id: &CertificateId,
    ) -> Result<Option<CertificateRecord>, Failure> {
        self.table.get(&Key::certificate(name, id)).await
    }

    /// The rotation of this id; begun, if it is not there yet.
    ///
    /// # Errors
    /// `NotFound` without such a device, `Conflict` if it is not ACTIVE or the
    /// rotation belongs to the past, `Busy` while another is under way.
    pub(super) async fn begin(
        &self,
        name: &ThingName,
        id: &OperationId,
        beginning: &Beginning<'_>,
    ) -> Result<Rotation, Failure> {
        let (earlier, device) = tokio::try_join!(self.rotation(name), self.device(name))?;
        if let Some(rotation) = earlier.as_ref().filter(|row| row.rotation_id == *id) {
            return Ok(rotation.clone());
        }
        let remedy = "Only an ACTIVE device's certificate is renewed.";
        let device = DeviceRecord::active(name, device.as_ref(), remedy)?;
        let old = device.proved_certificate()?.clone();
        let certificate = self.certificate(name, &old).await?.ok_or_else(|| {
            Failure::bug(format!("{name} has no record of its certificate {old}"))
        })?;
        compromise::renewable(device, Some(&certificate))?;
        let now = clock::now();
        let mut rotation = Rotation::start(
            id.clone(),
            name.clone(),
            &certificate,
            self.windows,
            earlier.as_ref(),
            now,
        )?;
        rotation.sweep_id = beginning.sweep.cloned();
        rotation.reason = beginning.reason;
        rotation.custody = beginning.custody;
        rotation.proved_key = self.proved_keys;
        // Nothing is said to a device whose key is made here.
        if beginning.custody == Custody::Device {
            rotation.messenger = beginning.messenger.unwrap_or(self.messenger);
        }
        let still = ConditionCheck::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(name).item()))
            .condition_expression(
                "#status = :active AND certificateId = :old AND attribute_not_exists(quarantinedAt)",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":active", table::attribute(&DeviceStatus::Active)?)
            .expression_attribute_values(":old", table::attribute(&old)?);
        let mut changes = rotations::replace(&self.table, earlier.as_ref(), &rotation)?;
        changes.extend([
            table::check(still)?,
            rotations::operation(&self.table, &rotation)?,
        ]);
        match self.table.transact(changes).await? {
            None => {
                journal::decided(None, &rotation);
                Ok(rotation)
            }
            Some(2) => Err(Failure::conflict(
                "rotationId",
                format!("the rotation {id} has been before"),
                "Start another one.",
            )),
            Some(_) => Err(Failure::busy("the device is changing at this moment", 1)),
        }
    }

    /// Changes the rotation's row alone.
    pub(super) async fn change(
        &self,
        step: &Step,
        to: impl Fn(Rotation) -> Result<Rotation, Failure>,
    ) -> Result<Rotation, Failure> {
        self.change_with(step, to, |_| Ok(Vec::new())).await
    }

    /// Changes the rotation's row and others with it, all or nothing. If the
    /// row has changed since it was read, it is read and changed again.
    pub(super) async fn change_with(
        &self,
        step: &Step,
        to: impl Fn(Rotation) -> Result<Rotation, Failure>,
        others: impl Fn(&Rotation) -> Result<Vec<TransactWriteItem>, Failure>,
    ) -> Result<Rotation, Failure> {
        for _ in 0..ATTEMPTS {
            let before = self
                .rotation(&step.thing_name)
                .await?
                .filter(|row| row.rotation_id == step.rotation_id)
                .ok_or_else(|| over(&step.rotation_id))?;
            let after = to(before.clone())?;
            if let Some(written) = self.write(&before, after, &others).await? {
                return Ok(written);
            }
        }
        Err(Failure::busy("the rotation is changing at this moment", 1))
    }

    /// Writes a row in place of the one that was read; nothing if that has
    /// changed meanwhile. An end ends the operation too. The keys that come into
    /// the rotation are claimed with it, those that leave it are freed.
    ///
    /// # Errors
    /// `Conflict` when a key that comes in is in use.
    pub(super) async fn write(
        &self,
        before: &Rotation,
        mut after: Rotation,
        others: impl Fn(&Rotation) -> Result<Vec<TransactWriteItem>, Failure>,
    ) -> Result<Option<Rotation>, Failure> {
        after.version = before.version + 1;
        let mut changes = rotations::replace(&self.table, Some(before), &after)?;
        changes.extend(others(&after)?);
        let claims = rotations::hold_keys(&self.table, &before.keys(), &after, &mut changes)?;
        match self.table.transact(changes).await? {
            None => {
                journal::decided(Some(before), &after);
                Ok(Some(after))
            }
            Some(0) => Ok(None),
            Some(refused) if refused >= claims => Err(KeyOwner::taken()),
            Some(_) => Err(over(&before.rotation_id)),
        }
    }

    /// A certificate's row, written.
    pub(super) fn put_certificate(
        &self,
        name: &ThingName,
        certificate: &CertificateRecord,
    ) -> Result<TransactWriteItem, Failure> {
        let key = Key::certificate(name, &certificate.certificate_id);
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&key, certificate)?));
        table::put(put)
    }

    /// A certificate's row, removed.
    pub(super) fn delete_certificate_row(
        &self,
        name: &ThingName,
        id: &CertificateId,
    ) -> Result<TransactWriteItem, Failure> {
        let delete = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::certificate(name, id).item()));
        table::delete(delete)
    }

    /// A certificate on its way out is due no more.
    pub(super) fn no_longer_due(
        &self,
        name: &ThingName,
        id: &CertificateId,
    ) -> Result<TransactWriteItem, Failure> {
        let update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::certificate(name, id).item()))
            .update_expression("REMOVE dueAt, dueShard")
            .condition_expression("attribute_exists(PK)");
        table::update(update)
    }

    /// A certificate's key is in custody no more.
    pub(super) fn key_purged(
        &self,
        name: &ThingName,
        id: &CertificateId,
    ) -> Result<TransactWriteItem, Failure> {
        let update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::certificate(name, id).item()))
            .update_expression("REMOVE keyObject SET keyPurgedAt = :now")
            .condition_expression("attribute_exists(PK)")
            .expression_attribute_values(":now", table::attribute(&clock::now())?);
        table::update(update)
    }

    /// The device's certificate is the new one from here on.
    pub(super) fn switch(
        &self,
        name: &ThingName,
        from: &CertificateId,
        to: &CertificateRecord,
    ) -> Result<TransactWriteItem, Failure> {
        let update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(name).item()))
            .update_expression("SET certificateId = :new, custody = :custody")
            .condition_expression("certificateId IN (:old, :new)")
            .expression_attribute_values(":new", table::attribute(&to.certificate_id)?)
            .expression_attribute_values(":custody", table::attribute(&to.custody)?)
            .expression_attribute_values(":old", table::attribute(from)?);
        table::update(update)
    }
}

fn over(id: &OperationId) -> Failure {
    Failure::not_found(
        "rotationId",
        format!("the rotation {id} is over"),
        "Nothing more is to be done for it.",
    )
}
