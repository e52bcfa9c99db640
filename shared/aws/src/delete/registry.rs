//! A deletion's rows: claimed, held by a lease, and buried in one transaction.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::{AttributeValue, Delete, Put, TransactWriteItem, Update};
use lamplighter_domain::Failure;
use lamplighter_domain::delete::{self as plan, DeleteProgress, ProofLine};
use lamplighter_domain::device::{CertificateRecord, DeviceRecord, DeviceStatus, Tombstone};
use lamplighter_domain::membership::{MemberRow, MembershipRow};
use lamplighter_domain::names::{GroupName, OperationId, ThingName};
use lamplighter_domain::operation::{KEPT_MILLIS, Operation, OperationKind, OperationStatus};
use lamplighter_domain::rotation::Rotation;
use lamplighter_domain::time::Moment;

use super::Deletion;
use super::observe::Look;
use crate::failure::{self, Cause};
use crate::key_owners;
use crate::links::at_once;
use crate::rotations;
use crate::table::{self, Item, Key};

/// An operation that this invocation holds.
pub(super) struct Held {
    pub(super) operation: Operation,
    pub(super) progress: DeleteProgress,
    pub(super) proof: Vec<ProofLine>,
}

/// Everything that the registry has under a device's name.
#[derive(Default)]
pub(super) struct Rows {
    pub(super) record: Option<DeviceRecord>,
    pub(super) tombstone: Option<Tombstone>,
    pub(super) certificates: Vec<CertificateRecord>,
    pub(super) rotation: Option<Rotation>,
    /// Whether there is a document for dynamic groups.
    pub(super) document: bool,
    pub(super) membership: Option<MembershipRow>,
    /// The keys of every row but the record and the tombstone.
    others: Vec<Key>,
}

/// A transaction holds at most 100 items; three are the record, the tombstone
/// and the operation.
const MOST_ROWS: usize = 97;

impl Deletion {
    pub(super) async fn operation(&self, id: &OperationId) -> Result<Option<Operation>, Failure> {
        self.table.get(&Key::operation(id)).await
    }

    pub(super) async fn rows(&self, name: &ThingName) -> Result<Rows, Failure> {
        let mut rows = Rows::default();
        for item in self.table.partition(&table::device_partition(name)).await? {
            let key = key_of(&item)?;
            match key
                .sk
                .split_once('#')
                .map_or(key.sk.as_str(), |(kind, _)| kind)
            {
                "RECORD" => rows.record = Some(table::read(item)?),
                "TOMBSTONE" => rows.tombstone = Some(table::read(item)?),
                "CERT" => {
                    rows.certificates.push(table::read(item)?);
                    rows.others.push(key);
                }
                "ROTATION" => {
                    rows.rotation = Some(table::read(item)?);
                    rows.others.push(key);
                }
                "MEMBERSHIP" => {
                    rows.membership = Some(table::read(item)?);
                    rows.others.push(key);
                }
                kind => {
                    rows.document |= kind == "DOCUMENT";
                    rows.others.push(key);
                }
            }
        }
        Ok(rows)
    }

