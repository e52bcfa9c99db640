//! A thing's attributes, type, groups and billing group, looked at and changed.

use std::collections::BTreeSet;

use aws_sdk_iot::types::AttributePayload;
use lamplighter_domain::Failure;
use lamplighter_domain::create::{GroupSeen, TypeSeen};
use lamplighter_domain::names::{GroupName, ThingName};
use lamplighter_domain::update::{Effect, Seen, Surroundings, UpdatePlan};

use crate::describe::{self, found};
use crate::failure::{self, Cause};
use crate::things::Things;

impl Things {
    /// Reads what an update needs to be there, as far as the update is about it.
    pub async fn around(
        &self,
        plan: &UpdatePlan,
        group_arn_prefix: &str,
    ) -> Result<Surroundings, Failure> {
        let mut around = Surroundings::default();
        let after = &plan.after;
        if let (true, Some(name)) = (plan.touched.thing, &after.thing_type)
            && plan.before.thing_type != after.thing_type
        {
            let seen = describe::thing_type(&self.iot, name).await?;
            around.thing_type = seen.map(|t| TypeSeen {
                deprecated: t.thing_type_metadata.is_some_and(|m| m.deprecated),
            });
        }
        if let (true, Some(name)) = (plan.touched.billing_group, &after.billing_group) {
            around.billing_group = describe::billing_group(&self.iot, name).await?.is_some();
        }
        if plan.touched.groups {
            let all = plan.groups();
            let looks = all.iter().map(|name| async move {
                let seen = self.group(name, group_arn_prefix).await?;
                Ok::<_, Failure>((name.clone(), seen))
            });
            let seen: Vec<(GroupName, Option<GroupSeen>)> =
                futures_util::future::try_join_all(looks).await?;
            (around.groups, around.left) = seen
                .into_iter()
                .partition(|(name, _)| after.groups.contains(name));
        }
        Ok(around)
    }

    /// The thing as AWS describes it.
    ///
    /// # Errors
    /// `NotFound` when there is no such thing.
    pub async fn seen(&self, thing: &ThingName, plan: &UpdatePlan) -> Result<Seen, Failure> {
        let described = self.iot.describe_thing().thing_name(thing.as_str()).send();
        let groups = async {
            if plan.touched.groups {
                self.groups_of(thing).await
            } else {
                Ok(BTreeSet::new())
            }
        };
        let (described, groups) = tokio::join!(described, groups);
        let described = found("iot:DescribeThing", described)?.ok_or_else(|| {
            Failure::not_found(
                "thingName",
                format!("AWS IoT has no thing {thing}, although the registry has the device"),
                "Delete the device, then create it again.",
            )
        })?;
        Ok(Seen {
            thing_type: described.thing_type_name,
            attributes: described
                .attributes
                .unwrap_or_default()
                .into_iter()
                .collect(),
            billing_group: described.billing_group_name,
            groups: groups?,
            version: described.version,
        })
    }

    /// All groups that a thing is in, dynamic ones of AWS's included.
    pub(crate) async fn groups_of(&self, thing: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let request = self.iot.list_thing_groups_for_thing();
        let mut pages = request.thing_name(thing.as_str()).into_paginator().send();
        let mut names = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Err(error) if failure::cause(&error) == Cause::NotFound => break,
                page => page.map_err(|error| failure::of("iot:ListThingGroupsForThing", &error))?,
            };
            let groups = page.thing_groups.unwrap_or_default();
            names.extend(groups.into_iter().filter_map(|group| group.group_name));
        }
        Ok(names)
    }

    /// Takes the thing out of a static group; not being in it is success.
    pub(crate) async fn leave(&self, thing: &ThingName, group: &GroupName) -> Result<(), Failure> {
        let request = self.iot.remove_thing_from_thing_group();
        let request = request.thing_name(thing.as_str());
        let answer = request.thing_group_name(group.as_str()).send().await;
        found("iot:RemoveThingFromThingGroup", answer).map(drop)
    }

    /// Ensures one effect of an update.
    ///
    /// # Errors
    /// `Busy` when somebody else has just changed the thing.
    pub async fn perform(&self, thing: &ThingName, effect: &Effect) -> Result<(), Failure> {
        match effect {
            Effect::Join(group) => self.join(thing, group).await,
            Effect::Leave(group) => self.leave(thing, group).await,
            Effect::Swap { join, leave } => {
                let names = |groups: &BTreeSet<GroupName>| {
                    Some(groups.iter().map(ToString::to_string).collect::<Vec<_>>())
                };
                let request = self.iot.update_thing_groups_for_thing();
                let request = request.thing_name(thing.as_str());
                request
                    .set_thing_groups_to_add(names(join))
                    .set_thing_groups_to_remove(names(leave))
                    .send()
                    .await
                    .map(drop)
                    .map_err(|error| failure::of("iot:UpdateThingGroupsForThing", &error))
            }
            Effect::JoinBillingGroup(group) => self
                .iot
                .add_thing_to_billing_group()
                .thing_name(thing.as_str())
                .billing_group_name(group.as_str())
                .send()
                .await
                .map(drop)
                .map_err(|error| failure::of("iot:AddThingToBillingGroup", &error)),
            Effect::LeaveBillingGroup(group) => {
                let request = self.iot.remove_thing_from_billing_group();
                let request = request.thing_name(thing.as_str());
                let answer = request.billing_group_name(group).send().await;
                found("iot:RemoveThingFromBillingGroup", answer).map(drop)
            }
            Effect::Thing { .. } => self.change(thing, effect).await,
        }
    }

    async fn change(&self, thing: &ThingName, effect: &Effect) -> Result<(), Failure> {
        let Effect::Thing {
            attributes,
            thing_type,
            version,
        } = effect
        else {
            return Ok(());
        };
        let all = attributes.iter().fold(
            AttributePayload::builder().set_attributes(Some([].into())),
            |payload, (name, value)| payload.attributes(name.as_str(), value.as_str()),
        );
        let request = self.iot.update_thing().thing_name(thing.as_str());
        let request = match thing_type {
            Some(name) => request.thing_type_name(name.as_str()),
            None => request.remove_thing_type(true),
        };
        let answer = request
            .attribute_payload(all.merge(false).build())
            .expected_version(*version)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if failure::cause(&error) == Cause::Conflict => {
                Err(Failure::busy("somebody else is changing the thing", 1))
            }
            Err(error) => Err(failure::of("iot:UpdateThing", &error)),
        }
    }
}
