//! A case's rows: one of its own, and its label on the device.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem, Update};
use lamplighter_domain::Failure;
use lamplighter_domain::compromise::{Case, Verdict};
use lamplighter_domain::device::{CertificateRecord, DeviceRecord};
use lamplighter_domain::names::{CertificateId, ThingName};
use lamplighter_domain::rotation::Rotation;

use super::Cases;
use crate::failure::{self, Cause};
use crate::links::Outcome;
use crate::table::{self, Key};
use crate::{clock, rotations};

/// What the registry has of a device, as far as a case is concerned.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) record: Option<DeviceRecord>,
    pub(super) certificates: Vec<CertificateRecord>,
    pub(super) rotation: Option<Rotation>,
}

impl Cases {
    pub(super) async fn rows(&self, name: &ThingName) -> Result<Rows, Failure> {
        let mut rows = Rows::default();
        for item in self.table.partition(&table::device_partition(name)).await? {
            let sort_key = item.get("SK").and_then(|key| key.as_s().ok()).cloned();
            match sort_key.as_deref().unwrap_or_default() {
                "RECORD" => rows.record = Some(table::read(item)?),
                "ROTATION" => rows.rotation = Some(table::read(item)?),
                key if key.starts_with("CERT#") => rows.certificates.push(table::read(item)?),
                _ => {}
            }
        }
        Ok(rows)
    }

    /// Opens a case: its row and its label on the device, all or nothing, and a
    /// token that was issued before is worth nothing, also once the case is
    /// closed. Nothing if the device has changed meanwhile.
    pub(super) async fn open(
        &self,
        device: &DeviceRecord,
        case: Case,
    ) -> Result<Option<Case>, Failure> {
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::case(&case.case_id), &case)?))
            .condition_expression("attribute_not_exists(PK)");
        let label = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(&case.thing_name).item()))
            .condition_expression(
                "attribute_not_exists(caseId) AND createdBy = :creation AND operationId = :seen",
            )
            .expression_attribute_values(":case", table::attribute(&case.case_id)?)
            .expression_attribute_values(":creation", table::attribute(&case.created_by)?)
            .expression_attribute_values(":seen", table::attribute(&device.operation_id)?);
        let label = match case.verdict {
            Verdict::Suspected => label.update_expression("SET caseId = :case"),
            Verdict::Confirmed => label
                .update_expression("SET caseId = :case, quarantinedAt = :now")
                .expression_attribute_values(":now", table::attribute(&case.opened_at)?),
        };
        let token = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::enrolment(&case.thing_name).item()));
        let token = table::delete(token)?;
        self.write(put, label, Some(token), case).await
    }

    /// Confirms a suspicion: the device is quarantined from here on.
    pub(super) async fn confirm(&self, case: Case) -> Result<Option<Case>, Failure> {
        let label = self
            .label(&case)?
            .update_expression("SET quarantinedAt = :now")
            .expression_attribute_values(":now", table::attribute(&clock::now())?);
        let (put, case) = self.next(case)?;
        self.write(put, label, None, case).await
    }

    /// Writes that a case is closed, and takes its label off the device.
    pub(super) async fn closed(&self, case: Case) -> Result<Option<Case>, Failure> {
        let rows = self.rows(&case.thing_name).await?;
        let labelled = rows
            .record
            .is_some_and(|device| device.case_id.as_ref() == Some(&case.case_id));
        if !labelled {
            return self.save(case).await;
        }
        let label = self
            .label(&case)?
            .update_expression("REMOVE caseId, quarantinedAt");
        let (put, case) = self.next(case)?;
        self.write(put, label, None, case).await
    }

    /// Writes a case alone; nothing if it has changed meanwhile.
    pub(super) async fn save(&self, case: Case) -> Result<Option<Case>, Failure> {
        let (put, case) = self.next(case)?;
        let put = TransactWriteItem::builder().put(put.build().map_err(table::incomplete)?);
        let refused = self.table.transact(vec![put.build()]).await?;
        Ok(refused.is_none().then_some(case))
    }

    /// The case's row in place of the one that was read.
    fn next(
        &self,
        mut case: Case,
    ) -> Result<(aws_sdk_dynamodb::types::builders::PutBuilder, Case), Failure> {
        let seen = table::attribute(&case.version)?;
        case.version += 1;
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::case(&case.case_id), &case)?))
            .condition_expression("version = :seen")
            .expression_attribute_values(":seen", seen);
        Ok((put, case))
    }

    /// A change of the label of the device that bears this case.
    fn label(
        &self,
        case: &Case,
    ) -> Result<aws_sdk_dynamodb::types::builders::UpdateBuilder, Failure> {
        Ok(Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(&case.thing_name).item()))
            .condition_expression("caseId = :case")
            .expression_attribute_values(":case", table::attribute(&case.case_id)?))
    }

    async fn write(
        &self,
        put: aws_sdk_dynamodb::types::builders::PutBuilder,
        label: aws_sdk_dynamodb::types::builders::UpdateBuilder,
        other: Option<TransactWriteItem>,
        case: Case,
    ) -> Result<Option<Case>, Failure> {
        let mut changes = vec![table::put(put)?, table::update(label)?];
        changes.extend(other);
        let refused = self.table.transact(changes).await?;
        Ok(refused.is_none().then_some(case))
    }

    /// Records that a certificate is revoked, and due no more. A record that
    /// has gone meanwhile is no more to be marked.
    pub(super) async fn mark(
        &self,
        name: &ThingName,
        id: &CertificateId,
    ) -> Result<Outcome, Failure> {
        let answer = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::certificate(name, id).item()))
            .update_expression("SET revokedAt = :now REMOVE dueAt, dueShard")
            .condition_expression("attribute_exists(PK) AND attribute_not_exists(revokedAt)")
            .expression_attribute_values(":now", table::attribute(&clock::now())?)
            .send()
            .await;
        match answer {
            Err(error) if failure::cause(&error) == Cause::Condition => Ok(Outcome::Done),
            answer => crate::links::outcome("dynamodb:UpdateItem", answer),
        }
    }

    /// Ends the rotation that is under way, unless somebody is at work on it at
    /// this moment.
    pub(super) async fn end_rotation(&self, name: &ThingName) -> Result<Outcome, Failure> {
        let row: Option<Rotation> = self.table.get(&Key::rotation(name)).await?;
        let Some(row) = row else {
            return Ok(Outcome::Done);
        };
        if row.phase.ended() {
            rotations::let_go(&self.sfn, &row).await?;
            return Ok(Outcome::Done);
        }
        let fenced = match row.clone().fence(clock::now()) {
            Ok(fenced) => fenced,
            Err(busy) => return Ok(Outcome::Settling(busy)),
        };
        let changes = rotations::replace(&self.table, Some(&row), &fenced)?;
        if self.table.transact(changes).await?.is_some() {
            let busy = Failure::busy("the rotation is changing", 1);
            return Ok(Outcome::Settling(busy));
        }
        rotations::let_go(&self.sfn, &fenced).await?;
        Ok(Outcome::Done)
    }
}
