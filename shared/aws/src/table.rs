//! The registry's table: typed items in and out, one key scheme.
//!
//! Decisions read consistently; only listings read an index.

use std::collections::HashMap;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::types::builders::{
    ConditionCheckBuilder, DeleteBuilder, PutBuilder, UpdateBuilder,
};
use aws_sdk_dynamodb::types::{AttributeValue, Select, TransactWriteItem};
use lamplighter_domain::Failure;
use lamplighter_domain::authority::AuthorityId;
use lamplighter_domain::catalog::OwnedRow;
use lamplighter_domain::csr::PublicKeyId;
use lamplighter_domain::membership::member_shard;
use lamplighter_domain::names::{
    CaseId, CertificateId, GroupName, JobTemplateName, OperationId, PolicyName, ProfileName,
    SweepId, ThingName, ThingTypeName,
};
use lamplighter_domain::rollout::RolloutId;
use lamplighter_domain::rollout::wave::Cursor;
use lamplighter_domain::time::Moment;
use lamplighter_domain::tunnel::TunnelId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{failure, setup};

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

/// An item's two keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The partition key.
    pub pk: String,
    /// The sort key.
    pub sk: String,
}

impl Key {
    fn new(pk: String, sk: impl Into<String>) -> Self {
        Self { pk, sk: sk.into() }
    }

    /// `DEVICE#name / RECORD`.
    pub fn device(name: &ThingName) -> Self {
        Self::new(device_partition(name), "RECORD")
    }

    /// `DEVICE#name / CERT#id`.
    pub fn certificate(name: &ThingName, id: &CertificateId) -> Self {
        Self::new(device_partition(name), format!("CERT#{id}"))
    }

    /// `DEVICE#name / ROTATION`.
    pub fn rotation(name: &ThingName) -> Self {
        Self::new(device_partition(name), "ROTATION")
    }

    /// `DEVICE#name / ENROLMENT`: the device's one token, by its digest.
    pub fn enrolment(name: &ThingName) -> Self {
        Self::new(device_partition(name), "ENROLMENT")
    }

    /// `DEVICE#name / TOMBSTONE`.
    pub fn tombstone(name: &ThingName) -> Self {
        Self::new(device_partition(name), "TOMBSTONE")
    }

    /// `DEVICE#name / PREREGISTRATION`.
    pub fn preregistration(name: &ThingName) -> Self {
        Self::new(device_partition(name), "PREREGISTRATION")
    }

    /// `OP#id / OPERATION`.
    pub fn operation(id: &OperationId) -> Self {
        Self::new(format!("OP#{id}"), "OPERATION")
    }

    /// `KEY#publicKey / OWNER`.
    pub fn owner(key: &PublicKeyId) -> Self {
        Self::new(format!("KEY#{}", key.as_str()), "OWNER")
    }

    /// `CASE#id / CASE`.
    pub fn case(id: &CaseId) -> Self {
        Self::new(format!("CASE#{id}"), "CASE")
    }

    /// `POLICY#name / LOCK`: that somebody has stopped a shared policy.
    pub fn policy_lock(name: &PolicyName) -> Self {
        Self::new(format!("POLICY#{name}"), "LOCK")
    }

    /// `TUNNEL#id / TUNNEL`: a tunnel, and its trail.
    pub fn tunnel(id: &TunnelId) -> Self {
        Self::new(format!("TUNNEL#{}", id.as_str()), "TUNNEL")
    }

    /// `TUNNELS#thing / moment#id`: a tunnel in its device's list.
    pub fn tunnel_of(thing: &ThingName, place: &str) -> Self {
        Self::new(tunnels_partition(thing), place)
    }

    /// `TUNNELS / LIVE#id`: a tunnel that AWS may have.
    pub fn live_tunnel(id: &TunnelId) -> Self {
        Self::new(TUNNELS.to_owned(), format!("{LIVE}{}", id.as_str()))
    }

    /// `TUNNELS / PACE#call`: when a call is allowed next.
    pub fn pace(call: &str) -> Self {
        Self::new(TUNNELS.to_owned(), format!("PACE#{call}"))
    }

    /// `PROFILE#name / PROFILE`.
    pub fn profile(name: &ProfileName) -> Self {
        Self::new(format!("PROFILE#{name}"), "PROFILE")
    }

    /// `CA#id / AUTHORITY`.
    pub fn authority(id: &AuthorityId) -> Self {
        Self::new(format!("CA#{id}"), "AUTHORITY")
    }

    /// `CA#ACTIVE / POINTER`: the authorities that stand.
    pub fn standing() -> Self {
        Self::new("CA#ACTIVE".to_owned(), "POINTER")
    }

    /// `TYPE#name / TOPICS`: where devices of a type leave retained messages.
    pub fn topics(name: &ThingTypeName) -> Self {
        Self::new(format!("TYPE#{name}"), "TOPICS")
    }

