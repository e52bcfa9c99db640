//! All definitions of dynamic groups, compiled, and kept as long as their
//! version is the same.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::types::AttributeValue;
use lamplighter_domain::Failure;
use lamplighter_domain::building::ShardRow;
use lamplighter_domain::catalog::DefinitionRow;
use lamplighter_domain::membership::{Definitions, DefinitionsVersion};

use crate::failure;
use crate::table::{self, DEFINITION_PREFIX, DEFINITIONS, Key, SWEEP_PREFIX, Table};

/// How often definitions that change while they are read are read again.
const MOST_READS: usize = 3;
/// Sorts after every character of a name.
pub(crate) const AFTER_NAMES: &str = "~";

/// The definitions as they were last read.
#[derive(Debug, Default)]
pub struct Kept(Mutex<Option<Arc<Definitions>>>);

impl Kept {
    /// The definitions as they are now.
    ///
    /// # Errors
    /// `Busy` while they keep changing.
    pub async fn current(&self, table: &Table) -> Result<Arc<Definitions>, Failure> {
        let mut version = version(table).await?;
        for _ in 0..MOST_READS {
            let last = self.last().clone();
            if let Some(kept) = last.filter(|kept| kept.version == version) {
                return Ok(kept);
            }
            let (rows, _) = read(table, None, None).await?;
            // Read in pages, which together are of one version only if that is
            // the same before and after.
            let after = self::version(table).await?;
            if after == version {
                let rows = rows.into_iter().map(|row| row.definition);
                let compiled = Arc::new(Definitions::compile(version, rows));
                for (group, failure) in &compiled.refused {
                    tracing::error!(group, reason = failure.reason, "a definition is skipped");
                }
                *self.last() = Some(compiled);
            }
            version = after;
        }
        Err(Failure::busy("the definitions are changing", 1))
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Arc<Definitions>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn version(table: &Table) -> Result<u64, Failure> {
    Ok(versions(table).await?.version)
}

/// The newest version, and the one that every device was asked by last.
pub(crate) async fn versions(table: &Table) -> Result<DefinitionsVersion, Failure> {
    let row: Option<DefinitionsVersion> = table.get(&Key::definitions()).await?;
    Ok(row.unwrap_or_default())
}

/// How far the newest sweep is, shard by shard.
pub(crate) async fn shard_rows(table: &Table) -> Result<Vec<ShardRow>, Failure> {
    let items = table.beginning(DEFINITIONS, SWEEP_PREFIX).await?;
    items.into_iter().map(table::read).collect()
}

/// Definitions by name, those after one name, and so many at most; and whether
/// there are more.
pub(crate) async fn read(
    table: &Table,
    after: Option<&str>,
    limit: Option<usize>,
) -> Result<(Vec<DefinitionRow>, bool), Failure> {
    let low = after.map_or_else(
        || DEFINITION_PREFIX.to_owned(),
        |after| format!("{DEFINITION_PREFIX}{after}\0"),
    );
    let high = format!("{DEFINITION_PREFIX}{AFTER_NAMES}");
    let mut pages = table
        .client
        .query()
        .table_name(&table.name)
        .key_condition_expression("PK = :pk AND SK BETWEEN :low AND :high")
        .expression_attribute_values(":pk", AttributeValue::S(DEFINITIONS.to_owned()))
        .expression_attribute_values(":low", AttributeValue::S(low))
        .expression_attribute_values(":high", AttributeValue::S(high))
        .consistent_read(true)
        .set_limit(limit.and_then(|limit| i32::try_from(limit).ok()))
        .into_paginator()
        .send();
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| failure::of("dynamodb:Query", &error))?;
        for item in page.items.unwrap_or_default() {
            rows.push(table::read(item)?);
        }
        if limit.is_some_and(|limit| rows.len() >= limit) {
            return Ok((rows, true));
        }
    }
    Ok((rows, false))
}
