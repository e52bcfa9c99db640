//! What is due, from the registry's index, and what the table itself says.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use futures_util::future::{join_all, try_join_all};
use lamplighter_domain::Failure;
use lamplighter_domain::device::{CertificateRecord, DeviceRecord, DeviceStatus, Issuer};
use lamplighter_domain::due::query::{DuePage, DueQuery};
use lamplighter_domain::due::walk::{Position, Read, Row};
use lamplighter_domain::due::{INDEX, PARTITION, SHARDS, SORT, shard};
use lamplighter_domain::names::{CertificateId, OperationId, SweepId, ThingName};
use lamplighter_domain::operation::OperationStatus;
use lamplighter_domain::sweep::Forecast;
use lamplighter_domain::sweep::page::{Standing, standing};
use lamplighter_domain::time::{Day, Moment};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::failure;
use crate::table::{self, Item, Key, Table, device_partition};

/// How many rows are looked at in the table at once.
const AT_ONCE: usize = 25;

/// One page of certificates by the day on which they are due.
pub async fn list(table: &Table, query: DueQuery, oldest: Day) -> Result<Value, Failure> {
    let mut page = DuePage::new(query, oldest);
    loop {
        let reads = page.next_reads();
        if reads.is_empty() {
            break;
        }
        page.take(try_join_all(reads.iter().map(|next| read(table, next))).await?);
    }
    let mut answer = json!({ "items": page.rows });
    if let Some(cursor) = page.next_cursor() {
        answer["nextCursor"] = cursor.into();
    }
    Ok(answer)
}

/// One read of the index, and whether the partition has more.
pub async fn read(table: &Table, read: &Read) -> Result<(Vec<Row>, bool), Failure> {
    let answer = table
        .client
        .query()
        .table_name(&table.name)
        .index_name(INDEX)
        .key_condition_expression(format!("{PARTITION} = :shard AND {SORT} <= :until"))
        .expression_attribute_values(":shard", table::attribute(&read.position.partition())?)
        .expression_attribute_values(":until", table::attribute(&until(read.until))?)
        .set_exclusive_start_key(start_key(&read.position)?)
        .limit(i32::try_from(read.limit).unwrap_or(i32::MAX))
        .send()
        .await
        .map_err(|error| failure::of("dynamodb:Query", &error))?;
    let more = answer.last_evaluated_key.is_some_and(|key| !key.is_empty());
    let items = answer.items.unwrap_or_default();
    let rows = items.into_iter().map(row).collect::<Result<_, _>>()?;
    Ok((rows, more))
}

/// `DynamoDB`'s numbers have 38 digits, the emulator's sort keys fewer.
fn until(moment: Moment) -> u64 {
    moment.0.min(1 << 53)
}

fn start_key(position: &Position) -> Result<Option<Item>, Failure> {
    let Some(mark) = &position.after else {
        return Ok(None);
    };
    let mut key = Key::certificate(&mark.thing_name, &mark.certificate_id).item();
    key.insert(
        PARTITION.to_owned(),
        table::attribute(&position.partition())?,
    );
    key.insert(SORT.to_owned(), table::attribute(&mark.due_at)?);
    Ok(Some(key))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Projected {
    certificate_id: CertificateId,
    issuer: Issuer,
    due_at: Moment,
    not_after: Moment,
}

/// The index has no thing name of its own: the table's keys, which it has, do.
fn row(item: Item) -> Result<Row, Failure> {
    let name = item
        .get("PK")
        .and_then(|key| key.as_s().ok())
        .and_then(|key| key.strip_prefix("DEVICE#"))
        .ok_or_else(|| Failure::bug("a due row belongs to no device"))?;
    let thing_name = ThingName::parse(name)?;
    let row: Projected = table::read(item)?;
    Ok(Row {
        thing_name,
        certificate_id: row.certificate_id,
        issuer: row.issuer,
        due_at: row.due_at,
        not_after: row.not_after,
    })
}

/// How many certificates are due now, from a day on, and since which day.
pub async fn forecast(table: &Table, from: Day, now: Moment) -> Result<Forecast, Failure> {
    let today = Day::of(now);
    let mut forecast = Forecast {
        due: 0,
        oldest: today,
    };
    let mut day = from.min(today);
    while day <= today {
        let shards = (0..SHARDS).map(|number| count(table, shard(day, number), now));
        let due: u64 = try_join_all(shards).await?.into_iter().sum();
        if due > 0 && forecast.due == 0 {
            forecast.oldest = day;
        }
        forecast.due += due;
        day = day.plus(1);
    }
    Ok(forecast)
}

async fn count(table: &Table, shard: String, now: Moment) -> Result<u64, Failure> {
    let mut pages = table
        .client
        .query()
        .table_name(&table.name)
        .index_name(INDEX)
        .select(Select::Count)
        .key_condition_expression(format!("{PARTITION} = :shard AND {SORT} <= :now"))
        .expression_attribute_values(":shard", AttributeValue::S(shard))
        .expression_attribute_values(":now", table::attribute(&now)?)
        .into_paginator()
        .send();
    let mut due = 0;
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure::of("dynamodb:Query", &error))?;
        due += u64::try_from(page.count).unwrap_or_default();
    }
    Ok(due)
}

