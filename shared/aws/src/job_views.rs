//! Jobs as the registry has them, read for callers and by who works on them.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::device::DeviceRecord;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::rollout::execution::Execution;
use lamplighter_domain::rollout::of_device::OfDevice;
use lamplighter_domain::rollout::order::Order;
use lamplighter_domain::rollout::tally::Tally;
use lamplighter_domain::rollout::target::Examples;
use lamplighter_domain::rollout::trail::{Event, EventView, MOST_EVENTS};
use lamplighter_domain::rollout::view::{FailureGroup, RolloutView, failures};
use lamplighter_domain::rollout::{Rollout, RolloutId};
use lamplighter_domain::time::Moment;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::table::{
    self, EXECUTION, Key, ROLLOUTS, Range, STARTED, TRAIL, Table, rollout_partition,
};

/// How many rows are read for failures at most; what is told of more is of a
/// part.
const MOST_PAGES: usize = 20;
const PAGE: i32 = 1000;
const USUAL: i32 = 25;
/// A page of one device's jobs looks at so many jobs at most, so many at once.
const MOST_LOOKED_AT: usize = 2000;
const AT_ONCE: usize = 16;

/// `ROLLOUT#id / ROLLOUT`, with what only the shell needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kept {
    /// The rollout.
    #[serde(flatten)]
    pub rollout: Rollout,
    /// Which execution of the workflow works on it.
    #[serde(default)]
    pub run: u32,
    /// How often that has called.
    #[serde(default)]
    pub steps: u32,
    /// How far the reading of a job's executions has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_on: Option<String>,
}

/// `ROLLOUT#id / DEVICE#thing`, with how often it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptExecution {
    /// The device.
    #[serde(flatten)]
    pub execution: Execution,
    /// From 1.
    pub revision: u64,
    /// When the row may go, in seconds since 1970.
    #[serde(default)]
    pub expires_at: u64,
}

/// A job by its id.
pub async fn kept(table: &Table, id: &RolloutId) -> Result<Option<Kept>, Failure> {
    table.get(&Key::rollout(id)).await
}

/// The counts of the wave under way, or else of the last one.
pub async fn tally(table: &Table, rollout: &Rollout) -> Result<Tally, Failure> {
    let Some(wave) = rollout.counted() else {
        return Ok(Tally::default());
    };
    let key = Key::wave(&rollout.rollout_id, wave);
    Ok(table.get(&key).await?.unwrap_or_default())
}

/// That there is no such job.
pub fn no_job(id: &RolloutId) -> Failure {
    Failure::not_found(
        "jobId",
        format!("there is no job {}", id.as_str()),
        "Use the jobId that the job's start answered with.",
    )
}

/// A job as a caller sees it, with its failures by reason, and its trail.
pub async fn job(table: &Table, id: &RolloutId, now: Moment) -> Result<Value, Failure> {
    let kept = kept(table, id).await?.ok_or_else(|| no_job(id))?;
    let order: Option<Order> = table.get(&Key::order(id)).await?;
    let order = order.ok_or_else(|| Failure::bug("a job has no order"))?;
    let totals = totals(table, id).await?;
    let groups = if totals.failing() + totals.unconfirmed + totals.left > 0 {
        by_reason(table, &kept.rollout).await?
    } else {
        Vec::new()
    };
    let mut seen = view(table, &kept, &order, totals, groups, now).await?;
    if kept.rollout.left_out > 0 {
        let some: Option<Examples> = table.get(&Key::left_out(id)).await?;
        seen["leftOut"] = json!(some.unwrap_or_default());
        seen["leftOut"]["count"] = kept.rollout.left_out.into();
    }
    let events = trail(table, id).await?;
    let events: Vec<_> = events.iter().map(EventView::from).collect();
    seen["events"] = json!(events);
    Ok(seen)
}

/// What happened to a job, the first first.
async fn trail(table: &Table, id: &RolloutId) -> Result<Vec<Event>, Failure> {
    let range = Range {
        partition: &rollout_partition(id),
        prefix: TRAIL,
        after: None,
        descending: false,
        limit: i32::try_from(MOST_EVENTS).unwrap_or(i32::MAX),
    };
    let (rows, _) = table.page(&range).await?;
    rows.into_iter().map(table::read).collect()
}

async fn totals(table: &Table, id: &RolloutId) -> Result<Tally, Failure> {
    Ok(table.get(&Key::totals(id)).await?.unwrap_or_default())
}

async fn view(
    table: &Table,
    kept: &Kept,
    order: &Order,
    totals: Tally,
    failures: Vec<FailureGroup>,
    now: Moment,
) -> Result<Value, Failure> {
    let tally = tally(table, &kept.rollout).await?;
    let mut view = json!(RolloutView::new(
        &kept.rollout,
        &totals,
        &tally,
        failures,
        now
    ));
    view["template"] = json!(order.template);
    view["parameters"] = json!(order.parameters);
    view["targets"] = json!(order.targets);
    view["startedBy"] = json!(order.by);
    Ok(view)
}

