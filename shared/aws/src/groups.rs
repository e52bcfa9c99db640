//! Keeps dynamic groups true: takes what happened to devices into their
//! documents, and the groups with them.
//!
//! A device's rows are read first, then AWS is looked at as far as that is
//! needed, then the rows are written if they are still the same. Whoever loses
//! that race reads and looks again, so the last look stands (invariant 7).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::Put;
use aws_sdk_dynamodb::types::builders::PutBuilder;
use futures_util::{StreamExt as _, stream};
use lamplighter_domain::device::{DeviceRecord, DeviceStatus};
use lamplighter_domain::membership::{
    Definitions, DocumentRow, Evaluated, Event, MembershipRow, Message, Moves, Stored, evaluate,
};
use lamplighter_domain::names::ThingName;
use lamplighter_domain::{Failure, Kind};

use crate::definitions::Kept;
use crate::failure::{self, Cause};
use crate::queue::{Batch, Failed};
use crate::table::{self, Key, Table};
use crate::things::Things;
use crate::{clock, telemetry};

mod look;

/// How many devices are worked on at once.
const AT_ONCE: usize = 16;
/// How often a device that changes meanwhile is begun again.
const MOST_TRIES: u32 = 8;
const PAUSE: Duration = Duration::from_millis(15);

/// Everything that evaluating works with.
pub struct Groups {
    /// The registry.
    pub table: Table,
    /// Things and the groups that they are in.
    pub things: Things,
    /// Shadows.
    pub data: aws_sdk_iotdataplane::Client,
    /// The definitions.
    pub definitions: Kept,
}

/// What came of one device, and in which messages.
#[derive(Default)]
struct Heard {
    events: Vec<Event>,
    messages: Vec<String>,
}

/// A device before a change.
enum Before {
    Stored(Box<Stored>),
    /// Its document is to be begun.
    Nothing(Box<DeviceRecord>),
}

