//! A tunnel's rows: its own, its place in its device's list, and the one that
//! stands for what AWS may have.

use aws_sdk_dynamodb::types::{AttributeValue, ConditionCheck, Put, TransactWriteItem};
use futures_util::future::try_join_all;
use lamplighter_domain::Failure;
use lamplighter_domain::device::DeviceStatus;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::tunnel::view::{TunnelQuery, place};
use lamplighter_domain::tunnel::{Tunnel, TunnelId};
use serde::{Deserialize, Serialize};

use super::{ATTEMPTS, Tunnels};
use crate::failure;
use crate::table::{self, Key};

/// What leads to a tunnel's row.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pointer {
    pub(super) tunnel_id: TunnelId,
}

/// Which of a transaction's conditions did not hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Held {
    /// All did.
    Written,
    /// The tunnel's row is another one by now.
    Changed,
    /// The device is not ACTIVE, or has a case.
    Refused,
}

impl Tunnels {
    pub(super) async fn find(&self, id: &TunnelId) -> Result<Option<Tunnel>, Failure> {
        self.table.get(&Key::tunnel(id)).await
    }

    pub(super) async fn row(&self, id: &TunnelId) -> Result<Tunnel, Failure> {
        self.find(id).await?.ok_or_else(|| {
            Failure::not_found(
                "tunnelId",
                format!("there is no tunnel {}", id.as_str()),
                "Use the tunnelId that the tunnel's opening answered with.",
            )
        })
    }

    /// Writes a tunnel that is asked for, while a device is there for it.
    pub(super) async fn record(&self, tunnel: &Tunnel) -> Result<Held, Failure> {
        let pointer = Pointer {
            tunnel_id: tunnel.tunnel_id.clone(),
        };
        let row = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::tunnel(&tunnel.tunnel_id), tunnel)?))
            .condition_expression("attribute_not_exists(PK)");
        let mut changes = vec![table::put(row)?, self.device_still(&tunnel.thing_name)?];
        let listed = Key::tunnel_of(&tunnel.thing_name, &place(tunnel));
        for key in [listed, Key::live_tunnel(&tunnel.tunnel_id)] {
            let put = Put::builder()
                .table_name(&self.table.name)
                .set_item(Some(table::write(&key, &pointer)?));
            changes.push(table::put(put)?);
        }
        self.held(changes).await
    }

    /// Writes that AWS has opened a tunnel, while its device is still there.
    pub(super) async fn record_opened(
        &self,
        before: &Tunnel,
        after: &Tunnel,
    ) -> Result<Held, Failure> {
        let changes = vec![
            self.replacement(before, after)?,
            self.device_still(&after.thing_name)?,
        ];
        self.held(changes).await
    }

    /// Changes a row, read anew while others change it.
    pub(super) async fn change(
        &self,
        row: Tunnel,
        to: impl Fn(Tunnel) -> Result<Tunnel, Failure>,
    ) -> Result<Tunnel, Failure> {
        let mut before = row;
        for _ in 0..ATTEMPTS {
            let after = to(before.clone())?;
            if after == before {
                return Ok(after);
            }
            let change = self.replacement(&before, &after)?;
            if self.table.transact(vec![change]).await?.is_none() {
                told(&before, &after);
                return Ok(after);
            }
            before = self.row(&before.tunnel_id).await?;
        }
        Err(Failure::busy("the tunnel is changing at this moment", 1))
    }

    async fn held(&self, changes: Vec<TransactWriteItem>) -> Result<Held, Failure> {
        Ok(match self.table.transact(changes).await? {
            None => Held::Written,
            Some(0) => Held::Changed,
            Some(_) => Held::Refused,
        })
    }

    fn replacement(&self, before: &Tunnel, after: &Tunnel) -> Result<TransactWriteItem, Failure> {
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::tunnel(&after.tunnel_id), after)?))
            .condition_expression("version = :seen")
            .expression_attribute_values(":seen", table::attribute(&before.version)?);
        table::put(put)
    }

    fn device_still(&self, thing: &ThingName) -> Result<TransactWriteItem, Failure> {
        let check = ConditionCheck::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::device(thing).item()))
            .condition_expression("#status = :active AND attribute_not_exists(caseId)")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":active", table::attribute(&DeviceStatus::Active)?);
        table::check(check)
    }

    /// A page of a device's tunnels, and whether there are more.
    pub(super) async fn listed(
        &self,
        thing: &ThingName,
        query: &TunnelQuery,
    ) -> Result<(Vec<Tunnel>, bool), Failure> {
        let after = query.after.as_ref();
        let start = after.map(|place| Key::tunnel_of(thing, place).item());
        let answer = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("PK = :pk")
            .expression_attribute_values(":pk", AttributeValue::S(table::tunnels_partition(thing)))
            .consistent_read(true)
            .scan_index_forward(false)
            .limit(i32::try_from(query.limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(start)
            .send()
            .await
            .map_err(|error| failure::of("dynamodb:Query", &error))?;
        let more = answer.last_evaluated_key.is_some_and(|key| !key.is_empty());
        let pointers = answer.items.unwrap_or_default().into_iter();
        let rows = pointers.map(async |item| {
            let pointer: Pointer = table::read(item)?;
            self.row(&pointer.tunnel_id).await
        });
        Ok((try_join_all(rows).await?, more))
    }

    /// The tunnels that AWS may have.
    pub(super) async fn live(&self) -> Result<Vec<TunnelId>, Failure> {
        let mut pages = self
            .table
            .client
            .query()
            .table_name(&self.table.name)
            .key_condition_expression("PK = :pk AND begins_with(SK, :live)")
            .expression_attribute_values(":pk", AttributeValue::S(table::TUNNELS.to_owned()))
            .expression_attribute_values(":live", AttributeValue::S(table::LIVE.to_owned()))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut found = Vec::new();
        while let Some(item) = pages.next().await {
            let item = item.map_err(|error| failure::of("dynamodb:Query", &error))?;
            found.push(table::read::<Pointer>(item)?.tunnel_id);
        }
        Ok(found)
    }
}

/// Logs what has happened to a tunnel. Its trail is its row; this is for who
/// reads logs. Neither has a token.
pub(super) fn told(before: &Tunnel, after: &Tunnel) {
    for event in after.events.iter().skip(before.events.len()) {
        tracing::info!(
            tunnel = after.tunnel_id.as_str(),
            thing = after.thing_name.as_str(),
            what = event.what,
            by = event.by,
            ending = ?after.ending,
            "a tunnel"
        );
    }
}