    /// `TYPE#name / TYPE`: which of AWS's types a declared one is.
    pub fn type_row(name: &ThingTypeName) -> Self {
        Self::new(format!("TYPE#{name}"), "TYPE")
    }

    /// `DEFINITIONS / GROUP#name`: a dynamic group.
    pub fn definition(name: &GroupName) -> Self {
        Self::new(DEFINITIONS.to_owned(), format!("{DEFINITION_PREFIX}{name}"))
    }

    /// `DEFINITIONS / VERSION`: counts the changes of all definitions.
    pub fn definitions() -> Self {
        Self::new(DEFINITIONS.to_owned(), "VERSION")
    }

    /// `DEFINITIONS / SWEEP#NN`: how far a sweep is in one shard.
    pub fn sweep_of_groups(shard: u32) -> Self {
        Self::new(DEFINITIONS.to_owned(), format!("{SWEEP_PREFIX}{shard:02}"))
    }

    /// `DEFINITIONS / REMOVED#name`: a dynamic group whose members are leaving.
    pub fn removed(name: &GroupName) -> Self {
        Self::new(DEFINITIONS.to_owned(), format!("{REMOVED_PREFIX}{name}"))
    }

    /// `DEVICE#name / DOCUMENT`: what queries are asked about.
    pub fn document(name: &ThingName) -> Self {
        Self::new(device_partition(name), "DOCUMENT")
    }

    /// `DEVICE#name / MEMBERSHIP`: the dynamic groups that a device is in.
    pub fn membership(name: &ThingName) -> Self {
        Self::new(device_partition(name), "MEMBERSHIP")
    }

    /// `GROUP#group#NN / MEMBER#name`: one member of a dynamic group.
    pub fn member(group: &GroupName, name: &ThingName) -> Self {
        let pk = member_partition(group, member_shard(name));
        Self::new(pk, format!("{MEMBER_PREFIX}{name}"))
    }

    /// `GROUP#group#NN / CHANGE#time#id`: one enter or leave.
    pub fn change(group: &GroupName, name: &ThingName, key: &str) -> Self {
        let pk = member_partition(group, member_shard(name));
        Self::new(pk, format!("{CHANGE_PREFIX}{key}"))
    }

    /// `GROUP#group#NN / COUNT`: how many members one partition has.
    pub fn count(group: &GroupName, shard: u32) -> Self {
        Self::new(member_partition(group, shard), "COUNT")
    }

    /// `TEMPLATE#name / TEMPLATE`: a job template.
    pub fn job_template(name: &JobTemplateName) -> Self {
        Self::new(format!("TEMPLATE#{name}"), "TEMPLATE")
    }

    /// `CATALOG / catalog#kind#name`: that a catalog made something.
    pub fn owned(row: &OwnedRow) -> Self {
        let kind = row.owned.kind.name().replace(' ', "-");
        let sk = format!("{}#{kind}#{}", row.catalog, row.owned.name);
        Self::new(CATALOG.to_owned(), sk)
    }

    /// `SWEEP#id / SWEEP`.
    pub fn sweep(id: &SweepId) -> Self {
        Self::new(format!("SWEEP#{id}"), "SWEEP")
    }

    /// `SWEEP#id / COUNTS`: how its rotations have ended.
    pub fn sweep_counts(id: &SweepId) -> Self {
        Self::new(format!("SWEEP#{id}"), "COUNTS")
    }

    /// `SWEEP#LATEST / POINTER`: the sweep that is open, or was last.
    pub fn latest_sweep() -> Self {
        Self::new("SWEEP#LATEST".to_owned(), "POINTER")
    }

    /// The keys of an item.
    pub fn of(item: &Item) -> Option<Self> {
        let text = |name: &str| Some(item.get(name)?.as_s().ok()?.clone());
        Some(Self::new(text("PK")?, text("SK")?))
    }

