//! Reads dynamic groups for callers: definitions, members and how these change, a
//! device's groups and document.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use lamplighter_domain::Failure;
use lamplighter_domain::building::{Change, ChangeQuery, ShardRow, Standing, standing, throughout};
use lamplighter_domain::catalog::{DefinitionRow, DefinitionStatus, Materialize};
use lamplighter_domain::device::DeviceRecord;
use lamplighter_domain::membership::{
    CountRow, DefinitionsVersion, DocumentRow, GroupView, MEMBER_SHARDS, MemberRow, MembershipRow,
    NameQuery, no_group,
};
use lamplighter_domain::names::{GroupName, ThingName};
use serde_json::{Value, json};

use crate::definitions::{self, AFTER_NAMES};
use crate::table::{self, CHANGE_PREFIX, Item, Key, MEMBER_PREFIX, Table, member_partition};
use crate::{clock, failure};

/// One page of all definitions.
pub async fn list(table: &Table, query: &str) -> Result<Value, Failure> {
    let query = NameQuery::parse(query, "groups")?;
    let seen = Seen::read(table).await?;
    let after = query.after.as_deref();
    let (found, _) = definitions::read(table, after, Some(query.limit + 1)).await?;
    Ok(query.definitions(found, |row| seen.standing(standing(row, seen.versions))))
}

/// One definition, and how many members it has.
pub async fn group(table: &Table, name: &GroupName) -> Result<Value, Failure> {
    let keys: Vec<_> = (0..MEMBER_SHARDS)
        .map(|shard| Key::count(name, shard))
        .collect();
    let reading = async || {
        let counts = keys.iter().map(|key| table.get::<CountRow>(key));
        Ok(try_join_all(counts).await?.into_iter().flatten().collect())
    };
    let seen = Seen::read(table).await?;
    let (row, status, counts) = between(table, name, seen.versions, reading).await?;
    let counts: Vec<_> = counts;
    Ok(json!(GroupView::new(
        row,
        Some(&counts),
        seen.standing(status)
    )))
}

/// One page of a group's members, by name, and whether these are all known.
pub async fn members(table: &Table, name: &GroupName, query: &str) -> Result<Value, Failure> {
    let query = NameQuery::parse(query, &format!("members of {name}"))?;
    let reading = async || {
        let parts = (0..MEMBER_SHARDS).map(|shard| part(table, name, shard, &query));
        Ok(try_join_all(parts).await?.concat())
    };
    let seen = Seen::read(table).await?;
    let (_, status, found) = between(table, name, seen.versions, reading).await?;
    let standing = seen.standing(status);
    let mut page = query.members(found);
    page["status"] = json!(standing.status);
    if let Some(progress) = standing.progress {
        page["progress"] = progress.into();
    }
    Ok(page)
}

/// Enters and leaves of a group, in the order of their time.
pub async fn changes(table: &Table, name: &GroupName, query: &str) -> Result<Value, Failure> {
    let now = clock::now();
    let query = ChangeQuery::parse(query, name, now)?;
    definition(table, name).await?;
    let parts = (0..MEMBER_SHARDS).map(async |shard| {
        let after = Some(query.after());
        let items = read_part(table, name, shard, (CHANGE_PREFIX, after, query.limit + 1)).await?;
        let change = |item: Item| {
            let key = Key::of(&item).map(|key| key.sk).unwrap_or_default();
            let key = key
                .strip_prefix(CHANGE_PREFIX)
                .unwrap_or_default()
                .to_owned();
            let row = table::read(item)?;
            Ok(Change { key, row })
        };
        items
            .into_iter()
            .map(change)
            .collect::<Result<Vec<_>, Failure>>()
    });
    Ok(query.page(try_join_all(parts).await?.concat(), now))
}

/// The document that queries ask about one device.
pub async fn document(table: &Table, name: &ThingName) -> Result<Value, Failure> {
    let (device, document) = (Key::device(name), Key::document(name));
    let (record, row) = futures_util::try_join!(
        table.get::<DeviceRecord>(&device),
        table.get::<DocumentRow>(&document)
    )?;
    if record.is_none() {
        return Err(DeviceRecord::absent(name));
    }
    let (rows, _) = definitions::read(table, None, None).await?;
    let native = |row: &DefinitionRow| row.definition.materialize == Materialize::Native;
    let native: Vec<_> = rows.into_iter().filter(native).collect();
    let is_native = |group: &str| native.iter().any(|n| n.definition.name.as_str() == group);
    row.and_then(|row| row.json(is_native)).ok_or_else(|| {
        Failure::not_found(
            "thingName",
            format!("nothing is known yet of {name}"),
            "Ask again in some seconds.",
        )
    })
}

