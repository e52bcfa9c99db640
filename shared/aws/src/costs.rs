//! Counts devices by billing group, by an index that holds their names alone.
//!
//! The index follows the registry by itself, so there is no count that a lost
//! or repeated event could put wrong. A million devices are some hundred pages
//! of it, read over all its partitions at once.

use futures_util::future::try_join_all;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{ItemKind, OwnedRow};
use lamplighter_domain::cost::{CostQuery, Report};
use lamplighter_domain::device::{BILLING_SHARDS, billing_shard};
use lamplighter_domain::names::BillingGroupName;

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
    let shards = (0..BILLING_SHARDS).map(async |number| {
        let shard = billing_shard(group, number);
        table.count_in_index(INDEX, "billingShard", &shard).await
    });
    Ok(try_join_all(shards).await?.into_iter().sum())
}
