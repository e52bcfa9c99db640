//! A token's row, and the transaction that uses it.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{ConditionCheck, Put, TransactWriteItem, Update};
use lamplighter_domain::Failure;
use lamplighter_domain::csr::Csr;
use lamplighter_domain::device::{DeviceRecord, DeviceStatus, KeyOwner};
use lamplighter_domain::enrolment::{Admitted, TokenRecord};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::rotation::Rotation;

use super::Enrolments;
use crate::table::{self, Key};
use crate::{journal, rotations};

impl Enrolments {
    /// Writes a token's row in place of an earlier one. False if the device has
    /// changed meanwhile.
    pub(super) async fn keep(
        &self,
        name: &ThingName,
        record: &TokenRecord,
    ) -> Result<bool, Failure> {
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::enrolment(name), record)?));
        let still = self
            .still(name, record, "")?
            .build()
            .map_err(table::incomplete)?;
        let changes = vec![
            table::put(put)?,
            TransactWriteItem::builder().condition_check(still).build(),
        ];
        let refused = self.table.transact(changes).await?;
        Ok(refused.is_none())
    }

    /// Uses a token: from here on it is worth this rotation, and the rotation
    /// is begun or taken over, all or nothing. False if anything of it has
    /// changed meanwhile: the token, the device, a case, the rotation.
    pub(super) async fn admitted(
        &self,
        record: &TokenRecord,
        device: &DeviceRecord,
        before: Option<&Rotation>,
        next: &Rotation,
    ) -> Result<bool, Failure> {
        let name = &device.request.thing_name;
        let open = before.filter(|row| !row.phase.ended());
        let mut after = next.clone();
        after.version = before.map_or(0, |row| row.version + 1);
        let mut changes = rotations::replace(&self.table, before, &after)?;
        let still = self
            .still(name, record, " AND certificateId = :old")?
            .expression_attribute_values(":old", table::attribute(&after.old)?);
        changes.extend([table::check(still)?, self.used(name, record, &after)?]);
        if open.is_none() {
            changes.push(rotations::operation(&self.table, &after)?);
        }
        let held = match open {
            Some(row) => row.keys(),
            None => after.superseded.iter().cloned().collect::<BTreeSet<_>>(),
        };
        let claims = rotations::hold_keys(&self.table, &held, &after, &mut changes)?;
        match self.table.transact(changes).await? {
            None => {
                journal::decided(open, &after);
                let key = after.wish.as_ref().map(|csr| csr.public_key().as_str());
                let (thing, rotation) = (name.as_str(), after.rotation_id.as_str());
                tracing::info!(thing, rotation, key, "a token was used");
                Ok(true)
            }
            Some(refused) if refused >= claims => Err(KeyOwner::taken()),
            Some(_) => Ok(false),
        }
    }

    /// Shortens what is left of a rotation; its version then. Nothing if it has
    /// changed meanwhile.
    pub(super) async fn hasten(
        &self,
        row: &Rotation,
        mut ending: Rotation,
    ) -> Result<Option<u64>, Failure> {
        if ending == *row {
            return Ok(Some(row.version));
        }
        ending.version = row.version + 1;
        let changes = rotations::replace(&self.table, Some(row), &ending)?;
        let refused = self.table.transact(changes).await?;
        Ok(refused.is_none().then_some(ending.version))
    }

    /// That the device is the one that the token is for, whole, and that no
    /// case is open on it.
    fn still(
        &self,
        name: &ThingName,
        record: &TokenRecord,
        more: &str,
    ) -> Result<aws_sdk_dynamodb::types::builders::ConditionCheckBuilder, Failure> {
        let condition = format!(
            "#status = :active AND createdBy = :creation AND attribute_not_exists(caseId){more}"
        );
        Ok(ConditionCheck::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(name).item()))
            .condition_expression(condition)
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":active", table::attribute(&DeviceStatus::Active)?)
            .expression_attribute_values(":creation", table::attribute(&record.created_by)?))
    }

    fn used(
        &self,
        name: &ThingName,
        record: &TokenRecord,
        rotation: &Rotation,
    ) -> Result<TransactWriteItem, Failure> {
        let key = rotation.wish.as_ref().map(Csr::public_key);
        let admitted = Admitted {
            public_key: key
                .cloned()
                .ok_or_else(|| Failure::bug("an enrolment without a signing request"))?,
            rotation_id: rotation.rotation_id.clone(),
        };
        let update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::enrolment(name).item()))
            .update_expression("SET admitted = :admitted")
            .condition_expression("tokenDigest = :digest AND attribute_not_exists(admitted)")
            .expression_attribute_values(":admitted", table::attribute(&admitted)?)
            .expression_attribute_values(":digest", table::attribute(&record.token_digest)?);
        table::update(update)
    }
}
