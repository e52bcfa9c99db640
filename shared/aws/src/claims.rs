//! A creation's rows in the registry: claimed, leased, committed or released.
//!
//! Every write is conditional, so whoever lost the claim, the lease or the
//! device to somebody else finds out before it does anything more.

use aws_sdk_dynamodb::types::builders::{PutBuilder, UpdateBuilder};
use aws_sdk_dynamodb::types::{
    AttributeValue, Delete, Put, ReturnValue, TransactWriteItem, Update,
};
use lamplighter_domain::Failure;
use lamplighter_domain::claim::Profile;
use lamplighter_domain::create::{CreatePlan, Mint};
use lamplighter_domain::device::{
    CertificateRecord, DeviceRecord, DeviceStatus, KeyOwner, Preregistration,
};
use lamplighter_domain::names::{CertificateId, OperationId, ThingName};
use lamplighter_domain::operation::{Operation, OperationStatus};
use lamplighter_domain::time::Moment;

use crate::failure::{self, Cause};
use crate::key_owners::{self, Before};
use crate::table::{self, Key, Table};

/// The registry as a creation uses it.
#[derive(Clone)]
pub struct Claims {
    /// The table.
    pub table: Table,
}

/// What claiming a name came to.
pub enum Claimed {
    /// The name is ours.
    Fresh(Box<Operation>),
    /// Something stands under the name already.
    Taken(Box<DeviceRecord>),
}

