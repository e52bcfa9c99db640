//! Reads of the registry's table beyond one item and one partition.

use aws_sdk_dynamodb::types::{AttributeValue, Select};
use lamplighter_domain::Failure;

use crate::failure;
use crate::table::{Item, Table};

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
    pub(crate) async fn count(&self, index: &str, key: &str, value: &str) -> Result<u64, Failure> {
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
}
