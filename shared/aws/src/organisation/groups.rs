//! Static groups and billing groups, made, changed and removed.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iot::types::{AttributePayload, BillingGroupProperties, Tag, ThingGroupProperties};
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{BillingGroup, Group};
use lamplighter_domain::names::{BillingGroupName, GroupName, PolicyName};

use super::{Organisation, given};
use crate::describe::{self, found};
use crate::failure::{self, Cause};

impl Organisation {
    /// Creates a static group, under its parent; its policies are attached
    /// apart from that.
    pub async fn create_group(&self, group: &Group) -> Result<(), Failure> {
        let attributes = (!group.attributes.is_empty()).then(|| attributes(group));
        let properties = ThingGroupProperties::builder()
            .set_thing_group_description(given(&group.description))
            .set_attribute_payload(attributes)
            .build();
        self.iot
            .create_thing_group()
            .thing_group_name(group.name.as_str())
            .set_parent_group_name(group.parent.as_ref().map(ToString::to_string))
            .thing_group_properties(properties)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:CreateThingGroup", &error))
    }

    /// Gives a group its description and its attributes, and no others.
    pub async fn update_group(&self, group: &Group) -> Result<(), Failure> {
        let properties = ThingGroupProperties::builder()
            .thing_group_description(&group.description)
            .attribute_payload(attributes(group))
            .build();
        let request = self.iot.update_thing_group();
        request
            .thing_group_name(group.name.as_str())
            .thing_group_properties(properties)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:UpdateThingGroup", &error))
    }

    /// Deletes a group; false if another group is below it by now.
    pub async fn delete_group(&self, name: &GroupName) -> Result<bool, Failure> {
        let request = self.iot.delete_thing_group();
        match request.thing_group_name(name.as_str()).send().await {
            Ok(_) => Ok(true),
            Err(error) => match failure::cause(&error) {
                Cause::NotFound => Ok(true),
                Cause::Refused => Ok(false),
                _ => Err(failure::of("iot:DeleteThingGroup", &error)),
            },
        }
    }

    /// Creates a billing group.
    pub async fn create_billing_group(&self, group: &BillingGroup) -> Result<(), Failure> {
        let properties = BillingGroupProperties::builder()
            .set_billing_group_description(given(&group.description))
            .build();
        self.iot
            .create_billing_group()
            .billing_group_name(group.name.as_str())
            .billing_group_properties(properties)
            .set_tags(tags(&group.tags)?)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:CreateBillingGroup", &error))
    }

    /// Gives a billing group its description and its tags, and takes the others
    /// off.
    pub async fn update_billing_group(
        &self,
        group: &BillingGroup,
        untag: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        let properties = BillingGroupProperties::builder()
            .billing_group_description(&group.description)
            .build();
        let request = self.iot.update_billing_group();
        request
            .billing_group_name(group.name.as_str())
            .billing_group_properties(properties)
            .send()
            .await
            .map_err(|error| failure::of("iot:UpdateBillingGroup", &error))?;
        let seen = describe::billing_group(&self.iot, &group.name).await?;
        let arn = seen
            .and_then(|seen| seen.billing_group_arn)
            .unwrap_or_default();
        if let Some(tags) = tags(&group.tags)? {
            let request = self.iot.tag_resource().resource_arn(&arn);
            let answer = request.set_tags(Some(tags)).send().await;
            answer.map_err(|error| failure::of("iot:TagResource", &error))?;
        }
        if !untag.is_empty() {
            let request = self.iot.untag_resource().resource_arn(&arn);
            let keys = untag.iter().cloned().collect();
            let answer = request.set_tag_keys(Some(keys)).send().await;
            answer.map_err(|error| failure::of("iot:UntagResource", &error))?;
        }
        Ok(())
    }

    /// Deletes a billing group.
    pub async fn delete_billing_group(&self, name: &BillingGroupName) -> Result<(), Failure> {
        let request = self.iot.delete_billing_group();
        let answer = request.billing_group_name(name.as_str()).send().await;
        found("iot:DeleteBillingGroup", answer).map(drop)
    }

    /// Attaches a policy to a group; attached already is success.
    pub async fn attach_policy(
        &self,
        policy: &PolicyName,
        group: &GroupName,
    ) -> Result<(), Failure> {
        let group = self
            .group(group)
            .await?
            .ok_or_else(|| Failure::busy("a group is not there yet", 1))?;
        self.iot
            .attach_policy()
            .policy_name(policy.as_str())
            .target(group.arn)
            .send()
            .await
            .map_err(|error| failure::of("iot:AttachPolicy", &error))
            .map(drop)
    }

    /// Detaches a policy from a group; not attached is success.
    pub async fn detach_policy(
        &self,
        policy: &PolicyName,
        group: &GroupName,
    ) -> Result<(), Failure> {
        match describe::group(&self.iot, group).await? {
            None => Ok(()),
            Some(found) => {
                let arn = found.thing_group_arn.unwrap_or_default();
                self.detach_from(policy, &arn).await
            }
        }
    }
}

fn attributes(group: &Group) -> AttributePayload {
    let payload = AttributePayload::builder().set_attributes(Some([].into()));
    let all = group.attributes.iter();
    all.fold(payload, |p, (n, v)| p.attributes(n.as_str(), v.as_str()))
        .build()
}

fn tags(tags: &BTreeMap<String, String>) -> Result<Option<Vec<Tag>>, Failure> {
    if tags.is_empty() {
        return Ok(None);
    }
    let made = tags
        .iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build());
    made.collect::<Result<_, _>>()
        .map(Some)
        .map_err(|error| Failure::bug(format!("a tag is incomplete: {error}")))
}
