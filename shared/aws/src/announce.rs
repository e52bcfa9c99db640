//! Announces what the registry's stream tells: operations that have ended, and
//! groups that devices entered and left, once their member rows say so too. A
//! change of definitions starts the sweep of all devices.

use aws_config::SdkConfig;
use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use lamplighter_domain::Failure;
use lamplighter_domain::announcement::{Announcement, SOURCE, announcement};
use lamplighter_domain::membership::{MembershipRow, steps};
use lamplighter_domain::operation::{Operation, OperationStatus};
use lamplighter_domain::time::Moment;
use serde::Deserialize;

use crate::group_sweep_start::Starter;
use crate::members::{self, Jobs};
use crate::table::Table;
use crate::{failure, setup, telemetry};

/// `PutEvents` takes at most this many entries.
const MOST_ENTRIES: usize = 10;

/// Where events are announced.
#[derive(Clone)]
pub struct Announcer {
    /// The client.
    pub events: aws_sdk_eventbridge::Client,
    /// The custom bus.
    pub bus: String,
    /// The registry.
    pub table: Table,
    /// What starts sweeps, once definitions have changed.
    pub sweeps: Starter,
}

/// An announcement, and the change that it stems from.
struct Pending {
    sequence_number: String,
    announcement: Announcement,
}

#[derive(Deserialize)]
struct Row {
    #[serde(rename = "SK")]
    sk: String,
}

/// `DEFINITIONS / VERSION`, as far as a sweep is started by it.
#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    version: u64,
}

#[derive(Default, Deserialize)]
struct Before {
    status: Option<OperationStatus>,
}

impl Announcer {
    /// The stack's own bus.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            events: aws_sdk_eventbridge::Client::new(sdk),
            bus: setup::required("BUS_NAME")?,
            table: Table::from_env(sdk)?,
            sweeps: Starter::from_env(sdk)?,
        })
    }

    /// Announces one batch. The first failure ends it: Lambda delivers
    /// everything from there on again.
    pub async fn announce(&self, batch: Event) -> Result<DynamoDbEventResponse, Failure> {
        let mut failed = Vec::new();
        let mut pending = Vec::new();
        let mut jobs = Jobs::default();
        for record in batch.records {
            let sequence_number = record
                .change
                .sequence_number
                .clone()
                .ok_or_else(|| Failure::bug("a stream record has no sequence number"))?;
            match self.announced(record, &mut jobs).await {
                Ok(announced) => {
                    pending.extend(announced.into_iter().map(|announcement| Pending {
                        sequence_number: sequence_number.clone(),
                        announcement,
                    }));
                }
                Err(failure) => {
                    telemetry::failed(&failure);
                    failed.push(sequence_number);
                    break;
                }
            }
        }
        for chunk in pending.chunks(MOST_ENTRIES) {
            let lost = self.put(chunk).await;
            if !lost.is_empty() {
                failed.extend(lost);
                break;
            }
        }
        let mut response = DynamoDbEventResponse::default();
        response.batch_item_failures = failed
            .into_iter()
            .map(|sequence_number| {
                let mut failure = DynamoDbBatchItemFailure::default();
                failure.item_identifier = Some(sequence_number);
                failure
            })
            .collect();
        Ok(response)
    }

    /// The sequence numbers of what was not announced.
    async fn put(&self, chunk: &[Pending]) -> Vec<String> {
        let mut entries = Vec::new();
        for Pending { announcement, .. } in chunk {
            let detail = &announcement.detail;
            entries.push(
                PutEventsRequestEntry::builder()
                    .event_bus_name(&self.bus)
                    .source(SOURCE)
                    .detail_type(announcement.detail_type)
                    .detail(serde_json::to_string(detail).unwrap_or_default())
                    .time(DateTime::from_millis(
                        i64::try_from(announcement.at().0).unwrap_or(i64::MAX),
                    ))
                    .build(),
            );
        }
        let all = || {
            chunk
                .iter()
                .map(|pending| pending.sequence_number.clone())
                .collect()
        };
        let answer = match self
            .events
            .put_events()
            .set_entries(Some(entries))
            .send()
            .await
        {
            Ok(answer) => answer,
            Err(error) => {
                telemetry::failed(&failure::of("events:PutEvents", &error));
                return all();
            }
        };
        if answer.failed_entry_count == 0 {
            return Vec::new();
        }
        let results = answer.entries();
        let lost: Vec<_> = chunk
            .iter()
            .zip(results)
            .filter_map(|(pending, result)| result.error_code().map(|code| (pending, code)))
            .collect();
        for (pending, code) in &lost {
            let id = pending.announcement.id();
            telemetry::failed(
                &Failure::busy("an event was not taken", 1)
                    .operator(format!("events:PutEvents: {code} for {id}")),
            );
        }
        if lost.is_empty() {
            return all();
        }
        lost.into_iter()
            .map(|(pending, _)| pending.sequence_number.clone())
            .collect()
    }

    /// What one change announces. A device's member rows are written first, so
    /// that whoever hears of a step finds them.
    async fn announced(
        &self,
        record: EventRecord,
        jobs: &mut Jobs,
    ) -> Result<Vec<Announcement>, Failure> {
        let change = record.change;
        let row: Row = serde_dynamo::from_item(change.keys).map_err(unreadable)?;
        match row.sk.as_str() {
            "OPERATION" if record.event_name != "REMOVE" => {
                let before: Before =
                    serde_dynamo::from_item(change.old_image).map_err(unreadable)?;
                let after: Operation =
                    serde_dynamo::from_item(change.new_image).map_err(unreadable)?;
                Ok(announcement(before.status, &after).into_iter().collect())
            }
            "MEMBERSHIP" => {
                let image = |item: serde_dynamo::Item| -> Result<Option<MembershipRow>, Failure> {
                    if item.is_empty() {
                        return Ok(None);
                    }
                    serde_dynamo::from_item(item).map(Some).map_err(unreadable)
                };
                let (before, after) = (image(change.old_image)?, image(change.new_image)?);
                let millis = change.approximate_creation_date_time.timestamp_millis();
                let heard = Moment(u64::try_from(millis).unwrap_or_default());
                let mut steps = steps(before.as_ref(), after.as_ref(), heard);
                for step in steps.iter_mut().filter(|step| step.entered) {
                    step.job = jobs.of(&self.table, &step.group).await?;
                }
                members::derive(&self.table, &steps).await?;
                Ok(steps.into_iter().map(Announcement::from).collect())
            }
            "VERSION" => {
                let version = |item: serde_dynamo::Item| -> Result<u64, Failure> {
                    let row: Versions = serde_dynamo::from_item(item).map_err(unreadable)?;
                    Ok(row.version)
                };
                let (before, after) = (version(change.old_image)?, version(change.new_image)?);
                if after > before {
                    self.sweeps.start(after).await?;
                }
                Ok(Vec::new())
            }
            _ => Ok(Vec::new()),
        }
    }
}

fn unreadable(error: serde_dynamo::Error) -> Failure {
    Failure::bug(format!("a stream record does not parse: {error}"))
}
