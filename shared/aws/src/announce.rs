//! Announces what the registry's stream tells: created and deleted devices.

use aws_config::SdkConfig;
use aws_lambda_events::dynamodb::{Event, EventRecord};
use aws_lambda_events::streams::{DynamoDbBatchItemFailure, DynamoDbEventResponse};
use aws_sdk_eventbridge::primitives::DateTime;
use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use lamplighter_domain::Failure;
use lamplighter_domain::announcement::{Announcement, SOURCE, announcement};
use lamplighter_domain::operation::{Operation, OperationStatus};
use serde::Deserialize;

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
        })
    }

    /// Announces one batch. The first failure ends it: Lambda delivers
    /// everything from there on again.
    pub async fn announce(&self, batch: Event) -> Result<DynamoDbEventResponse, Failure> {
        let mut failed = Vec::new();
        let mut pending = Vec::new();
        for record in batch.records {
            let sequence_number = record
                .change
                .sequence_number
                .clone()
                .ok_or_else(|| Failure::bug("a stream record has no sequence number"))?;
            match announced(record) {
                Ok(Some(announcement)) => pending.push(Pending {
                    sequence_number,
                    announcement,
                }),
                Ok(None) => {}
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
                        i64::try_from(detail.at.0).unwrap_or(i64::MAX),
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
            let operation = pending.announcement.detail.operation_id.as_str();
            telemetry::failed(
                &Failure::busy("an event was not taken", 1)
                    .operator(format!("events:PutEvents: {code} for {operation}")),
            );
        }
        if lost.is_empty() {
            return all();
        }
        lost.into_iter()
            .map(|(pending, _)| pending.sequence_number.clone())
            .collect()
    }
}

/// What one change announces.
fn announced(record: EventRecord) -> Result<Option<Announcement>, Failure> {
    let unreadable = |error: serde_dynamo::Error| {
        Failure::bug(format!("a stream record does not parse: {error}"))
    };
    let change = record.change;
    let row: Row = serde_dynamo::from_item(change.keys).map_err(unreadable)?;
    if row.sk != "OPERATION" || record.event_name == "REMOVE" {
        return Ok(None);
    }
    let before: Before = serde_dynamo::from_item(change.old_image).map_err(unreadable)?;
    let after: Operation = serde_dynamo::from_item(change.new_image).map_err(unreadable)?;
    Ok(announcement(before.status, &after))
}