async fn by_reason(table: &Table, rollout: &Rollout) -> Result<Vec<FailureGroup>, Failure> {
    let partition = rollout_partition(&rollout.rollout_id);
    let mut rows: Vec<Execution> = Vec::new();
    let mut after = None;
    for _ in 0..MOST_PAGES {
        let range = Range {
            partition: &partition,
            prefix: EXECUTION,
            after: after.take(),
            descending: false,
            limit: PAGE,
        };
        let (items, more) = table.page(&range).await?;
        after = items.last().map(|item| table::sort_key(item).to_owned());
        for item in items {
            let row = table::read::<KeptExecution>(item)?.execution;
            if row.class(&rollout.spec).told_of() {
                rows.push(row);
            }
        }
        if !more {
            break;
        }
    }
    Ok(failures(rows.iter(), &rollout.spec))
}

/// `ROLLOUTS / AT#moment#id`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pointer {
    /// The job.
    pub rollout_id: RolloutId,
}

/// Jobs, the newest first, as `limit` and `cursor` say.
pub async fn list(table: &Table, query: &str, now: Moment) -> Result<Value, Failure> {
    let (limit, cursor) = lamplighter_domain::rollout::view::list_query(query)?;
    let range = Range {
        partition: ROLLOUTS,
        prefix: STARTED,
        after: cursor.map(|cursor| format!("{STARTED}{cursor}")),
        descending: true,
        limit: limit.map_or(USUAL, |limit| i32::try_from(limit).unwrap_or(USUAL)),
    };
    let (rows, more) = table.page(&range).await?;
    let last = rows.last().map(|item| table::sort_key(item).to_owned());
    let mut items = Vec::new();
    for row in rows {
        let id = table::read::<Pointer>(row)?.rollout_id;
        let order_key = Key::order(&id);
        let (kept, order, totals) = tokio::try_join!(
            kept(table, &id),
            table.get::<Order>(&order_key),
            totals(table, &id)
        )?;
        if let (Some(kept), Some(order)) = (kept, order) {
            items.push(view(table, &kept, &order, totals, Vec::new(), now).await?);
        }
    }
    let mut answer = json!({ "items": items });
    if let (true, Some(last)) = (more, last) {
        answer["nextCursor"] = last.trim_start_matches(STARTED).into();
    }
    Ok(answer)
}

/// The jobs that one device has had, the newest first, as `limit` and `cursor`
/// say. A job's devices stand in its own partition: whether this one does is
/// asked of one job after the other. A page may so be short of its limit, and
/// still not the last.
///
/// # Errors
/// `NotFound` without the device.
pub async fn of_device(table: &Table, thing: &ThingName, query: &str) -> Result<Value, Failure> {
    let record: Option<DeviceRecord> = table.get(&Key::device(thing)).await?;
    if record.is_none() {
        return Err(DeviceRecord::absent(thing));
    }
    let (limit, cursor) = lamplighter_domain::rollout::view::list_query(query)?;
    let limit = limit.unwrap_or(usize::try_from(USUAL).unwrap_or_default());
    let range = Range {
        partition: ROLLOUTS,
        prefix: STARTED,
        after: cursor.map(|cursor| format!("{STARTED}{cursor}")),
        descending: true,
        limit: i32::try_from(MOST_LOOKED_AT).unwrap_or(i32::MAX),
    };
    let (rows, mut more) = table.page(&range).await?;
    let (count, mut looked_at) = (rows.len(), 0);
    let places: Vec<_> = rows
        .iter()
        .map(|row| table::sort_key(row).to_owned())
        .collect();
    let looks = rows.into_iter().map(async |row| {
        let id = table::read::<Pointer>(row)?.rollout_id;
        job_of_device(table, &id, thing).await
    });
    let mut looks = stream::iter(looks).buffered(AT_ONCE);
    let mut items = Vec::new();
    while let Some(found) = looks.try_next().await? {
        looked_at += 1;
        items.extend(found);
        if items.len() == limit {
            more |= looked_at < count;
            break;
        }
    }
    let mut answer = json!({ "items": items });
    if let (true, Some(last)) = (more, places.get(looked_at.wrapping_sub(1))) {
        answer["nextCursor"] = last.trim_start_matches(STARTED).into();
    }
    Ok(answer)
}

async fn job_of_device(
    table: &Table,
    id: &RolloutId,
    thing: &ThingName,
) -> Result<Option<OfDevice>, Failure> {
    let row: Option<KeptExecution> = table.get(&Key::execution(id, thing)).await?;
    let Some(row) = row else {
        return Ok(None);
    };
    let order_key = Key::order(id);
    let (kept, order) = tokio::try_join!(kept(table, id), table.get::<Order>(&order_key))?;
    let both = kept.zip(order);
    Ok(both.map(|(kept, order)| OfDevice::new(&kept.rollout, order.template, &row.execution)))
}