impl Claims {
    /// Claims the name and the device's key and persists the whole plan, in one
    /// transaction.
    ///
    /// # Errors
    /// `Conflict` when another device has the key.
    pub async fn claim(
        &self,
        plan: &CreatePlan,
        now: Moment,
        lease_until: Moment,
    ) -> Result<Claimed, Failure> {
        let operation = plan.operation(now, lease_until);
        let name = &plan.request.thing_name;
        let record = self
            .put(&Key::device(name), &plan.claimed(now))?
            .condition_expression("attribute_not_exists(PK)");
        // An idempotency key whose operation came to nothing may be used again.
        let put = self
            .put(&Key::operation(&plan.operation_id), &operation)?
            .condition_expression("attribute_not_exists(PK) OR #status = :compensated")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":compensated", status(OperationStatus::Compensated)?);
        let mut changes = vec![table::put(record)?, table::put(put)?];
        if let Some(csr) = &plan.request.csr {
            let owner = owner(plan);
            changes.push(key_owners::claim(
                &self.table,
                csr.public_key(),
                &owner,
                Before::NobodysOrOurs,
            )?);
        }
        let Some(refused) = self.table.transact(changes).await? else {
            return Ok(Claimed::Fresh(Box::new(operation)));
        };
        match (self.device(name).await?, refused) {
            (Some(record), _) => Ok(Claimed::Taken(Box::new(record))),
            (None, 2) => Err(KeyOwner::taken()),
            (None, _) => self.key_was_used(plan).await,
        }
    }

    /// The name is free, yet the operation's id is taken: an idempotency key
    /// was used before.
    async fn key_was_used(&self, plan: &CreatePlan) -> Result<Claimed, Failure> {
        let Some(earlier) = self.operation(&plan.operation_id).await? else {
            return Err(Failure::busy(
                "another request for this device has just ended",
                1,
            ));
        };
        let what = if earlier.thing_name == plan.request.thing_name {
            "the device it created has been deleted since"
        } else {
            "it was used for another device"
        };
        Err(Failure::conflict("idempotencyKey", what, "Use a new key."))
    }

    /// The device's record, read consistently.
    pub async fn device(&self, name: &ThingName) -> Result<Option<DeviceRecord>, Failure> {
        self.table.get(&Key::device(name)).await
    }

    /// An operation, read consistently.
    pub async fn operation(&self, id: &OperationId) -> Result<Option<Operation>, Failure> {
        self.table.get(&Key::operation(id)).await
    }

    /// A certificate's record.
    pub async fn certificate(
        &self,
        name: &ThingName,
        id: &CertificateId,
    ) -> Result<CertificateRecord, Failure> {
        let found = self.table.get(&Key::certificate(name, id)).await?;
        found.ok_or_else(|| Failure::bug(format!("{name} has no record of its certificate {id}")))
    }

    /// The profile that a name was pre-registered under, if it was.
    pub async fn profile_of(&self, name: &ThingName) -> Result<Option<Profile>, Failure> {
        let Some(row) = self
            .table
            .get::<Preregistration>(&Key::preregistration(name))
            .await?
        else {
            return Ok(None);
        };
        self.table.get(&Key::profile(&row.profile)).await
    }

    /// Takes over an operation whose lease has run out; nothing if another
    /// delivery was faster.
    pub async fn take_over(
        &self,
        seen: &Operation,
        now: Moment,
        lease_until: Moment,
    ) -> Result<Option<Operation>, Failure> {
        let answer = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::operation(&seen.operation_id).item()))
            .update_expression("SET leaseUntil = :until, attempt = :next")
            .condition_expression(
                "attempt = :seen AND leaseUntil < :now AND #status IN (:running, :undoing)",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":until", table::attribute(&lease_until)?)
            .expression_attribute_values(":next", table::attribute(&(seen.attempt + 1))?)
            .expression_attribute_values(":seen", table::attribute(&seen.attempt)?)
            .expression_attribute_values(":now", table::attribute(&now)?)
            .expression_attribute_values(":running", status(OperationStatus::Running)?)
            .expression_attribute_values(":undoing", status(OperationStatus::Undoing)?)
            .return_values(ReturnValue::AllNew)
            .send()
            .await;
        match answer {
            Ok(answer) => answer.attributes.map(table::read).transpose(),
            Err(error) if failure::cause(&error) == Cause::Condition => Ok(None),
            Err(error) => Err(failure::of("dynamodb:UpdateItem", &error)),
        }
    }

    /// Records that a certificate is about to be made.
    pub async fn intend_mint(&self, operation: &Operation, mint: &Mint) -> Result<(), Failure> {
        self.update(
            operation,
            "SET mint = :mint",
            [(":mint", table::attribute(mint)?)],
        )
        .await
    }

    /// Records which certificate was made.
    pub async fn record_certificate(
        &self,
        operation: &Operation,
        id: &CertificateId,
    ) -> Result<(), Failure> {
        self.update(
            operation,
            "SET mint.certificateId = :id",
            [(":id", table::attribute(id)?)],
        )
        .await
    }

    /// Lets another delivery take the operation over at once.
    pub async fn let_go(&self, operation: &Operation) -> Result<(), Failure> {
        self.update(
            operation,
            "SET leaseUntil = :over",
            [(":over", table::attribute(&Moment(0))?)],
        )
        .await
    }

    /// Records that the operation is being undone, and why.
    pub async fn begin_undo(&self, operation: &Operation, why: &Failure) -> Result<(), Failure> {
        let values = [
            (":to", status(OperationStatus::Undoing)?),
            (":why", table::attribute(why)?),
        ];
        self.update(operation, "SET #status = :to, failure = :why", values)
            .await
    }

    /// Changes the operation, on the condition that it is still ours.
    async fn update<const N: usize>(
        &self,
        operation: &Operation,
        expression: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<(), Failure> {
        let mut request = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::operation(&operation.operation_id).item()))
            .update_expression(expression)
            .condition_expression("attempt = :attempt AND #status IN (:running, :undoing)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":attempt", table::attribute(&operation.attempt)?)
            .expression_attribute_values(":running", status(OperationStatus::Running)?)
            .expression_attribute_values(":undoing", status(OperationStatus::Undoing)?);
        for (name, value) in values {
            request = request.expression_attribute_values(name, value);
        }
        request
            .send()
            .await
            .map(drop)
            .map_err(|error| match failure::cause(&error) {
                Cause::Condition => taken_over(),
                _ => failure::of("dynamodb:UpdateItem", &error),
            })
    }

    /// Makes the device ACTIVE, in one transaction.
    pub async fn commit(
        &self,
        plan: &CreatePlan,
        operation: &Operation,
        certificate: &CertificateRecord,
        now: Moment,
    ) -> Result<DeviceRecord, Failure> {
        let name = &plan.request.thing_name;
        let mut record = plan.claimed(operation.started_at);
        record.status = DeviceStatus::Active;
        record.certificate_id = Some(certificate.certificate_id.clone());
        let device = self
            .put(&Key::device(name), &record)?
            .condition_expression("operationId = :operation AND #status = :creating")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":operation", table::attribute(&operation.operation_id)?)
            .expression_attribute_values(":creating", table::attribute(&DeviceStatus::Creating)?);
        let mut changes = vec![
            table::put(device)?,
            table::put(self.put(
                &Key::certificate(name, &certificate.certificate_id),
                certificate,
            )?)?,
            table::update(self.end(operation, OperationStatus::Done, None, now)?)?,
        ];
        // A key made here is known to nobody before this, so there is nobody
        // to claim it from; once handed out it must not come to another device.
        if plan.request.csr.is_none() {
            let (key, owner) = (&certificate.public_key, owner(plan));
            let claimed = key_owners::claim(&self.table, key, &owner, Before::NobodysOrOurs)?;
            changes.push(claimed);
        }
        self.ended(changes).await?;
        Ok(record)
    }

    /// Frees the name and the key: the operation was refused, and nothing of it remains.
    pub async fn release(
        &self,
        operation: &Operation,
        why: &Failure,
        now: Moment,
    ) -> Result<(), Failure> {
        let device = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(&operation.thing_name).item()))
            .condition_expression("operationId = :operation")
            .expression_attribute_values(":operation", table::attribute(&operation.operation_id)?);
        let ended = self.end(operation, OperationStatus::Compensated, Some(why), now)?;
        let mut changes = vec![table::delete(device)?, table::update(ended)?];
        let plan = operation.plan.as_ref();
        if let Some(csr) = plan.and_then(|plan| plan.request.csr.as_ref()) {
            changes.push(key_owners::free(&self.table, csr.public_key())?);
        }
        self.ended(changes).await
    }

    /// Makes the device visibly STUCK: an undo failed for good.
    pub async fn stuck(
        &self,
        operation: &Operation,
        why: &Failure,
        now: Moment,
    ) -> Result<(), Failure> {
        let device = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(&operation.thing_name).item()))
            .update_expression("SET #status = :stuck")
            .condition_expression("operationId = :operation")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":stuck", table::attribute(&DeviceStatus::Stuck)?)
            .expression_attribute_values(":operation", table::attribute(&operation.operation_id)?);
        let ended = self.end(operation, OperationStatus::Stuck, Some(why), now)?;
        self.ended(vec![table::update(device)?, table::update(ended)?])
            .await
    }

    /// Writes an end; whoever lost the operation meanwhile must not undo anything.
    pub(crate) async fn ended(&self, changes: Vec<TransactWriteItem>) -> Result<(), Failure> {
        match self.table.transact(changes).await? {
            None => Ok(()),
            Some(_) => Err(taken_over()),
        }
    }

    /// The operation's end, on the condition that it is still ours.
    pub(crate) fn end(
        &self,
        operation: &Operation,
        to: OperationStatus,
        why: Option<&Failure>,
        now: Moment,
    ) -> Result<UpdateBuilder, Failure> {
        let mut update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::operation(&operation.operation_id).item()))
            .condition_expression("attempt = :attempt AND #status IN (:running, :undoing)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":attempt", table::attribute(&operation.attempt)?)
            .expression_attribute_values(":running", status(OperationStatus::Running)?)
            .expression_attribute_values(":undoing", status(OperationStatus::Undoing)?)
            .expression_attribute_values(":to", status(to)?)
            .expression_attribute_values(":now", table::attribute(&now)?);
        update = match why {
            Some(why) => update
                .update_expression("SET #status = :to, endedAt = :now, failure = :why")
                .expression_attribute_values(":why", table::attribute(why)?),
            None => update.update_expression("SET #status = :to, endedAt = :now"),
        };
        Ok(update)
    }

    pub(crate) fn put(
        &self,
        key: &Key,
        value: &impl serde::Serialize,
    ) -> Result<PutBuilder, Failure> {
        Ok(Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(key, value)?)))
    }
}

fn owner(plan: &CreatePlan) -> KeyOwner {
    KeyOwner {
        thing_name: plan.request.thing_name.clone(),
        operation_id: plan.operation_id.clone(),
    }
}

fn taken_over() -> Failure {
    Failure::busy("another delivery has taken over this operation", 1)
}

pub(crate) fn status(status: OperationStatus) -> Result<AttributeValue, Failure> {
    table::attribute(&status)
}