    /// `ROLLOUT#id / ROLLOUT`: how far a job has come.
    pub fn rollout(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "ROLLOUT")
    }

    /// `ROLLOUT#id / ORDER`: what was asked for, and the document.
    pub fn order(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "ORDER")
    }

    /// `ROLLOUT#id / NAMES#asked#page`: things that were named one by one, by the
    /// digest of what was asked for.
    pub fn named_things(id: &RolloutId, asked: &str, page: usize) -> Self {
        Self::new(rollout_partition(id), format!("NAMES#{asked}#{page:05}"))
    }

    /// `ROLLOUT#id / TARGET#place`: a target, by its place in the list.
    pub fn target(id: &RolloutId, place: &Cursor) -> Self {
        Self::new(rollout_partition(id), format!("{TARGET}{}", place.0))
    }

    /// `ROLLOUT#id / LATE#thing`: that a thing joined after the list was made.
    pub fn late_joiner(id: &RolloutId, thing: &ThingName) -> Self {
        Self::new(rollout_partition(id), format!("LATE#{thing}"))
    }

    /// `ROLLOUT#id / LEFT_OUT`: some of those that were left out of the targets.
    pub fn left_out(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "LEFT_OUT")
    }

    /// `ROLLOUT#id / JOINED`: how many did.
    pub fn joined(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "JOINED")
    }

    /// `ROLLOUT#id / DEVICE#thing`: a device that a wave has taken.
    pub fn execution(id: &RolloutId, thing: &ThingName) -> Self {
        Self::new(rollout_partition(id), format!("{EXECUTION}{thing}"))
    }

    /// `ROLLOUT#id / WAVE#n`: a wave's counts.
    pub fn wave(id: &RolloutId, wave: u32) -> Self {
        Self::new(rollout_partition(id), format!("WAVE#{wave}"))
    }

    /// `ROLLOUT#id / TOTALS`: the counts of all waves.
    pub fn totals(id: &RolloutId) -> Self {
        Self::new(rollout_partition(id), "TOTALS")
    }

    /// `ROLLOUTS / OPEN#id`: that a job has not ended.
    pub fn open_rollout(id: &RolloutId) -> Self {
        Self::new(ROLLOUTS.to_owned(), format!("OPEN#{}", id.as_str()))
    }

    /// `ROLLOUTS / AT#moment#id`: a job by the time of its start.
    pub fn rollout_at(id: &RolloutId, at: Moment) -> Self {
        let sk = format!("{STARTED}{:014}#{}", at.0, id.as_str());
        Self::new(ROLLOUTS.to_owned(), sk)
    }

    /// `GROUP#name / ROLLOUT#id`: that a job follows who joins a static group.
    pub fn follower(group: &GroupName, id: &RolloutId) -> Self {
        Self::new(group_partition(group), format!("{FOLLOWER}{}", id.as_str()))
    }

    /// `GROUP#name / ENTERS#id`: that a job follows who enters a dynamic group.
    pub fn enter_follower(group: &GroupName, id: &RolloutId) -> Self {
        let sk = format!("{ENTER_FOLLOWER}{}", id.as_str());
        Self::new(group_partition(group), sk)
    }

    /// `GROUP#name / ON_ENTER`: the job that gives a dynamic group's template to
    /// those that enter.
    pub fn on_enter(group: &GroupName) -> Self {
        Self::new(group_partition(group), "ON_ENTER")
    }

    /// The keys as an item.
    pub fn item(&self) -> Item {
        HashMap::from([
            ("PK".to_owned(), AttributeValue::S(self.pk.clone())),
            ("SK".to_owned(), AttributeValue::S(self.sk.clone())),
        ])
    }
}

/// The partition of all that catalogs made.
pub const CATALOG: &str = "CATALOG";

/// The partition of all definitions, so that they are read consistently, in order.
pub const DEFINITIONS: &str = "DEFINITIONS";
/// How a definition's sort key begins.
pub const DEFINITION_PREFIX: &str = "GROUP#";
/// How the sort key of a shard of their sweep begins.
pub const SWEEP_PREFIX: &str = "SWEEP#";
/// How the sort key of a removed group begins.
pub const REMOVED_PREFIX: &str = "REMOVED#";
/// How the sort key of an enter or leave begins.
pub const CHANGE_PREFIX: &str = "CHANGE#";
/// How a member's sort key begins.
pub const MEMBER_PREFIX: &str = "MEMBER#";

/// One of the partitions that a group's members are spread over.
pub fn member_partition(group: &GroupName, shard: u32) -> String {
    format!("GROUP#{group}#{shard:02}")
}

/// The partition that leads to all jobs.
pub const ROLLOUTS: &str = "ROLLOUTS";
/// How their sort keys begin, by the time of their start.
pub const STARTED: &str = "AT#";
/// How the sort keys of a job's targets begin.
pub const TARGET: &str = "TARGET#";
/// How the sort keys of a job's devices begin.
pub const EXECUTION: &str = "DEVICE#";
/// How the sort keys of the jobs that follow a static group begin.
pub const FOLLOWER: &str = "ROLLOUT#";
/// How the sort keys of those begin that follow a dynamic group. One of either
/// kind may have the other's name.
pub const ENTER_FOLLOWER: &str = "ENTERS#";

/// The partition that holds everything of one job.
pub fn rollout_partition(id: &RolloutId) -> String {
    format!("ROLLOUT#{}", id.as_str())
}

/// The partition that holds what is kept of a group.
pub fn group_partition(name: &GroupName) -> String {
    format!("GROUP#{name}")
}

/// The partition of what all tunnels have in common.
pub const TUNNELS: &str = "TUNNELS";
/// How the sort keys of tunnels begin that AWS may have.
pub const LIVE: &str = "LIVE#";

/// The partition that lists a device's tunnels.
pub fn tunnels_partition(thing: &ThingName) -> String {
    format!("{TUNNELS}#{thing}")
}

/// The partition that holds everything of one device.
pub fn device_partition(name: &ThingName) -> String {
    format!("DEVICE#{name}")
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