    /// Which of these groups have the device among their members.
    pub(super) async fn member_of(
        &self,
        name: &ThingName,
        groups: impl IntoIterator<Item = &GroupName>,
    ) -> Result<BTreeSet<GroupName>, Failure> {
        let looks = groups.into_iter().map(async |group| {
            let row: Option<MemberRow> = self.table.get(&Key::member(group, name)).await?;
            Ok::<_, Failure>(row.map(|_| group.clone()))
        });
        let found: Result<Vec<_>, _> = at_once(looks).await.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    /// Removes the rows that put the device into dynamic groups. As long as it
    /// is not ACTIVE, none come again; the groups' own rows follow.
    pub(super) async fn leave_dynamic_groups(&self, name: &ThingName) -> Result<(), Failure> {
        let gone = [Key::document(name), Key::membership(name)].map(|key| {
            let delete = Delete::builder().table_name(&self.table.name);
            table::delete(delete.set_key(Some(key.item())))
        });
        let gone = gone.into_iter().collect::<Result<_, _>>()?;
        self.table.transact(gone).await.map(drop)
    }

    /// Begins a deletion: the device is DELETING, the operation stands, and a
    /// creation or rotation whose lease is over can no longer go on. False if
    /// the device changed meanwhile.
    pub(super) async fn begin(
        &self,
        record: &DeviceRecord,
        operation: &Operation,
        fence: Option<&OperationId>,
        rotation: Option<(&Rotation, Rotation)>,
    ) -> Result<bool, Failure> {
        let name = &record.request.thing_name;
        let device = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(name).item()))
            .update_expression("SET #status = :deleting, operationId = :operation")
            .condition_expression("operationId = :seen AND #status = :status")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":deleting", table::attribute(&DeviceStatus::Deleting)?)
            .expression_attribute_values(":operation", table::attribute(&operation.operation_id)?)
            .expression_attribute_values(":seen", table::attribute(&record.operation_id)?)
            .expression_attribute_values(":status", table::attribute(&record.status)?);
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(
                &Key::operation(&operation.operation_id),
                operation,
            )?))
            .condition_expression("attribute_not_exists(PK)");
        let mut changes = vec![table::update(device)?, table::put(put)?];
        if let Some(creation) = fence {
            changes.push(self.fence(creation, operation.started_at)?);
        }
        if let Some((seen, fenced)) = rotation {
            changes.extend(rotations::replace(&self.table, Some(seen), &fenced)?);
        }
        self.table
            .transact(changes)
            .await
            .map(|refused| refused.is_none())
    }

    /// Ends a creation or an update that nobody works on any more.
    fn fence(&self, creation: &OperationId, now: Moment) -> Result<TransactWriteItem, Failure> {
        let why = Failure::conflict(
            "thingName",
            "the device was deleted before the operation had ended",
            "Create it anew.",
        );
        let update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::operation(creation).item()))
            .update_expression(
                "SET #status = :failed, endedAt = :now, failure = :why, expiresAt = :expires",
            )
            .condition_expression("leaseUntil < :now AND #status IN (:running, :undoing)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":failed", table::attribute(&OperationStatus::Failed)?)
            .expression_attribute_values(":now", table::attribute(&now)?)
            .expression_attribute_values(":why", table::attribute(&why)?)
            .expression_attribute_values(":expires", table::attribute(&expiry(now))?)
            .expression_attribute_values(":running", table::attribute(&OperationStatus::Running)?)
            .expression_attribute_values(":undoing", table::attribute(&OperationStatus::Undoing)?);
        table::update(update)
    }

    /// Takes the operation up, unless another invocation holds it.
    pub(super) async fn hold(
        &self,
        seen: &Operation,
        now: Moment,
        until: Moment,
    ) -> Result<Option<Held>, Failure> {
        let mut operation = seen.clone();
        operation.attempt += 1;
        operation.lease_until = until;
        let taken = self
            .update(
                &seen.operation_id,
                "SET attempt = :next, leaseUntil = :until",
                "attempt = :attempt AND leaseUntil <= :now AND #status = :running",
                [
                    (":next", table::attribute(&operation.attempt)?),
                    (":until", table::attribute(&until)?),
                    (":attempt", table::attribute(&seen.attempt)?),
                    (":now", table::attribute(&now)?),
                ],
            )
            .await?;
        Ok(taken.then(|| Held::new(operation)))
    }

    /// Persists what is known and extends the lease, before effects. False if
    /// the operation is no longer ours.
    pub(super) async fn renew(&self, held: &Held, until: Moment) -> Result<bool, Failure> {
        self.persist(held, until).await
    }

    /// Persists what is known and gives the lease back.
    pub(super) async fn let_go(&self, held: &Held) -> Result<(), Failure> {
        self.persist(held, Moment(0)).await.map(drop)
    }

    async fn persist(&self, held: &Held, until: Moment) -> Result<bool, Failure> {
        self.update(
            &held.operation.operation_id,
            "SET leaseUntil = :until, deletion = :deletion, proof = :proof",
            "attempt = :attempt AND #status = :running",
            [
                (":until", table::attribute(&until)?),
                (":deletion", table::attribute(&held.progress)?),
                (":proof", table::attribute(&held.proof)?),
                (":attempt", table::attribute(&held.operation.attempt)?),
            ],
        )
        .await
    }

    /// Ends the operation as FAILED; the device stays DELETING.
    pub(super) async fn fail(
        &self,
        held: &Held,
        why: &Failure,
        now: Moment,
    ) -> Result<bool, Failure> {
        self.update(
            &held.operation.operation_id,
            "SET #status = :failed, endedAt = :now, failure = :why, proof = :proof, \
             deletion = :deletion, expiresAt = :expires",
            "attempt = :attempt AND #status = :running",
            [
                (":failed", table::attribute(&OperationStatus::Failed)?),
                (":now", table::attribute(&now)?),
                (":why", table::attribute(why)?),
                (":proof", table::attribute(&held.proof)?),
                (":deletion", table::attribute(&held.progress)?),
                (":expires", table::attribute(&expiry(now))?),
                (":attempt", table::attribute(&held.operation.attempt)?),
            ],
        )
        .await
    }

    /// Buries the device: its rows go, a tombstone comes, and the operation is
    /// DONE with its proof, all or nothing. False if it is no longer ours.
    pub(super) async fn commit(
        &self,
        held: &Held,
        look: &Look,
        now: Moment,
    ) -> Result<bool, Failure> {
        let name = &held.operation.thing_name;
        let id = &held.operation.operation_id;
        let record = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(name).item()))
            .condition_expression("operationId = :operation AND #status = :deleting")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":operation", table::attribute(id)?)
            .expression_attribute_values(":deleting", table::attribute(&DeviceStatus::Deleting)?);
        let earlier = look.rows.tombstone.as_ref();
        let tombstone = plan::tombstone(name, id, &held.progress, earlier, now);
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::tombstone(name), &tombstone)?));
        let mut changes = vec![
            table::delete(record)?,
            table::put(put)?,
            self.done(held, now)?,
        ];
        let mut others = self.owned(name, &look.rows).await?;
        others.extend(look.rows.others.iter().cloned());
        let (within, beyond) = others.split_at(others.len().min(MOST_ROWS));
        for key in beyond {
            self.remove(key).await?;
        }
        for key in within {
            let delete = Delete::builder()
                .table_name(&self.table.name)
                .set_key(Some(key.item()));
            changes.push(table::delete(delete)?);
        }
        self.table
            .transact(changes)
            .await
            .map(|refused| refused.is_none())
    }

    /// The rows that keep the device's public keys from others.
    async fn owned(&self, name: &ThingName, rows: &Rows) -> Result<Vec<Key>, Failure> {
        let keys = plan::keys(
            rows.record.as_ref(),
            &rows.certificates,
            rows.rotation.as_ref(),
        );
        let mut owned = Vec::new();
        for key in &keys {
            if key_owners::owns(&self.table, name, key).await? {
                owned.push(Key::owner(key));
            }
        }
        Ok(owned)
    }

    fn done(&self, held: &Held, now: Moment) -> Result<TransactWriteItem, Failure> {
        let update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::operation(&held.operation.operation_id).item()))
            .update_expression(
                "SET #status = :done, endedAt = :now, proof = :proof, deletion = :deletion, \
                 expiresAt = :expires",
            )
            .condition_expression("attempt = :attempt AND #status = :running")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":done", table::attribute(&OperationStatus::Done)?)
            .expression_attribute_values(":now", table::attribute(&now)?)
            .expression_attribute_values(":proof", table::attribute(&held.proof)?)
            .expression_attribute_values(":deletion", table::attribute(&held.progress)?)
            .expression_attribute_values(":expires", table::attribute(&expiry(now))?)
            .expression_attribute_values(":attempt", table::attribute(&held.operation.attempt)?)
            .expression_attribute_values(":running", table::attribute(&OperationStatus::Running)?);
        table::update(update)
    }

    async fn remove(&self, key: &Key) -> Result<(), Failure> {
        let request = self.table.client.delete_item().table_name(&self.table.name);
        let answer = request.set_key(Some(key.item())).send().await;
        answer
            .map(drop)
            .map_err(|error| failure::of("dynamodb:DeleteItem", &error))
    }

    /// Changes a running operation; false if the condition does not hold.
    async fn update<const N: usize>(
        &self,
        id: &OperationId,
        expression: &str,
        condition: &str,
        values: [(&str, AttributeValue); N],
    ) -> Result<bool, Failure> {
        let mut values: HashMap<_, _> = values
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        values.insert(
            ":running".to_owned(),
            table::attribute(&OperationStatus::Running)?,
        );
        let answer = self
            .table
            .client
            .update_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::operation(id).item()))
            .update_expression(expression)
            .condition_expression(condition)
            .expression_attribute_names("#status", "status")
            .set_expression_attribute_values(Some(values))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) if failure::cause(&error) == Cause::Condition => Ok(false),
            Err(error) => Err(failure::of("dynamodb:UpdateItem", &error)),
        }
    }
}

/// A deletion as its claim writes it. No invocation holds it yet.
pub(super) fn begun(
    id: OperationId,
    name: &ThingName,
    inherited: DeleteProgress,
    now: Moment,
) -> Operation {
    Operation {
        deletion: Some(inherited),
        expires_at: None,
        ..Operation::begun(id, OperationKind::Delete, name.clone(), now)
    }
}

fn expiry(now: Moment) -> u64 {
    now.plus_millis(KEPT_MILLIS).epoch_seconds()
}

fn key_of(item: &Item) -> Result<Key, Failure> {
    let part = |name: &str| {
        let text = item.get(name).and_then(|value| value.as_s().ok());
        text.cloned()
            .ok_or_else(|| Failure::bug(format!("a registry item without {name}")))
    };
    Ok(Key {
        pk: part("PK")?,
        sk: part("SK")?,
    })
}
