//! Those that join a job's group, or enter it, after its list was made.

use aws_sdk_dynamodb::types::{ConditionCheck, Put, Update};
use lamplighter_domain::Failure;
use lamplighter_domain::device::DeviceRecord;
use lamplighter_domain::membership::MemberRow;
use lamplighter_domain::names::{GroupName, ThingName};
use lamplighter_domain::rollout::Rollout;
use lamplighter_domain::rollout::target::admit;
use lamplighter_domain::rollout::wave::Cursor;
use lamplighter_domain::time::Moment;

use super::Jobs;
use super::listing::{Target, place};
use super::rows::{expiring, expiry};
use crate::clock;
use crate::failure;
use crate::job_views::{self, Kept};
use crate::table::{self, ENTER_FOLLOWER, FOLLOWER, Key, group_partition};

/// The place of one who joined at this moment: after all who were there, and
/// after those who joined before.
fn late_place(at: Moment, thing: &ThingName) -> Cursor {
    Cursor(format!("L#{:014}#{thing}", at.0))
}

/// When one joined that was not there at the start.
pub(super) fn listed_at(place: &Cursor) -> Option<Moment> {
    let (at, _) = place.0.strip_prefix("L#")?.split_once('#')?;
    at.parse().ok().map(Moment)
}

impl Jobs {
    /// A thing has joined a static group: the jobs that follow it list the thing.
    pub(super) async fn joined_group(
        &self,
        group: &GroupName,
        thing: &ThingName,
    ) -> Result<(), Failure> {
        self.followed(group, FOLLOWER, thing).await
    }

    /// A device has entered a dynamic group: the jobs that follow it list the
    /// device, and so does the group's own, if `job` says that it has one. Told
    /// after it has left again, it has not entered.
    pub(super) async fn entered_group(
        &self,
        group: &GroupName,
        thing: &ThingName,
        job: bool,
    ) -> Result<(), Failure> {
        let member: Option<MemberRow> = self.table.get(&Key::member(group, thing)).await?;
        if member.is_none() {
            return Ok(());
        }
        self.followed(group, ENTER_FOLLOWER, thing).await?;
        if job {
            self.give_on_enter(group, thing).await?;
        }
        Ok(())
    }

    async fn followed(
        &self,
        group: &GroupName,
        followers: &str,
        thing: &ThingName,
    ) -> Result<(), Failure> {
        for id in self.pointers(&group_partition(group), followers).await? {
            if let Some(kept) = job_views::kept(&self.table, &id).await? {
                self.comes_late(&kept, thing).await?;
            }
        }
        Ok(())
    }

    /// Lists one for a job that has begun, if it may get that.
    pub(super) async fn comes_late(&self, kept: &Kept, thing: &ThingName) -> Result<(), Failure> {
        if kept.rollout.phase.ended() {
            return Ok(());
        }
        let record: Option<DeviceRecord> = self.table.get(&Key::device(thing)).await?;
        if admit(&kept.rollout.spec, thing, record.as_ref()).is_ok() {
            self.list_late(&kept.rollout, thing).await?;
            // Read after that, since the workflow may have begun to wait before it.
            let kept = self.named(&kept.rollout.rollout_id).await?;
            self.wake_if_due(&kept).await?;
        }
        Ok(())
    }

    /// Lists one who has joined, once, unless it was there at the start.
    async fn list_late(&self, rollout: &Rollout, thing: &ThingName) -> Result<(), Failure> {
        let id = &rollout.rollout_id;
        let expires = expiry(rollout);
        let target = Target {
            thing_name: thing.clone(),
        };
        let row = |key: &Key| {
            let item = expiring(table::write(key, &target)?, expires)?;
            Ok::<_, Failure>(
                Put::builder()
                    .table_name(&self.table.name)
                    .set_item(Some(item)),
            )
        };
        let once =
            row(&Key::late_joiner(id, thing))?.condition_expression("attribute_not_exists(PK)");
        let listed = row(&Key::target(id, &late_place(clock::now(), thing)))?;
        let there = ConditionCheck::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::target(id, &place(thing)).item()))
            .condition_expression("attribute_not_exists(PK)");
        let joined = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::joined(id).item()))
            .update_expression("ADD joined :one")
            .expression_attribute_values(":one", table::attribute(&1)?);
        let changes = vec![
            table::put(once)?,
            table::check(there)?,
            table::put(listed)?,
            table::update(joined)?,
        ];
        // Others join at the same moment, and are counted in the same row.
        self.table.transact_among_others(changes).await.map(drop)
    }

    /// A group and all below it.
    pub(super) async fn with_groups_below(
        &self,
        name: &GroupName,
    ) -> Result<Vec<GroupName>, Failure> {
        let mut groups = vec![name.clone()];
        let request = self.iot.list_thing_groups().recursive(true);
        let request = request.parent_group(name.as_str());
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure::of("iot:ListThingGroups", &error))?;
            for group in page.thing_groups.unwrap_or_default() {
                groups.push(GroupName::parse(group.group_name().unwrap_or_default())?);
            }
        }
        Ok(groups)
    }
}
