//! Who is a target no more when a wave comes to it: a list that was made once
//! may be older than a group is.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::device::DeviceRecord;
use lamplighter_domain::membership::MemberRow;
use lamplighter_domain::names::{GroupName, ThingName};
use lamplighter_domain::rollout::RolloutId;
use lamplighter_domain::rollout::order::Targets;
use lamplighter_domain::rollout::target::Finder;
use lamplighter_domain::{Failure, Kind};

use super::Jobs;
use super::existing::CALLS;
use crate::describe::found;
use crate::table::Key;

/// By what it is told whether one is still a target.
enum Membership<'a> {
    /// Being in one of these groups.
    Static(BTreeSet<String>),
    /// Its row in this group.
    Dynamic(&'a GroupName),
    /// What it is like.
    Found(Finder),
}

impl Jobs {
    /// Who of these has left the targets since they were listed. Those that were
    /// named one by one stay, and so do those that are no more at all, which is
    /// found otherwise.
    pub(super) async fn left(
        &self,
        id: &RolloutId,
        things: &[ThingName],
    ) -> Result<BTreeSet<ThingName>, Failure> {
        if things.is_empty() {
            return Ok(BTreeSet::new());
        }
        let order = self.order(id).await?;
        let membership = match &order.targets {
            Targets::Things { .. } => return Ok(BTreeSet::new()),
            Targets::Group { name } => Membership::Static(self.group_and_below(name).await?),
            Targets::DynamicGroup { name } => Membership::Dynamic(name),
            Targets::Query { text, semver } => {
                Membership::Found(Finder::of_query("targets.query", text, *semver)?)
            }
        };
        let looks = things.iter().map(async |thing| {
            let left = self.has_left(&membership, thing).await?;
            Ok::<_, Failure>(left.then(|| thing.clone()))
        });
        let looks = stream::iter(looks).buffer_unordered(CALLS);
        let left: Vec<_> = looks.try_collect().await?;
        Ok(left.into_iter().flatten().collect())
    }

    /// One that was removed has nobody in it.
    async fn group_and_below(&self, name: &GroupName) -> Result<BTreeSet<String>, Failure> {
        match self.with_groups_below(name).await {
            Ok(groups) => Ok(groups.iter().map(ToString::to_string).collect()),
            Err(failure) if failure.kind == Kind::NotFound => Ok(BTreeSet::new()),
            Err(failure) => Err(failure),
        }
    }

    async fn has_left(
        &self,
        membership: &Membership<'_>,
        thing: &ThingName,
    ) -> Result<bool, Failure> {
        match membership {
            Membership::Static(groups) => self.in_none_of(thing, groups).await,
            Membership::Dynamic(group) => {
                let member: Option<MemberRow> = self.table.get(&Key::member(group, thing)).await?;
                Ok(member.is_none() && self.device_record(thing).await?.is_some())
            }
            Membership::Found(finder) => {
                let Some(device) = self.device_record(thing).await? else {
                    return Ok(false);
                };
                let shadow = if finder.asks_the_shadow() {
                    self.shadow(thing).await?
                } else {
                    None
                };
                Ok(!finder.finds(&device, shadow.as_ref())?)
            }
        }
    }

    async fn device_record(&self, thing: &ThingName) -> Result<Option<DeviceRecord>, Failure> {
        self.table.get(&Key::device(thing)).await
    }

    /// Asked of AWS, where somebody may have moved it by hand. A thing is in ten
    /// groups at most, dynamic ones of AWS's aside: often one page, never many.
    async fn in_none_of(
        &self,
        thing: &ThingName,
        groups: &BTreeSet<String>,
    ) -> Result<bool, Failure> {
        let mut token = None;
        loop {
            let request = self.iot.list_thing_groups_for_thing();
            let request = request.thing_name(thing.as_str()).set_next_token(token);
            let answer = request.send().await;
            let Some(page) = found("iot:ListThingGroupsForThing", answer)? else {
                return Ok(false);
            };
            let names = page.thing_groups.unwrap_or_default();
            let mut names = names.into_iter().filter_map(|group| group.group_name);
            if names.any(|name| groups.contains(&name)) {
                return Ok(false);
            }
            token = page.next_token;
            if token.is_none() {
                return Ok(true);
            }
        }
    }
}
