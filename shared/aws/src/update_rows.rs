//! An update's rows in the registry: begun, committed, taken back.

use aws_sdk_dynamodb::types::Update;
use lamplighter_domain::Failure;
use lamplighter_domain::device::{DeviceRecord, DeviceStatus, billing_shard_of};
use lamplighter_domain::operation::{Operation, OperationStatus};
use lamplighter_domain::time::Moment;
use lamplighter_domain::update::Desired;

use crate::claims::{Claims, status};
use crate::table::{self, Key};

impl Claims {
    /// Begins an update: its whole plan stands, and the device names it. False
    /// if the device changed meanwhile, or the idempotency key was used.
    pub(crate) async fn begin_update(
        &self,
        record: &DeviceRecord,
        operation: &Operation,
    ) -> Result<bool, Failure> {
        let device = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(&operation.thing_name).item()))
            .update_expression("SET operationId = :operation")
            // The operation that was seen may have changed the device since. A
            // device without a version has had no change yet: each writes one.
            .condition_expression(
                "operationId = :seen AND #status = :active \
                 AND (version = :version OR attribute_not_exists(version))",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":version", table::attribute(&record.version)?)
            .expression_attribute_values(":operation", table::attribute(&operation.operation_id)?)
            .expression_attribute_values(":seen", table::attribute(&record.operation_id)?)
            .expression_attribute_values(":active", table::attribute(&DeviceStatus::Active)?);
        // A key whose operation came to nothing may be used again.
        let put = self
            .put(&Key::operation(&operation.operation_id), operation)?
            .condition_expression("attribute_not_exists(PK) OR #status IN (:compensated, :stuck)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":compensated", status(OperationStatus::Compensated)?)
            .expression_attribute_values(":stuck", status(OperationStatus::Stuck)?);
        let changes = vec![table::update(device)?, table::put(put)?];
        Ok(self.table.transact(changes).await?.is_none())
    }

    /// Records what the device is now, and ends the update.
    pub(crate) async fn commit_update(
        &self,
        record: &DeviceRecord,
        operation: &Operation,
        now: Moment,
    ) -> Result<DeviceRecord, Failure> {
        let plan = operation.update.as_ref();
        let after = &plan
            .ok_or_else(|| Failure::bug("an update without a plan"))?
            .after;
        let updated = became(record, after, operation);
        let name = &operation.thing_name;
        let mut set = "SET attributes = :attributes, #groups = :groups, version = :version, \
                       billingShard = :shard"
            .to_owned();
        let mut gone = Vec::new();
        let mut device = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(name).item()))
            .condition_expression("operationId = :operation AND #status = :active")
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#groups", "groups")
            .expression_attribute_values(":operation", table::attribute(&operation.operation_id)?)
            .expression_attribute_values(":active", table::attribute(&DeviceStatus::Active)?)
            .expression_attribute_values(":attributes", table::attribute(&after.attributes)?)
            .expression_attribute_values(":groups", table::attribute(&after.groups)?)
            .expression_attribute_values(":version", table::attribute(&updated.version)?)
            .expression_attribute_values(":shard", table::attribute(&updated.billing_shard)?);
        let optional = [
            (
                "thingType",
                ":type",
                after.thing_type.as_ref().map(ToString::to_string),
            ),
            (
                "billingGroup",
                ":billing",
                after.billing_group.as_ref().map(ToString::to_string),
            ),
        ];
        for (field, value, name) in optional {
            match name {
                Some(name) => {
                    set.extend([", ", field, " = ", value]);
                    device = device.expression_attribute_values(value, table::attribute(&name)?);
                }
                None => gone.push(field),
            }
        }
        if !gone.is_empty() {
            set.extend([" REMOVE ".to_owned(), gone.join(", ")]);
        }
        let ended = self.end(operation, OperationStatus::Done, None, now)?;
        let changes = vec![
            table::update(device.update_expression(set))?,
            table::update(ended)?,
        ];
        self.ended(changes).await?;
        Ok(updated)
    }

    /// Ends an update that was taken back, or could not be.
    pub(crate) async fn end_update(
        &self,
        operation: &Operation,
        to: OperationStatus,
        why: &Failure,
        now: Moment,
    ) -> Result<(), Failure> {
        let ended = self.end(operation, to, Some(why), now)?;
        self.ended(vec![table::update(ended)?]).await
    }
}

/// The record once the update is done.
fn became(record: &DeviceRecord, after: &Desired, operation: &Operation) -> DeviceRecord {
    let mut record = record.clone();
    let request = &mut record.request;
    request.thing_type.clone_from(&after.thing_type);
    request.attributes.clone_from(&after.attributes);
    request.groups.clone_from(&after.groups);
    request.billing_group.clone_from(&after.billing_group);
    record.billing_shard = billing_shard_of(after.billing_group.as_ref(), &request.thing_name);
    record.operation_id = operation.operation_id.clone();
    record.version += 1;
    record
}
