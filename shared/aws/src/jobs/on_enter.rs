//! The jobs that dynamic groups give to those that enter them.

use aws_sdk_dynamodb::types::Put;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{DefinitionRow, JobTemplate};
use lamplighter_domain::names::{GroupName, ThingName};
use lamplighter_domain::rollout::on_enter::{OnEnterRow, OnEntering, on_entering, order, spec};
use lamplighter_domain::rollout::{Rollout, RolloutId};

use super::Jobs;
use super::rows::first;
use crate::job_views::{self, Kept};
use crate::table::{self, Key};
use crate::{clock, type_names};

impl Jobs {
    /// Lists one that has entered for its group's own job, which begins with the
    /// first. What the definition says now counts.
    ///
    /// # Errors
    /// `NotFound` and `Invalid` where the job cannot begin, as for
    /// [`prepare`](Self::prepare).
    pub(super) async fn give_on_enter(
        &self,
        group: &GroupName,
        thing: &ThingName,
    ) -> Result<(), Failure> {
        let definition: Option<DefinitionRow> = self.table.get(&Key::definition(group)).await?;
        let Some(definition) = definition else {
            return Ok(());
        };
        let Some(job) = &definition.definition.on_enter.job else {
            return Ok(());
        };
        let template: Option<JobTemplate> = self.table.get(&Key::job_template(job)).await?;
        let template = template.ok_or_else(|| super::document::no_template(job))?;
        let row: Option<OnEnterRow> = self.table.get(&Key::on_enter(group)).await?;
        let kept = match &row {
            Some(row) => job_views::kept(&self.table, &row.rollout_id).await?,
            None => None,
        };
        let thing_type = match &template.thing_type {
            Some(declared) => Some(type_names::current(&self.table, declared).await?),
            None => None,
        };
        let newest = row.as_ref().zip(kept.as_ref().map(|kept| &kept.rollout));
        let kept = match on_entering(
            &definition,
            &template,
            thing_type.as_ref(),
            newest,
            clock::now(),
        ) {
            OnEntering::Nothing => return Ok(()),
            OnEntering::Join => kept,
            OnEntering::Begin(next) => Some(
                self.begin_on_enter(group, &template, row.as_ref(), &next)
                    .await?,
            ),
        };
        match kept {
            Some(kept) => self.comes_late(&kept, thing).await,
            None => Ok(()),
        }
    }

    /// Begins the group's next job. Others that enter at the same moment begin the
    /// same one, and who was interrupted goes on here.
    async fn begin_on_enter(
        &self,
        group: &GroupName,
        template: &JobTemplate,
        before: Option<&OnEnterRow>,
        next: &OnEnterRow,
    ) -> Result<Kept, Failure> {
        let id = &next.rollout_id;
        let kept = match job_views::kept(&self.table, id).await? {
            Some(kept) => kept,
            None => self.claim_on_enter(group, template, next).await?,
        };
        self.run(&kept).await?;
        self.point_to(group, before.map(|row| &row.rollout_id), next)
            .await?;
        Ok(kept)
    }

    async fn claim_on_enter(
        &self,
        group: &GroupName,
        template: &JobTemplate,
        next: &OnEnterRow,
    ) -> Result<Kept, Failure> {
        let (mut order, mut spec) = (order(group, template, next), spec()?);
        self.prepare(&mut order, &mut spec).await?;
        let id = next.rollout_id.clone();
        let kept = first(Rollout::following(id.clone(), spec, clock::now()));
        if self.claim(&kept, &order).await? {
            return Ok(kept);
        }
        self.named(&id).await
    }

    /// Has the group's row name its newest job, unless somebody has done it.
    async fn point_to(
        &self,
        group: &GroupName,
        before: Option<&RolloutId>,
        next: &OnEnterRow,
    ) -> Result<(), Failure> {
        let put = Put::builder()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::on_enter(group), next)?));
        let put = match before {
            Some(before) => put
                .condition_expression("rolloutId = :before")
                .expression_attribute_values(":before", table::attribute(before)?),
            None => put.condition_expression("attribute_not_exists(PK)"),
        };
        let changes = vec![table::put(put)?];
        self.table.transact(changes).await.map(drop)
    }
}
