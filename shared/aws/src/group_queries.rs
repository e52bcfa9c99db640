//! Reads dynamic groups for callers: definitions, members, a device's groups.

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::try_join_all;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::DefinitionRow;
use lamplighter_domain::device::DeviceRecord;
use lamplighter_domain::membership::{
    CountRow, GroupView, MEMBER_SHARDS, MemberRow, MembershipRow, NameQuery, no_group,
};
use lamplighter_domain::names::{GroupName, ThingName};
use serde_json::{Value, json};

use crate::definitions::{self, AFTER_NAMES};
use crate::failure;
use crate::table::{self, Key, MEMBER_PREFIX, Table, member_partition};

/// One page of all definitions.
pub async fn list(table: &Table, query: &str) -> Result<Value, Failure> {
    let query = NameQuery::parse(query, "groups")?;
    let after = query.after.as_deref();
    let (found, _) = definitions::read(table, after, Some(query.limit + 1)).await?;
    Ok(query.definitions(found))
}

/// One definition, and how many members it has.
pub async fn group(table: &Table, name: &GroupName) -> Result<Value, Failure> {
    let row = definition(table, name).await?;
    let keys: Vec<_> = (0..MEMBER_SHARDS)
        .map(|shard| Key::count(name, shard))
        .collect();
    let counts = try_join_all(keys.iter().map(|key| table.get::<CountRow>(key))).await?;
    let counts: Vec<_> = counts.into_iter().flatten().collect();
    Ok(json!(GroupView::new(row, Some(&counts))))
}

/// One page of a group's members, by name.
pub async fn members(table: &Table, name: &GroupName, query: &str) -> Result<Value, Failure> {
    let query = NameQuery::parse(query, &format!("members of {name}"))?;
    definition(table, name).await?;
    let parts = (0..MEMBER_SHARDS).map(|shard| part(table, name, shard, &query));
    Ok(query.members(try_join_all(parts).await?.concat()))
}

/// What one partition has after the last page: one more than a page, or all.
async fn part(
    table: &Table,
    name: &GroupName,
    shard: u32,
    query: &NameQuery,
) -> Result<Vec<MemberRow>, Failure> {
    let low = query.after.as_ref().map_or_else(
        || MEMBER_PREFIX.to_owned(),
        |after| format!("{MEMBER_PREFIX}{after}\0"),
    );
    let answer = table
        .client
        .query()
        .table_name(&table.name)
        .key_condition_expression("PK = :pk AND SK BETWEEN :low AND :high")
        .expression_attribute_values(":pk", AttributeValue::S(member_partition(name, shard)))
        .expression_attribute_values(":low", AttributeValue::S(low))
        .expression_attribute_values(
            ":high",
            AttributeValue::S(format!("{MEMBER_PREFIX}{AFTER_NAMES}")),
        )
        .limit(i32::try_from(query.limit + 1).unwrap_or(i32::MAX))
        .send()
        .await
        .map_err(|error| failure::of("dynamodb:Query", &error))?;
    let items = answer.items.unwrap_or_default().into_iter();
    items.map(table::read).collect()
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
    Ok(query.groups(membership.as_ref()))
}

async fn definition(table: &Table, name: &GroupName) -> Result<DefinitionRow, Failure> {
    let row = table.get(&Key::definition(name)).await?;
    row.ok_or_else(|| no_group(name))
}