/// Each row with what the table says of it to a sweep: the index lags behind.
pub async fn standings(
    table: &Table,
    rows: Vec<Row>,
    sweep: &SweepId,
    now: Moment,
) -> Result<Vec<(Row, Standing)>, Failure> {
    let mut found = Vec::with_capacity(rows.len());
    for chunk in rows.chunks(AT_ONCE) {
        let looked = join_all(chunk.iter().map(|row| look(table, row, sweep, now))).await;
        for (row, standing) in chunk.iter().zip(looked) {
            found.push((row.clone(), standing?));
        }
    }
    Ok(found)
}

async fn look(table: &Table, row: &Row, sweep: &SweepId, now: Moment) -> Result<Standing, Failure> {
    let items = table.partition(&device_partition(&row.thing_name)).await?;
    let mut items: HashMap<_, _> = items
        .into_iter()
        .filter_map(|item| Some((item.get("SK")?.as_s().ok()?.clone(), item)))
        .collect();
    let rotation: Option<Begun> = items.remove("ROTATION").map(table::read).transpose()?;
    if !still_due(items, row, now)? {
        return Ok(Standing::Settled);
    }
    let mut attempt = 0;
    loop {
        let id = OperationId::of_rotation(&row.thing_name, &row.certificate_id, attempt);
        let operation: Option<Status> = table.get(&Key::operation(&id)).await?;
        let mine = rotation.as_ref().is_some_and(|last| last.is(&id, sweep));
        let status = operation.map(|operation| operation.status);
        match (standing(attempt, status, mine), operation) {
            (Standing::Failed(_), Some(_)) => attempt += 1,
            (standing, _) => return Ok(standing),
        }
    }
}

#[derive(Clone, Copy, Deserialize)]
struct Status {
    status: OperationStatus,
}

/// What a device's last rotation was, and what it counts for.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    rotation_id: OperationId,
    #[serde(default)]
    sweep_id: Option<SweepId>,
}

impl Begun {
    fn is(&self, rotation: &OperationId, sweep: &SweepId) -> bool {
        self.rotation_id == *rotation && self.sweep_id.as_ref() == Some(sweep)
    }
}

/// Whether the certificate is the one that an ACTIVE device proved last, and
/// due, by the rows of its device.
fn still_due(mut items: HashMap<String, Item>, row: &Row, now: Moment) -> Result<bool, Failure> {
    let key = Key::certificate(&row.thing_name, &row.certificate_id);
    let (Some(record), Some(certificate)) = (items.remove("RECORD"), items.remove(&key.sk)) else {
        return Ok(false);
    };
    let record: DeviceRecord = table::read(record)?;
    let certificate: CertificateRecord = table::read(certificate)?;
    Ok(record.status == DeviceStatus::Active
        && record.certificate_id.as_ref() == Some(&row.certificate_id)
        && certificate.due_at.is_some_and(|due| due <= now))
}
