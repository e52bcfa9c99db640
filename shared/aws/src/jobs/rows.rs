//! A job's own row, changed by compare-and-swap.

use aws_sdk_dynamodb::types::{Delete, Put, TransactWriteItem};
use lamplighter_domain::Failure;
use lamplighter_domain::rollout::tally::Tally;
use lamplighter_domain::rollout::trail::{self, Cause, Event};
use lamplighter_domain::rollout::{Rollout, RolloutId};
use serde::{Deserialize, Serialize};

use super::Jobs;
use crate::clock;
use crate::job_views::{self, Kept, Pointer};
use crate::table::{self, Item, Key, ROLLOUTS};

/// How often a change is tried while others change the same row.
const ATTEMPTS: u32 = 12;
/// What a job leaves behind stays so long after its end.
const KEPT_MILLIS: u64 = 180 * 24 * 60 * 60 * 1000;

/// `ROLLOUT#id / JOINED`.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Joined {
    #[serde(default)]
    joined: u64,
}

/// When the rows of a job's devices may go, in seconds since 1970.
pub(super) fn expiry(rollout: &Rollout) -> u64 {
    rollout.ends_at.plus_millis(KEPT_MILLIS).0 / 1000
}

/// The same for a row that has no field of its own for it.
pub(super) fn expiring(mut item: Item, at: u64) -> Result<Item, Failure> {
    item.insert("expiresAt".to_owned(), table::attribute(&at)?);
    Ok(item)
}

impl Jobs {
    /// A job that a caller or the workflow names.
    pub(super) async fn named(&self, id: &RolloutId) -> Result<Kept, Failure> {
        let kept = job_views::kept(&self.table, id).await?;
        kept.ok_or_else(|| job_views::no_job(id))
    }

    /// How many have joined the list since it was made.
    pub(super) async fn joined(&self, rollout: &Rollout) -> Result<u64, Failure> {
        if rollout.spec.late_joiners.is_none() {
            return Ok(0);
        }
        let row: Option<Joined> = self.table.get(&Key::joined(&rollout.rollout_id)).await?;
        Ok(row.unwrap_or_default().joined)
    }

    /// Changes the row in its own course, as long as no wave ends by it.
    pub(super) async fn change(
        &self,
        id: &RolloutId,
        to: impl Fn(Kept) -> Result<Kept, Failure>,
    ) -> Result<Kept, Failure> {
        let cause = Cause::Course(&Tally::default());
        self.change_by(cause, id, to).await
    }

    /// Changes the row, and has its trail tell so; read and changed again if it
    /// has changed since it was read. Nothing is written where nothing changes.
    pub(super) async fn change_by(
        &self,
        cause: Cause<'_>,
        id: &RolloutId,
        to: impl Fn(Kept) -> Result<Kept, Failure>,
    ) -> Result<Kept, Failure> {
        for _ in 0..ATTEMPTS {
            let before = self.named(id).await?;
            let mut after = to(before.clone())?;
            if !after.rollout.reads_on(&before.rollout) {
                after.read_on = None;
            }
            if after == before {
                return Ok(before);
            }
            let now = clock::now();
            let told = trail::changed(&before.rollout, &mut after.rollout, cause, now);
            after.rollout.version = before.rollout.version + 1;
            if self.replace(&before, &after, &told).await? {
                return Ok(after);
            }
        }
        Err(Failure::busy("the job is changing at this moment", 1))
    }

    async fn replace(
        &self,
        before: &Kept,
        after: &Kept,
        told: &[(u32, Event)],
    ) -> Result<bool, Failure> {
        let id = &before.rollout.rollout_id;
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::rollout(id), after)?))
            .condition_expression("#version = :read")
            .expression_attribute_names("#version", "version")
            .expression_attribute_values(":read", table::attribute(&before.rollout.version)?);
        let mut changes = vec![table::put(put)?];
        changes.extend(self.told(id, told)?);
        match (before.rollout.phase.ended(), after.rollout.phase.ended()) {
            (false, true) => {
                let delete = Delete::builder()
                    .table_name(&self.table.name)
                    .set_key(Some(Key::open_rollout(id).item()));
                changes.push(table::delete(delete)?);
            }
            (true, false) => changes.push(self.open(id)?),
            _ => {}
        }
        Ok(self.table.transact(changes).await?.is_none())
    }

    /// The events of a change, to be written with it.
    pub(super) fn told(
        &self,
        id: &RolloutId,
        told: &[(u32, Event)],
    ) -> Result<Vec<TransactWriteItem>, Failure> {
        let row = |(number, event): &(u32, Event)| {
            let item = table::write(&Key::trail(id, *number), event)?;
            let put = Put::builder().table_name(&self.table.name);
            table::put(put.set_item(Some(item)))
        };
        told.iter().map(row).collect()
    }

    /// That the job has not ended.
    pub(super) fn open(&self, id: &RolloutId) -> Result<TransactWriteItem, Failure> {
        self.pointer(&Key::open_rollout(id), id)
    }

    /// A row that leads to the job.
    pub(super) fn pointer(&self, key: &Key, id: &RolloutId) -> Result<TransactWriteItem, Failure> {
        let pointer = Pointer {
            rollout_id: id.clone(),
        };
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(key, &pointer)?));
        table::put(put)
    }

    /// All jobs that have not ended.
    pub(super) async fn open_jobs(&self) -> Result<Vec<Rollout>, Failure> {
        let mut open = Vec::new();
        for id in self.pointers(ROLLOUTS, "OPEN#").await? {
            let kept = job_views::kept(&self.table, &id).await?;
            open.extend(kept.map(|kept| kept.rollout));
        }
        Ok(open)
    }

    /// The jobs to which rows of a partition lead.
    pub(super) async fn pointers(
        &self,
        partition: &str,
        prefix: &str,
    ) -> Result<Vec<RolloutId>, Failure> {
        let range = table::Range {
            partition,
            prefix,
            after: None,
            descending: false,
            limit: 1000,
        };
        let (rows, _) = self.table.page(&range).await?;
        let id = |row| table::read::<Pointer>(row).map(|pointer| pointer.rollout_id);
        rows.into_iter().map(id).collect()
    }

    /// A row that goes with the job's others.
    pub(super) async fn put_expiring(
        &self,
        key: &Key,
        value: &impl Serialize,
        at: u64,
    ) -> Result<(), Failure> {
        let item = expiring(table::write(key, value)?, at)?;
        self.table.put_item(item).await
    }
}

/// The row of a job that begins.
pub(super) fn first(mut rollout: Rollout) -> Kept {
    rollout.version = 1;
    Kept {
        rollout,
        run: 0,
        steps: 0,
        read_on: None,
    }
}
