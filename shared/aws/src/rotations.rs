//! A rotation's row in the registry, as renewals and deletions write it.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use lamplighter_domain::csr::PublicKeyId;
use lamplighter_domain::device::KeyOwner;
use lamplighter_domain::operation::{Operation, OperationKind, OperationStatus};
use lamplighter_domain::rotation::{Phase, Rotation};
use lamplighter_domain::sweep::Ended;
use lamplighter_domain::{Failure, Kind};

use crate::key_owners::{self, Before};
use crate::sweep_rows;
use crate::table::{self, Key, Table};
use crate::workflows;

/// Writes a row in place of the one that was read, the first of these items
/// on the condition that it still stands. An end ends the operation too, and
/// counts for the sweep.
pub(crate) fn replace(
    table: &Table,
    before: Option<&Rotation>,
    after: &Rotation,
) -> Result<Vec<TransactWriteItem>, Failure> {
    let put = Put::builder()
        .table_name(&table.name)
        .set_item(Some(table::write(
            &Key::rotation(&after.thing_name),
            after,
        )?));
    let put = match before {
        None => put.condition_expression("attribute_not_exists(PK)"),
        Some(before) => put
            .condition_expression("version = :seen AND rotationId = :id")
            .expression_attribute_values(":seen", table::attribute(&before.version)?)
            .expression_attribute_values(":id", table::attribute(&before.rotation_id)?),
    };
    let mut changes = vec![table::put(put)?];
    if after.phase.ended() && before.is_some_and(|before| !before.phase.ended()) {
        changes.push(ended(table, after)?);
        if let Some(sweep) = &after.sweep_id {
            let how = match &after.wish {
                _ if after.renewed() => Ended::Renewed,
                Some(_) => Ended::Failed,
                None => Ended::Silent,
            };
            changes.push(sweep_rows::ended(table, sweep, how)?);
        }
    }
    Ok(changes)
}

/// Adds to some changes that the keys which come into a rotation are claimed
/// and those that leave it are freed. The answer is where the claims begin.
pub(crate) fn hold_keys(
    table: &Table,
    held: &BTreeSet<PublicKeyId>,
    after: &Rotation,
    changes: &mut Vec<TransactWriteItem>,
) -> Result<usize, Failure> {
    let holds = after.keys();
    for key in held.difference(&holds) {
        changes.push(key_owners::free(table, key)?);
    }
    let claims = changes.len();
    let owner = KeyOwner {
        thing_name: after.thing_name.clone(),
        operation_id: after.rotation_id.clone(),
    };
    for key in holds.difference(held) {
        changes.push(key_owners::claim(table, key, &owner, Before::Nobodys)?);
    }
    Ok(claims)
}

/// The operation of a rotation that begins, on the condition that it never was.
pub(crate) fn operation(table: &Table, rotation: &Rotation) -> Result<TransactWriteItem, Failure> {
    let operation = Operation::begun(
        rotation.rotation_id.clone(),
        OperationKind::Renew,
        rotation.thing_name.clone(),
        rotation.started_at,
    );
    let key = Key::operation(&rotation.rotation_id);
    let put = Put::builder()
        .table_name(&table.name)
        .set_item(Some(table::write(&key, &operation)?))
        .condition_expression("attribute_not_exists(PK)");
    table::put(put)
}

/// Ends the wait of the workflow of a rotation that was fenced, so that it
/// takes a job back that carried its word.
pub(crate) async fn let_go(sfn: &aws_sdk_sfn::Client, row: &Rotation) -> Result<(), Failure> {
    match &row.task_token {
        Some(token) if row.phase == Phase::Fenced => workflows::wake(sfn, token).await,
        _ => Ok(()),
    }
}

/// The operation's end.
fn ended(table: &Table, rotation: &Rotation) -> Result<TransactWriteItem, Failure> {
    let update = Update::builder()
        .table_name(&table.name)
        .set_key(Some(Key::operation(&rotation.rotation_id).item()))
        .condition_expression("#status = :running")
        .expression_attribute_names("#status", "status")
        .expression_attribute_values(":running", table::attribute(&OperationStatus::Running)?)
        .expression_attribute_values(":now", table::attribute(&rotation.ended_at)?);
    let update = match rotation.new_id().filter(|_| rotation.renewed()) {
        Some(new) => update
            .update_expression("SET #status = :to, endedAt = :now, certificateId = :new")
            .expression_attribute_values(":to", table::attribute(&OperationStatus::Done)?)
            .expression_attribute_values(":new", table::attribute(new)?),
        None => update
            .update_expression("SET #status = :to, endedAt = :now, failure = :why")
            .expression_attribute_values(":to", table::attribute(&OperationStatus::Failed)?)
            .expression_attribute_values(":why", table::attribute(&not_renewed(rotation))?),
    };
    table::update(update)
}

/// Why a rotation that has ended did not renew.
fn not_renewed(rotation: &Rotation) -> Failure {
    let reason = match (rotation.phase, &rotation.wish) {
        (Phase::Fenced, _) => {
            return Failure::new(
                Kind::NotFound,
                "the device was deleted meanwhile, or a case of compromise has cut it off",
                "GET /devices/{thingName} says which.",
            );
        }
        _ if rotation.aborted => "the rotation was aborted",
        (_, None) => "the device sent no signing request before the deadline",
        (_, Some(_)) => "the device did not prove its new certificate before the deadline",
    };
    Failure::new(
        Kind::NotFound,
        reason,
        "The old certificate stays in force. A due device is asked again, a day later at the earliest.",
    )
}
