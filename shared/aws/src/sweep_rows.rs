//! A sweep's rows in the registry.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use lamplighter_domain::Failure;
use lamplighter_domain::names::SweepId;
use lamplighter_domain::sweep::{Counts, Ended, Sweep, SweepView};
use lamplighter_domain::time::{Day, Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::table::{self, Key, Table, incomplete};

/// `SWEEP#LATEST / POINTER`: which sweep is open or was last, and from which
/// day on the next one has to look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pointer {
    /// The sweep.
    pub sweep_id: SweepId,
    /// Whether it holds back any other.
    pub open: bool,
    /// The first day on which something may be due.
    pub oldest_day: Day,
}

/// How far back the very first sweep looks; a later one knows.
const FIRST_LOOK_DAYS: u64 = 31;

/// Which sweep is open or was last.
pub async fn pointer(table: &Table) -> Result<Option<Pointer>, Failure> {
    table.get(&Key::latest_sweep()).await
}

/// The first day on which something may be due.
pub fn oldest_day(pointer: Option<&Pointer>, now: Moment) -> Day {
    pointer.map_or(Day::of(now).minus(FIRST_LOOK_DAYS), |pointer| {
        pointer.oldest_day
    })
}

/// A sweep and its counts.
pub async fn sweep(table: &Table, id: &SweepId) -> Result<Option<(Sweep, Counts)>, Failure> {
    let (sweep_key, counts_key) = (Key::sweep(id), Key::sweep_counts(id));
    let (sweep, counts) = tokio::join!(table.get(&sweep_key), table.get(&counts_key));
    let counts = counts?.unwrap_or_default();
    Ok(sweep?.map(|sweep| (sweep, counts)))
}

/// A sweep that a caller names.
pub async fn named(table: &Table, id: &SweepId) -> Result<(Sweep, Counts), Failure> {
    sweep(table, id).await?.ok_or_else(|| {
        Failure::not_found(
            "sweepId",
            format!("there is no sweep {id}"),
            "Check the id that the start of the sweep answered with.",
        )
    })
}

/// A sweep as a caller sees it.
pub async fn view(table: &Table, id: &SweepId, now: Moment) -> Result<Value, Failure> {
    let (sweep, counts) = named(table, id).await?;
    Ok(json!(SweepView::new(&sweep, counts, now)))
}

/// What came of writing a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Saved {
    /// It is written.
    Yes,
    /// Somebody else has changed it meanwhile, or made it.
    Changed,
    /// Another sweep is open.
    OtherOpen,
}

/// Writes a sweep that was read or made at its present version. The pointer
/// goes with it, so that no two sweeps are ever open at once.
pub async fn save(table: &Table, mut sweep: Sweep) -> Result<(Saved, Sweep), Failure> {
    let read = sweep.version;
    sweep.version += 1;
    let pointer = Pointer {
        sweep_id: sweep.sweep_id.clone(),
        open: sweep.status.open(),
        oldest_day: sweep.oldest_day(),
    };
    let row = Put::builder()
        .table_name(&table.name)
        .set_item(Some(table::write(&Key::sweep(&sweep.sweep_id), &sweep)?));
    let row = if read == 0 {
        row.condition_expression("attribute_not_exists(PK)")
    } else {
        row.condition_expression("#version = :read")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":read", table::attribute(&read)?)
    };
    let latest = Put::builder()
        .table_name(&table.name)
        .set_item(Some(table::write(&Key::latest_sweep(), &pointer)?))
        .condition_expression("attribute_not_exists(PK) OR #open = :no OR sweepId = :id")
        .expression_attribute_names("#open", "open")
        .expression_attribute_values(":no", table::attribute(&false)?)
        .expression_attribute_values(":id", table::attribute(&sweep.sweep_id)?);
    let items = [row, latest].map(|put| {
        let put = put.build().map_err(incomplete)?;
        Ok(TransactWriteItem::builder().put(put).build())
    });
    let items = items.into_iter().collect::<Result<_, Failure>>()?;
    Ok(match table.transact(items).await? {
        None => (Saved::Yes, sweep),
        Some(0) => (Saved::Changed, sweep),
        Some(_) => (Saved::OtherOpen, sweep),
    })
}

/// How a sweep's rotation has ended, for the transaction that ends it: so it
/// is counted once, however often its end is delivered.
pub fn ended(table: &Table, id: &SweepId, ended: Ended) -> Result<TransactWriteItem, Failure> {
    let update = Update::builder()
        .table_name(&table.name)
        .set_key(Some(Key::sweep_counts(id).item()))
        .update_expression("ADD #field :one")
        .expression_attribute_names("#field", ended.name())
        .expression_attribute_values(":one", table::attribute(&1)?)
        .build()
        .map_err(incomplete)?;
    Ok(TransactWriteItem::builder().update(update).build())
}