/// What is known of all definitions at one moment.
struct Seen {
    versions: DefinitionsVersion,
    shards: Vec<ShardRow>,
}

impl Seen {
    async fn read(table: &Table) -> Result<Self, Failure> {
        let versions = definitions::versions(table).await?;
        // Only then is anybody told how far it is.
        let shards = if versions.swept < versions.version {
            definitions::shard_rows(table).await?
        } else {
            Vec::new()
        };
        Ok(Self { versions, shards })
    }

    fn standing(&self, status: DefinitionStatus) -> Standing {
        Standing::new(status, self.versions, &self.shards)
    }
}

/// Reads something of a group, and whether its members were all known all the
/// while. `before` was read before this.
///
/// # Errors
/// `NotFound` without the group.
pub(crate) async fn between<T>(
    table: &Table,
    name: &GroupName,
    before: DefinitionsVersion,
    reading: impl AsyncFnOnce() -> Result<T, Failure>,
) -> Result<(DefinitionRow, DefinitionStatus, T), Failure> {
    let row = definition(table, name).await?;
    let found = reading().await?;
    let after = definitions::versions(table).await?;
    let then: Option<DefinitionRow> = table.get(&Key::definition(name)).await?;
    let then = then.as_ref().map(|row| (row, after));
    let status = throughout((&row, before), then);
    Ok((row, status, found))
}

/// What one partition has after the last page: one more than a page, or all.
async fn part(
    table: &Table,
    name: &GroupName,
    shard: u32,
    query: &NameQuery,
) -> Result<Vec<MemberRow>, Failure> {
    let wanted = (MEMBER_PREFIX, query.after.as_deref(), query.limit + 1);
    let items = read_part(table, name, shard, wanted).await?.into_iter();
    items.map(table::read).collect()
}

/// So many items at most of one kind, of those after a key.
async fn read_part(
    table: &Table,
    name: &GroupName,
    shard: u32,
    (prefix, after, limit): (&str, Option<&str>, usize),
) -> Result<Vec<Item>, Failure> {
    let low = after.map_or_else(|| prefix.to_owned(), |after| format!("{prefix}{after}\0"));
    let answer = table
        .client
        .query()
        .table_name(&table.name)
        .key_condition_expression("PK = :pk AND SK BETWEEN :low AND :high")
        .expression_attribute_values(":pk", AttributeValue::S(member_partition(name, shard)))
        .expression_attribute_values(":low", AttributeValue::S(low))
        .expression_attribute_values(":high", AttributeValue::S(format!("{prefix}{AFTER_NAMES}")))
        .limit(i32::try_from(limit).unwrap_or(i32::MAX))
        .send()
        .await
        .map_err(|error| failure::of("dynamodb:Query", &error))?;
    Ok(answer.items.unwrap_or_default())
}

/// One page of the dynamic groups that a device is in, by name.
pub async fn of_device(table: &Table, name: &ThingName, query: &str) -> Result<Value, Failure> {
    let query = NameQuery::parse(query, &format!("groups of {name}"))?;
    let (device, groups) = (Key::device(name), Key::membership(name));
    let (record, membership) = futures_util::try_join!(
        table.get::<DeviceRecord>(&device),
        table.get::<MembershipRow>(&groups)
    )?;
    if record.is_none() {
        return Err(DeviceRecord::absent(name));
    }
    let (rows, _) = definitions::read(table, None, None).await?;
    let defined: BTreeSet<_> = rows.into_iter().map(|row| row.definition.name).collect();
    Ok(query.groups(membership.as_ref(), |name| defined.contains(name)))
}

async fn definition(table: &Table, name: &GroupName) -> Result<DefinitionRow, Failure> {
    let row = table.get(&Key::definition(name)).await?;
    row.ok_or_else(|| no_group(name))
}
