//! Reads of the registry's table beyond one item and one partition.

use std::time::Duration;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes, Select};
use lamplighter_domain::Failure;
use serde::de::DeserializeOwned;

use crate::failure;
use crate::table::{self, Item, Key, Table};

/// `BatchGetItem` takes at most this many keys.
const MOST_KEYS: usize = 100;
/// How often what it has left out is asked for again.
const MOST_TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(50);

impl Table {
    /// Every item of a partition whose sort key begins so, read consistently.
    pub(crate) async fn beginning(&self, pk: &str, prefix: &str) -> Result<Vec<Item>, Failure> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("PK = :pk AND begins_with(SK, :prefix)")
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned()))
            .consistent_read(true)
            .into_paginator()
            .send();
        let mut items = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure::of("dynamodb:Query", &error))?;
            items.extend(page.items.unwrap_or_default());
        }
        Ok(items)
    }

    /// How many items an index has under one partition key.
    pub(crate) async fn count_in_index(
        &self,
        index: &str,
        key: &str,
        value: &str,
    ) -> Result<u64, Failure> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .index_name(index)
            .select(Select::Count)
            .key_condition_expression(format!("{key} = :value"))
            .expression_attribute_values(":value", AttributeValue::S(value.to_owned()))
            .into_paginator()
            .send();
        let mut all = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure::of("dynamodb:Query", &error))?;
            all += u64::try_from(page.count).unwrap_or_default();
        }
        Ok(all)
    }

    /// The items with these keys, as far as there are any, read consistently;
    /// in no order.
    pub(crate) async fn get_all<T: DeserializeOwned>(
        &self,
        keys: &[Key],
    ) -> Result<Vec<T>, Failure> {
        let mut rows = Vec::new();
        for chunk in keys.chunks(MOST_KEYS) {
            let mut left = chunk.iter().map(Key::item).collect::<Vec<_>>();
            for attempt in 0.. {
                let asked = KeysAndAttributes::builder()
                    .set_keys(Some(left))
                    .consistent_read(true)
                    .build()
                    .map_err(table::incomplete)?;
                let answer = self
                    .client
                    .batch_get_item()
                    .request_items(&self.name, asked)
                    .send()
                    .await
                    .map_err(|error| failure::of("dynamodb:BatchGetItem", &error))?;
                let found = answer.responses.unwrap_or_default();
                for item in found.into_values().flatten() {
                    rows.push(table::read(item)?);
                }
                let unread = answer.unprocessed_keys.unwrap_or_default();
                left = unread.into_values().flat_map(|left| left.keys).collect();
                if left.is_empty() {
                    break;
                }
                if attempt == MOST_TRIES {
                    return Err(Failure::busy("the registry is busy", 1));
                }
                tokio::time::sleep(PAUSE * 2_u32.pow(attempt)).await;
            }
        }
        Ok(rows)
    }
}
