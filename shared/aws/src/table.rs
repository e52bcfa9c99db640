//! The registry's table: typed items in and out, one key scheme.
//!
//! Decisions read consistently; only listings read an index.

use std::collections::HashMap;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::{
    ConditionCheckBuilder, DeleteBuilder, PutBuilder, UpdateBuilder,
};
use aws_sdk_dynamodb::types::{AttributeValue, Select, TransactWriteItem};
use lamplighter_domain::{Failure, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{failure, setup};

mod keys;

pub use keys::*;

/// How often a transaction is tried whose items others change as well, and how
/// long the first pause is; each is twice as long as the one before.
const MOST_TRIES: u32 = 6;
const PAUSE: Duration = Duration::from_millis(40);

/// One item as `DynamoDB` has it.
pub type Item = HashMap<String, AttributeValue>;

/// The table and the client that reaches it.
#[derive(Clone)]
pub struct Table {
    /// The client.
    pub client: Client,
    /// The table's name.
    pub name: String,
}

/// Reasons to cancel a transaction that pass by themselves.
const TRANSIENT: [&str; 4] = [
    "None",
    "TransactionConflict",
    "ThrottlingError",
    "ProvisionedThroughputExceeded",
];

impl Table {
    /// The stack's table.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::new(sdk),
            name: setup::required("TABLE_NAME")?,
        })
    }

    /// Writes all or nothing. The answer is the position of the first item
    /// whose condition did not hold, if one's did not.
    pub async fn transact(&self, items: Vec<TransactWriteItem>) -> Result<Option<usize>, Failure> {
        let request = self.client.transact_write_items();
        let Err(error) = request.set_transact_items(Some(items)).send().await else {
            return Ok(None);
        };
        if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        {
            let reasons = cancelled.cancellation_reasons();
            let codes: Vec<_> = reasons.iter().filter_map(|reason| reason.code()).collect();
            let refused = reasons
                .iter()
                .position(|reason| reason.code() == Some("ConditionalCheckFailed"));
            if refused.is_some() {
                return Ok(refused);
            }
            if codes.iter().all(|code| TRANSIENT.contains(code)) {
                return Err(Failure::busy(
                    "another request is changing the same device",
                    1,
                ));
            }
        }
        Err(failure::of("dynamodb:TransactWriteItems", &error))
    }

    /// The same, of items that others change at the same moment, such as a count
    /// of many: tried again while they do.
    pub async fn transact_among_others(
        &self,
        items: Vec<TransactWriteItem>,
    ) -> Result<Option<usize>, Failure> {
        let mut pause = PAUSE;
        for _ in 1..MOST_TRIES {
            match self.transact(items.clone()).await {
                Err(failure) if failure.kind == Kind::Busy => tokio::time::sleep(pause).await,
                done => return done,
            }
            pause *= 2;
        }
        self.transact(items).await
    }

    /// The item with this key, read consistently.
    pub async fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Failure> {
        let output = self
            .client
            .get_item()
            .table_name(&self.name)
            .set_key(Some(key.item()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| failure::of("dynamodb:GetItem", &error))?;
        output.item.map(read).transpose()
    }

    /// Writes a value under a key, over what is there.
    pub async fn put(&self, key: &Key, value: &impl Serialize) -> Result<(), Failure> {
        self.put_item(write(key, value)?).await
    }

    /// Writes an item, over what is there.
    pub async fn put_item(&self, item: Item) -> Result<(), Failure> {
        let request = self.client.put_item().table_name(&self.name);
        let answer = request.set_item(Some(item)).send().await;
        answer
            .map(drop)
            .map_err(|error| failure::of("dynamodb:PutItem", &error))
    }

    /// Writes a value under a key that nothing is under yet; false if
    /// something is.
    pub async fn put_new(&self, key: &Key, value: &impl Serialize) -> Result<bool, Failure> {
        let request = self.client.put_item().table_name(&self.name);
        let request = request.set_item(Some(write(key, value)?));
        let answer = request.condition_expression("attribute_not_exists(PK)");
        match answer.send().await {
            Ok(_) => Ok(true),
            Err(error) if failure::cause(&error) == failure::Cause::Condition => Ok(false),
            Err(error) => Err(failure::of("dynamodb:PutItem", &error)),
        }
    }

    /// Removes what is under a key.
    pub async fn remove(&self, key: &Key) -> Result<(), Failure> {
        let request = self.client.delete_item().table_name(&self.name);
        let answer = request.set_key(Some(key.item())).send().await;
        answer
            .map(drop)
            .map_err(|error| failure::of("dynamodb:DeleteItem", &error))
    }

    /// Every item of one partition, read consistently, by sort key.
    pub async fn partition(&self, pk: &str) -> Result<Vec<Item>, Failure> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.name)
            .key_condition_expression("PK = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(pk.to_owned()))
            .consistent_read(true)
            .into_paginator()
            .send();
        let mut items = Vec::new();
        while let Some(page) = pages.next().await {
            items.extend(
                page.map_err(|error| failure::of("dynamodb:Query", &error))?
                    .items
                    .unwrap_or_default(),
            );
        }
        Ok(items)
    }

    /// A page of a partition's items whose sort keys begin so, read
    /// consistently, in the order of those; and whether there are more.
    pub async fn page(&self, range: &Range<'_>) -> Result<(Vec<Item>, bool), Failure> {
        let answer = self
            .range(range)
            .consistent_read(true)
            .limit(range.limit)
            .send()
            .await
            .map_err(|error| failure::of("dynamodb:Query", &error))?;
        let more = answer.last_evaluated_key.is_some_and(|key| !key.is_empty());
        Ok((answer.items.unwrap_or_default(), more))
    }

    /// How many items such a range has, whatever its limit, and no bytes of
    /// them.
    pub async fn count(&self, range: &Range<'_>) -> Result<u64, Failure> {
        let request = self.range(range).consistent_read(true);
        let mut pages = request.select(Select::Count).into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure::of("dynamodb:Query", &error))?;
            count += u64::try_from(page.count).unwrap_or_default();
        }
        Ok(count)
    }

    fn range(&self, range: &Range<'_>) -> QueryFluentBuilder {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let after = range.after.as_ref().map(|sk| {
            let keys = [("PK", range.partition), ("SK", sk)];
            keys.map(|(name, value)| (name.to_owned(), text(value)))
                .into()
        });
        self.client
            .query()
            .table_name(&self.name)
            .key_condition_expression("PK = :pk AND begins_with(SK, :prefix)")
            .expression_attribute_values(":pk", text(range.partition))
            .expression_attribute_values(":prefix", text(range.prefix))
            .set_exclusive_start_key(after)
            .scan_index_forward(!range.descending)
    }
}

