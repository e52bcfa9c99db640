//! The list of a job's targets, made once, in an order that is kept.

use aws_sdk_dynamodb::types::{ConditionCheck, Put};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::rollout::order::Order;
use lamplighter_domain::rollout::target::Examples;
use lamplighter_domain::rollout::wave::Cursor;
use lamplighter_domain::rollout::{Rollout, RolloutId};
use serde::{Deserialize, Serialize};

use super::Jobs;
use super::existing::CALLS;
use super::rows::{expiring, expiry};
use super::targets::Source;
use crate::table::{self, Key, Range, TARGET, rollout_partition};

/// `ROLLOUT#id / TARGET#place`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Target {
    pub(super) thing_name: ThingName,
}

/// A page that was listed.
pub(super) struct Listed {
    /// How many targets there are, once all are listed.
    pub(super) count: u64,
    /// How many of the page were left out.
    pub(super) left_out: u64,
    /// Where the next page begins.
    pub(super) next: Option<Cursor>,
}

/// The place of one who was there at the start; those who join later come
/// after all of them.
pub(super) fn place(thing: &ThingName) -> Cursor {
    Cursor(format!("A#{thing}"))
}

impl Jobs {
    pub(super) async fn order(&self, id: &RolloutId) -> Result<Order, Failure> {
        let order: Option<Order> = self.table.get(&Key::order(id)).await?;
        order.ok_or_else(|| Failure::bug(format!("{} has no order", id.as_str())))
    }

    /// Lists the next page; nothing while not all are known who belong into it.
    /// They are counted when all are there: a page that was listed twice, or that
    /// names somebody twice, counts nobody twice.
    pub(super) async fn list(
        &self,
        rollout: &Rollout,
        after: Option<&Cursor>,
    ) -> Result<Option<Listed>, Failure> {
        let id = &rollout.rollout_id;
        let order = self.order(id).await?;
        let source = Source::Stored(id);
        let Some(found) = self.found(&order, &rollout.spec, &source, after).await? else {
            return Ok(None);
        };
        let expires = expiry(rollout);
        if !found.left_out.is_empty() {
            let key = Key::left_out(id);
            let known: Option<Examples> = self.table.get(&key).await?;
            let known = known.unwrap_or_default().and(&found.left_out);
            self.put_expiring(&key, &known, expires).await?;
        }
        let left_out = found.left_out.len() as u64;
        let puts = found
            .admitted
            .into_iter()
            .map(async |thing_name| self.list_one(rollout, thing_name, expires).await);
        let puts = stream::iter(puts).buffer_unordered(CALLS);
        puts.try_collect::<Vec<()>>().await?;
        let count = match found.next {
            Some(_) => 0,
            None => self.count_targets(id).await?,
        };
        let next = found.next;
        Ok(Some(Listed {
            count,
            left_out,
            next,
        }))
    }

    /// Lists one, unless it has joined meanwhile and stands there already.
    async fn list_one(
        &self,
        rollout: &Rollout,
        thing_name: ThingName,
        expires: u64,
    ) -> Result<(), Failure> {
        let id = &rollout.rollout_id;
        let key = Key::target(id, &place(&thing_name));
        let late = Key::late_joiner(id, &thing_name);
        let target = Target { thing_name };
        if rollout.spec.late_joiners.is_none() {
            return self.put_expiring(&key, &target, expires).await;
        }
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(expiring(table::write(&key, &target)?, expires)?));
        let not_late = ConditionCheck::builder()
            .table_name(&self.table.name)
            .set_key(Some(late.item()))
            .condition_expression("attribute_not_exists(PK)");
        let changes = vec![table::put(put)?, table::check(not_late)?];
        self.table.transact(changes).await.map(drop)
    }

    async fn count_targets(&self, id: &RolloutId) -> Result<u64, Failure> {
        let range = Range {
            partition: &rollout_partition(id),
            prefix: &format!("{TARGET}A#"),
            after: None,
            descending: false,
            limit: 0,
        };
        self.table.count(&range).await
    }

    /// A page of the list, each with its place, and whether there are more.
    pub(super) async fn targets_after(
        &self,
        id: &RolloutId,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<(Cursor, ThingName)>, bool), Failure> {
        let partition = rollout_partition(id);
        let range = Range {
            partition: &partition,
            prefix: TARGET,
            after: after.map(|cursor| format!("{TARGET}{}", cursor.0)),
            descending: false,
            limit: i32::try_from(limit).unwrap_or(i32::MAX),
        };
        let (rows, more) = self.table.page(&range).await?;
        let read = |row: table::Item| {
            let place = table::sort_key(&row).trim_start_matches(TARGET).to_owned();
            Ok((Cursor(place), table::read::<Target>(row)?.thing_name))
        };
        let rows = rows.into_iter().map(read).collect::<Result<_, Failure>>()?;
        Ok((rows, more))
    }
}
