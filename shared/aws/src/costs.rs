//! Counts devices by billing group, by an index that holds their names alone.
//!
//! The index follows the registry by itself, so there is no count that a lost
//! or repeated event could put wrong. A million devices are some hundred pages
//! of it, read over all its partitions at once.

use aws_sdk_dynamodb::types::Select;
use futures_util::future::try_join_all;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{ItemKind, OwnedRow};
use lamplighter_domain::cost::{CostQuery, Report};
use lamplighter_domain::device::{BILLING_SHARDS, billing_shard};
use lamplighter_domain::names::BillingGroupName;

use crate::failure;
use crate::table::{self, CATALOG, Table};

const INDEX: &str = "billing";

/// The report by billing group: those of catalogs, and no group at all.
pub async fn report(table: &Table, asked: CostQuery) -> Result<Report, Failure> {
    let mut groups = vec![None];
    for item in table.partition(CATALOG).await? {
        let OwnedRow { owned, .. } = table::read(item)?;
        if owned.kind == ItemKind::BillingGroup {
            groups.push(Some(BillingGroupName::parse(&owned.name)?));
        }
    }
    let counts = groups.into_iter().map(async |group| {
        let devices = devices(table, group.as_ref()).await?;
        Ok::<_, Failure>((group, devices))
    });
    Ok(asked.report(try_join_all(counts).await?))
}

async fn devices(table: &Table, group: Option<&BillingGroupName>) -> Result<u64, Failure> {
    let shards = (0..BILLING_SHARDS).map(|number| count(table, billing_shard(group, number)));
    Ok(try_join_all(shards).await?.into_iter().sum())
}

async fn count(table: &Table, shard: String) -> Result<u64, Failure> {
    let query = table.client.query().table_name(&table.name);
    let mut pages = query
        .index_name(INDEX)
        .select(Select::Count)
        .key_condition_expression("billingShard = :shard")
        .expression_attribute_values(":shard", table::attribute(&shard)?)
        .into_paginator()
        .send();
    let mut all = 0;
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure::of("dynamodb:Query", &error))?;
        all += u64::try_from(page.count).unwrap_or_default();
    }
    Ok(all)
}