/// Some of a partition's items, in the order of their sort keys.
pub struct Range<'a> {
    /// The partition.
    pub partition: &'a str,
    /// How their sort keys begin.
    pub prefix: &'a str,
    /// Only those after this sort key.
    pub after: Option<String>,
    /// From the greatest to the least.
    pub descending: bool,
    /// At most so many of them.
    pub limit: i32,
}

/// A typed value from an item. The keys are the table's, not the value's.
pub fn read<T: DeserializeOwned>(mut item: Item) -> Result<T, Failure> {
    item.remove("PK");
    item.remove("SK");
    serde_dynamo::from_item(item)
        .map_err(|error| Failure::bug(format!("a registry item does not parse: {error}")))
}

/// An item from a typed value, with its keys.
pub fn write(key: &Key, value: &impl Serialize) -> Result<Item, Failure> {
    let mut item: Item = serde_dynamo::to_item(value)
        .map_err(|error| Failure::bug(format!("a registry item does not serialise: {error}")))?;
    item.extend(key.item());
    Ok(item)
}

/// An item of a transaction that puts a row.
pub(crate) fn put(put: PutBuilder) -> Result<TransactWriteItem, Failure> {
    let put = put.build().map_err(incomplete)?;
    Ok(TransactWriteItem::builder().put(put).build())
}

/// An item of a transaction that changes a row.
pub(crate) fn update(update: UpdateBuilder) -> Result<TransactWriteItem, Failure> {
    let update = update.build().map_err(incomplete)?;
    Ok(TransactWriteItem::builder().update(update).build())
}

/// An item of a transaction that removes a row.
pub(crate) fn delete(delete: DeleteBuilder) -> Result<TransactWriteItem, Failure> {
    let delete = delete.build().map_err(incomplete)?;
    Ok(TransactWriteItem::builder().delete(delete).build())
}

/// An item of a transaction that holds only while a row is as it is to be.
pub(crate) fn check(check: ConditionCheckBuilder) -> Result<TransactWriteItem, Failure> {
    let check = check.build().map_err(incomplete)?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}

/// A transaction's item that lacks a part.
pub fn incomplete(error: aws_sdk_dynamodb::error::BuildError) -> Failure {
    Failure::bug(format!("a transaction item is incomplete: {error}"))
}

/// An item's sort key.
pub fn sort_key(item: &Item) -> &str {
    item.get("SK")
        .and_then(|key| key.as_s().ok())
        .map_or("", String::as_str)
}

/// One value as an attribute, for expressions.
pub fn attribute(value: &impl Serialize) -> Result<AttributeValue, Failure> {
    serde_dynamo::to_attribute_value(value)
        .map_err(|error| Failure::bug(format!("a registry value does not serialise: {error}")))
}
