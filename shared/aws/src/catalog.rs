//! Applies a catalog: look, compare, do what differs, look again.
//!
//! What is remembered between two applications is what catalogs made; how far
//! one has come is seen by looking. So one that was cut off is taken up by
//! applying the same catalog again (invariant 6).

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::catalog::{
    self, Asked, Catalog, CatalogPlan, Change, Entry, Kept, Refusal, Warning,
};
use lamplighter_domain::time::Moment;
use lamplighter_domain::{Failure, Kind};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::organisation::Organisation;
use crate::table::Table;
use crate::updates::Updates;

mod definitions;
mod ensure;
mod materialise;
mod moves;
mod observe;
mod one_group;

pub use moves::Progress;

use ensure::Ensured;
use moves::Time;

/// How many calls are under way at once: well under the quotas of the
/// reading calls, and about that of `AttachPolicy`.
const AT_ONCE: usize = 8;
/// Somebody else creates the same things meanwhile: how often that is met by
/// looking again.
const MOST_LOOKS: usize = 3;
/// For how long one request moves devices. A caller waits for half a minute at
/// most, and the last device has to be done by then.
const MOVING_MILLIS: u64 = 12_000;

/// Everything that applying a catalog works with.
#[derive(Clone)]
pub struct Catalogs {
    /// AWS IoT.
    pub organisation: Organisation,
    /// The registry.
    pub table: Table,
    /// What moves devices.
    pub updates: Updates,
}

/// How far a catalog has been applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Status {
    /// It was only compared.
    #[default]
    Planned,
    /// It was refused, and nothing was done.
    Refused,
    /// Some of it is still to be done: apply it again.
    Pending,
    /// All of it is so, but for what has to wait.
    Done,
}

/// What applying a catalog came to, or would come to.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// How far it has come.
    pub status: Status,
    /// What was changed, or would be.
    pub changes: Vec<Change>,
    /// What was there, as declared.
    pub unchanged: Vec<Entry>,
    /// What cannot be.
    pub refused: Vec<Refusal>,
    /// What is left alone because somebody has stopped it.
    pub kept: Vec<Kept>,
    /// What can only be done later.
    pub waiting: Vec<Kept>,
    /// What is allowed and hardly meant.
    pub warnings: Vec<Warning>,
    /// How far devices have been moved, if some were to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
}

impl Applied {
    /// A plan as it is shown.
    fn planned(plan: &CatalogPlan, catalog: &Catalog) -> Self {
        let changes = plan.steps.iter().filter_map(|step| step.change.clone());
        Self {
            changes: changes.collect(),
            ..Self::of(plan, catalog)
        }
    }

    /// A plan of which nothing is done yet.
    fn of(plan: &CatalogPlan, catalog: &Catalog) -> Self {
        Self {
            status: Status::Planned,
            changes: Vec::new(),
            unchanged: plan.unchanged.clone(),
            refused: plan.refused.clone(),
            kept: plan.kept.clone(),
            waiting: plan.waiting.clone(),
            warnings: catalog.warnings.clone(),
            progress: None,
        }
    }

    /// Why the catalog was not applied, if anything of it was refused.
    pub fn refusal(&self) -> Option<Failure> {
        let first = self.refused.first()?;
        let reasons: Vec<_> = self.refused.iter().map(|r| r.reason.as_str()).collect();
        let remedy = format!("Nothing was applied. {}", first.remedy);
        Some(Failure::conflict(
            &first.entry.name,
            reasons.join(". "),
            remedy,
        ))
    }

    /// Notes what a step has done, and what it has left to be done.
    fn note(&mut self, step: &catalog::Step, ensured: Ensured) {
        match ensured {
            Ensured::Done => self.changes.extend(step.change.clone()),
            Ensured::Later(reason) => {
                self.status = Status::Pending;
                self.wait(step, reason);
            }
            Ensured::Moving(progress) => {
                let left = progress.left > 0 || progress.more;
                if left {
                    self.status = Status::Pending;
                }
                if progress.moved > 0 || !left {
                    self.changes.extend(step.change.clone());
                }
                self.progress.get_or_insert_default().add(progress);
            }
        }
    }

    /// Notes a step that can only be done later.
    fn wait(&mut self, step: &catalog::Step, reason: &str) {
        let entry = step.change.as_ref().map(|change| change.entry.clone());
        self.waiting.extend(entry.map(|entry| Kept {
            entry,
            reason: reason.to_owned(),
        }));
    }
}

/// `TYPE#name / TOPICS`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Topics {
    topics: BTreeSet<String>,
}

impl Catalogs {
    /// Compares, and changes nothing.
    pub async fn plan(&self, catalog: &Catalog, asked: Asked) -> Result<Applied, Failure> {
        Ok(Applied::planned(
            &self.compare(catalog, asked).await?,
            catalog,
        ))
    }

    /// Does what differs. If anything is refused, nothing is done. `deadline`
    /// is when this invocation is certain to have ended.
    pub async fn apply(
        &self,
        catalog: &Catalog,
        asked: Asked,
        deadline: Moment,
    ) -> Result<Applied, Failure> {
        let time = Time {
            catalog: &catalog.name,
            until: clock::now().plus_millis(MOVING_MILLIS),
            deadline,
        };
        for _ in 0..MOST_LOOKS {
            let plan = self.compare(catalog, asked).await?;
            let mut applied = Applied::of(&plan, catalog);
            if !plan.refused.is_empty() {
                applied.status = Status::Refused;
                return Ok(applied);
            }
            applied.status = Status::Done;
            match self.carry_out_all(&plan, &mut applied, time).await {
                Ok(()) => return Ok(applied),
                // Somebody else was faster: what they made is looked at next.
                Err(failure) if failure.kind == Kind::Conflict => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::busy(
            "the catalog is being applied by somebody else",
            2,
        ))
    }

    async fn compare(&self, catalog: &Catalog, asked: Asked) -> Result<CatalogPlan, Failure> {
        let seen = self.observe(catalog).await?;
        Ok(catalog::plan(catalog, &seen, asked.drain, clock::now()))
    }

    /// Does everything in stages, in each all at once. What cannot be done yet
    /// keeps what comes after it. What is done is told in the plan's order.
    async fn carry_out_all(
        &self,
        plan: &CatalogPlan,
        applied: &mut Applied,
        time: Time<'_>,
    ) -> Result<(), Failure> {
        for stage in catalog::stages(&plan.steps) {
            if applied.status == Status::Pending {
                for step in stage {
                    applied.wait(step, "what comes before it is not done yet");
                }
                continue;
            }
            let one_by_one = stage.iter().any(|step| step.item.one_by_one());
            let work = stage.iter().enumerate().map(async |(at, step)| {
                let ensured = self.ensure(step, time).await?;
                Ok::<_, Failure>((at, step, ensured))
            });
            let mut done: Vec<_> = stream::iter(work)
                .buffer_unordered(if one_by_one { 1 } else { AT_ONCE })
                .try_collect()
                .await?;
            done.sort_unstable_by_key(|(at, ..)| *at);
            for (_, step, ensured) in done {
                applied.note(step, ensured);
            }
        }
        Ok(())
    }
}
