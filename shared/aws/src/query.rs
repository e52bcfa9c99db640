//! Reads the registry for callers. AWS is never listed.

use lamplighter_domain::Failure;
use lamplighter_domain::compromise::{Case, CaseView};
use lamplighter_domain::device::{CertificateRecord, DeviceRecord, Preregistration, Tombstone};
use lamplighter_domain::listing::{ListQuery, Page, Read};
use lamplighter_domain::names::{CaseId, OperationId, ThingName};
use lamplighter_domain::operation::{Operation, OperationKind};
use lamplighter_domain::rotation::Rotation;
use lamplighter_domain::view::{DeviceView, OperationView, absent};
use serde_json::{Value, json};

use crate::failure;
use crate::table::{self, Key, Table, device_partition, sort_key};

const INDEX: &str = "listing";

/// One page of the fleet, as a caller sees it.
pub async fn list(table: &Table, query: ListQuery) -> Result<Value, Failure> {
    let mut page = Page::new(query);
    while let Some(next) = page.next_read() {
        let (found, more) = read_index(table, &next).await?;
        page.take(found, more);
    }
    let mut answer =
        json!({ "items": page.devices.iter().map(DeviceView::new).collect::<Vec<_>>() });
    if let Some(cursor) = page.next_cursor() {
        answer["nextCursor"] = cursor.into();
    }
    Ok(answer)
}

/// Some devices of one shard of the listing, and whether it has more.
pub(crate) async fn read_index(
    table: &Table,
    next: &Read,
) -> Result<(Vec<DeviceRecord>, bool), Failure> {
    let mut query = table
        .client
        .query()
        .table_name(&table.name)
        .index_name(INDEX)
        .key_condition_expression(match next.after {
            Some(_) => "listingShard = :shard AND thingName > :after",
            None => "listingShard = :shard",
        })
        .expression_attribute_values(":shard", table::attribute(&next.shard)?)
        .limit(i32::try_from(next.limit).unwrap_or(i32::MAX));
    if let Some(after) = &next.after {
        query = query.expression_attribute_values(":after", table::attribute(after)?);
    }
    let answer = query
        .send()
        .await
        .map_err(|error| failure::of("dynamodb:Query", &error))?;
    let more = answer.last_evaluated_key.is_some_and(|key| !key.is_empty());
    let found = answer
        .items
        .unwrap_or_default()
        .into_iter()
        .map(table::read)
        .collect::<Result<_, _>>()?;
    Ok((found, more))
}

/// One device with its certificates, or why there is none.
pub async fn device(table: &Table, name: &ThingName) -> Result<Value, Failure> {
    let (mut record, mut tombstone, mut preregistration) = (None, None, None);
    let mut certificates: Vec<CertificateRecord> = Vec::new();
    for item in table.partition(&device_partition(name)).await? {
        match sort_key(&item) {
            "RECORD" => record = Some(table::read::<DeviceRecord>(item)?),
            "TOMBSTONE" => tombstone = Some(table::read::<Tombstone>(item)?),
            "PREREGISTRATION" => preregistration = Some(table::read::<Preregistration>(item)?),
            key if key.starts_with("CERT#") => certificates.push(table::read(item)?),
            _ => {}
        }
    }
    let record =
        record.ok_or_else(|| absent(name, tombstone.as_ref(), preregistration.as_ref()))?;
    Ok(json!(
        DeviceView::new(&record).with_certificates(&certificates)
    ))
}

/// One operation; a renewal with how far its rotation has come.
pub async fn operation(table: &Table, id: &OperationId) -> Result<Value, Failure> {
    let operation: Operation = table.get(&Key::operation(id)).await?.ok_or_else(|| {
        Failure::not_found(
            "operationId",
            format!("there is no operation {id}"),
            "Check the id; an operation is forgotten 90 days after its end.",
        )
    })?;
    let rotation: Option<Rotation> = match operation.kind {
        OperationKind::Renew => table.get(&Key::rotation(&operation.thing_name)).await?,
        OperationKind::Create | OperationKind::Delete | OperationKind::Update => None,
    };
    Ok(json!(
        OperationView::new(&operation).with_rotation(rotation.as_ref())
    ))
}

/// One case of compromise.
pub async fn case(table: &Table, id: &CaseId) -> Result<Value, Failure> {
    let case: Case = table
        .get(&Key::case(id))
        .await?
        .ok_or_else(|| no_case(id))?;
    Ok(json!(CaseView::new(&case)))
}

/// That there is no such case.
pub(crate) fn no_case(id: &CaseId) -> Failure {
    Failure::not_found(
        "caseId",
        format!("there is no case {id}"),
        "Use the caseId that the report was answered with.",
    )
}