impl Groups {
    /// The stack's own.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            table: Table::from_env(sdk)?,
            things: Things::new(sdk),
            data: aws_sdk_iotdataplane::Client::new(sdk),
            definitions: Kept::default(),
        })
    }

    /// Takes a batch of messages in: those of one device are one change. Those
    /// that are to come again are named.
    pub async fn batch(&self, batch: Batch) -> Failed {
        let mut heard = BTreeMap::<ThingName, Heard>::new();
        for record in batch.records {
            match Message::parse(&record.body) {
                Ok(Some(message)) => {
                    let device = heard.entry(message.thing_name).or_default();
                    device.events.push(message.event);
                    device.messages.push(record.message_id);
                }
                Ok(None) => {}
                // To send it again would not make it readable.
                Err(failure) => telemetry::lost(&failure),
            }
        }
        let begun = async {
            let definitions = self.definitions.current(&self.table).await?;
            Ok::<_, Failure>((definitions, self.stored(heard.keys()).await?))
        };
        let (definitions, mut stored) = match begun.await {
            Ok(begun) => begun,
            Err(failure) => {
                telemetry::failed(&failure);
                return heard.into_values().flat_map(|h| h.messages).collect();
            }
        };
        let work = heard.into_iter().map(|(name, heard)| {
            let definitions = definitions.clone();
            let before = stored.remove(&name);
            async move {
                let first = before.map(|stored| Before::Stored(Box::new(stored)));
                let done = self.follow_up(definitions, &name, &heard.events, first);
                let done = done.await;
                done.inspect_err(telemetry::failed)
                    .err()
                    .map(|_| heard.messages)
            }
        });
        let failed: Vec<_> = stream::iter(work).buffer_unordered(AT_ONCE).collect().await;
        failed.into_iter().flatten().flatten().collect()
    }

    /// Takes in what happened to one device, and finds its groups; also without
    /// an event, if other definitions found them. A device that is not ACTIVE
    /// begins no document.
    ///
    /// # Errors
    /// `Busy` when it can be tried again.
    pub async fn take(
        &self,
        definitions: &Arc<Definitions>,
        name: &ThingName,
        events: &[Event],
    ) -> Result<(), Failure> {
        self.follow_up(definitions.clone(), name, events, None)
            .await
    }

    /// The same, of a device whose rows may have been read already.
    async fn follow_up(
        &self,
        mut definitions: Arc<Definitions>,
        name: &ThingName,
        events: &[Event],
        mut read: Option<Before>,
    ) -> Result<(), Failure> {
        for attempt in 0..MOST_TRIES {
            tokio::time::sleep(PAUSE * attempt).await;
            let before = match read.take() {
                Some(before) => before,
                None => match self.before(name).await? {
                    Some(before) => before,
                    None => return Ok(()),
                },
            };
            let (mut row, stored) = match &before {
                Before::Stored(stored) => (stored.document.clone(), Some(stored.as_ref())),
                Before::Nothing(record) => (DocumentRow::begin(record), None),
            };
            row.observed(self.look(name, row.wanted(events)).await?);
            for event in events {
                if let Err(failure) = row.take(event.clone()) {
                    telemetry::lost(&failure);
                }
            }
            let Some(found) = evaluate(&definitions, stored, row, clock::now()) else {
                definitions = self.definitions.current(&self.table).await?;
                continue;
            };
            if self.write(stored, &found).await? {
                return self.follow(name, &found.moves).await;
            }
        }
        Err(Failure::busy("the device keeps changing", 1).field("thingName"))
    }

    /// The rows of all these devices that have them. The memberships are read
    /// after the documents: if one of those is written in between, ours is not.
    async fn stored<'a>(
        &self,
        names: impl IntoIterator<Item = &'a ThingName>,
    ) -> Result<BTreeMap<ThingName, Stored>, Failure> {
        let keys: Vec<_> = names.into_iter().map(Key::document).collect();
        let documents: Vec<DocumentRow> = self.table.get_all(&keys).await?;
        let keys = documents.iter().map(|row| Key::membership(&row.thing_name));
        let memberships: Vec<MembershipRow> = self.table.get_all(&keys.collect::<Vec<_>>()).await?;
        let memberships = memberships.into_iter();
        let mut memberships: BTreeMap<_, _> = memberships
            .map(|row| (row.thing_name.clone(), row))
            .collect();
        let stored = documents.into_iter().filter_map(|document| {
            let (name, membership) = memberships.remove_entry(&document.thing_name)?;
            Some((
                name,
                Stored {
                    document,
                    membership,
                },
            ))
        });
        Ok(stored.collect())
    }

    /// The device's rows, or nothing if it is none of ours; in the same order.
    async fn before(&self, name: &ThingName) -> Result<Option<Before>, Failure> {
        let document: Option<DocumentRow> = self.table.get(&Key::document(name)).await?;
        let Some(document) = document else {
            let record: Option<DeviceRecord> = self.table.get(&Key::device(name)).await?;
            let active = record.filter(|record| record.status == DeviceStatus::Active);
            return Ok(active.map(|record| Before::Nothing(Box::new(record))));
        };
        let membership: Option<MembershipRow> = self.table.get(&Key::membership(name)).await?;
        // Both go at once when the device is deleted.
        Ok(membership.map(|membership| {
            Before::Stored(Box::new(Stored {
                document,
                membership,
            }))
        }))
    }

    /// Writes what has changed; false if the device has changed meanwhile.
    async fn write(&self, stored: Option<&Stored>, found: &Evaluated) -> Result<bool, Failure> {
        let Some(document) = &found.document else {
            return Ok(true);
        };
        let put = Put::builder().table_name(&self.table.name);
        let put = put.set_item(Some(table::write(
            &Key::document(&document.thing_name),
            document,
        )?));
        let put = unchanged(put, stored)?;
        let Some(membership) = &found.membership else {
            return self.write_alone(put).await;
        };
        let beside = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(
                &Key::membership(&membership.thing_name),
                membership,
            )?));
        let mut changes = vec![table::put(put)?, table::put(beside)?];
        if stored.is_none() {
            let check = aws_sdk_dynamodb::types::ConditionCheck::builder()
                .table_name(&self.table.name)
                .set_key(Some(Key::device(&document.thing_name).item()))
                .condition_expression("createdBy = :generation AND #status = :active")
                .expression_attribute_names("#status", "status")
                .expression_attribute_values(":generation", table::attribute(&document.generation)?)
                .expression_attribute_values(":active", table::attribute(&DeviceStatus::Active)?);
            changes.push(table::check(check)?);
        }
        match self.table.transact(changes).await {
            Ok(refused) => Ok(refused.is_none()),
            // Another writer is at the same rows at this moment.
            Err(failure) if failure.kind == Kind::Busy => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    async fn write_alone(&self, put: PutBuilder) -> Result<bool, Failure> {
        let put = put.build().map_err(table::incomplete)?;
        let answer = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(put.item))
            .set_condition_expression(put.condition_expression)
            .set_expression_attribute_values(put.expression_attribute_values)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(error) if failure::cause(&error) == Cause::Condition => Ok(false),
            Err(error) => Err(failure::of("dynamodb:PutItem", &error)),
        }
    }

    /// Has static groups follow. A group that is not there, or a thing that AWS
    /// lets into no other, is seen by whoever looks next.
    async fn follow(&self, name: &ThingName, moves: &Moves) -> Result<(), Failure> {
        let leaving = moves.leave.iter().map(|group| (group, false));
        let joining = moves.join.iter().map(|group| (group, true));
        for (group, joins) in leaving.chain(joining) {
            let done = if joins {
                self.things.join(name, group).await
            } else {
                self.things.leave(name, group).await
            };
            match done {
                Err(failure) if failure.kind.retryable() => return Err(failure),
                Err(failure) => telemetry::failed(&failure),
                Ok(()) => {}
            }
        }
        Ok(())
    }
}

/// Only if the document is still the one that was read, or not there yet.
fn unchanged(put: PutBuilder, stored: Option<&Stored>) -> Result<PutBuilder, Failure> {
    Ok(match stored {
        None => put.condition_expression("attribute_not_exists(PK)"),
        Some(Stored { document, .. }) => put
            .condition_expression("version = :seen AND generation = :generation")
            .expression_attribute_values(":seen", table::attribute(&document.version)?)
            .expression_attribute_values(":generation", table::attribute(&document.generation)?),
    })
}
