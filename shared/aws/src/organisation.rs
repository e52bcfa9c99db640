//! The fleet's organisation in AWS IoT: thing types, policies, groups and
//! billing groups, observed one by one, made, changed and removed.

use std::collections::BTreeMap;

use aws_config::SdkConfig;
use aws_sdk_iot::Client;
use aws_sdk_iot::types::ThingTypeProperties;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{BillingGroupSeen, GroupSeen, ThingTypeSeen};
use lamplighter_domain::names::{
    AttributeName, AttributeValue, BillingGroupName, GroupName, PolicyName, ThingTypeName,
};
use lamplighter_domain::time::Moment;
use serde_json::Value;

use crate::describe::{self, found};
use crate::failure;

mod changes;
mod dynamic;
mod groups;
mod users;

pub use users::Page;
pub(crate) use users::counted;

/// AWS IoT, as far as it organises things.
#[derive(Clone)]
pub struct Organisation {
    /// The client.
    pub iot: Client,
}

/// A group, and the ARN that policies are attached to.
pub struct GroupFound {
    /// The group's ARN.
    pub arn: String,
    /// The group.
    pub seen: GroupSeen,
}

impl Organisation {
    /// The organisation in the stack's account and Region.
    pub fn new(sdk: &SdkConfig) -> Self {
        Self {
            iot: Client::new(sdk),
        }
    }

    /// A thing type, if there is one of the name.
    pub async fn thing_type(&self, name: &ThingTypeName) -> Result<Option<ThingTypeSeen>, Failure> {
        let Some(found) = describe::thing_type(&self.iot, name).await? else {
            return Ok(None);
        };
        let (properties, metadata) = (found.thing_type_properties, found.thing_type_metadata);
        let searchable = properties
            .as_ref()
            .map(ThingTypeProperties::searchable_attributes)
            .unwrap_or_default();
        Ok(Some(ThingTypeSeen {
            searchable_attributes: searchable
                .iter()
                .map(|a| AttributeName::parse(a))
                .collect::<Result<_, _>>()?,
            description: properties
                .and_then(|p| p.thing_type_description)
                .unwrap_or_default(),
            deprecated: metadata.as_ref().is_some_and(|m| m.deprecated),
            deprecated_at: metadata
                .and_then(|m| m.deprecation_date)
                .and_then(|at| u64::try_from(at.to_millis().ok()?).ok())
                .map(Moment),
        }))
    }

    /// The default version of a policy, if there is one of the name.
    pub async fn policy(&self, name: &PolicyName) -> Result<Option<Value>, Failure> {
        let answer = self
            .iot
            .get_policy()
            .policy_name(name.as_str())
            .send()
            .await;
        let Some(found) = found("iot:GetPolicy", answer)? else {
            return Ok(None);
        };
        serde_json::from_str(found.policy_document().unwrap_or_default())
            .map(Some)
            .map_err(|error| Failure::bug(format!("the policy {name} is not JSON: {error}")))
    }

    /// A group and the policies attached to it, not those of groups above it.
    pub async fn group(&self, name: &GroupName) -> Result<Option<GroupFound>, Failure> {
        let Some(found) = describe::group(&self.iot, name).await? else {
            return Ok(None);
        };
        let arn = found.thing_group_arn.unwrap_or_default();
        let metadata = found.thing_group_metadata;
        let properties = found.thing_group_properties;
        let attributes = properties
            .as_ref()
            .and_then(|p| p.attribute_payload())
            .and_then(|p| p.attributes());
        let seen = GroupSeen {
            attributes: attributes
                .into_iter()
                .flatten()
                .map(|(name, value)| {
                    Ok((AttributeName::parse(name)?, AttributeValue::parse(value)?))
                })
                .collect::<Result<_, Failure>>()?,
            description: properties
                .and_then(|p| p.thing_group_description)
                .unwrap_or_default(),
            depth: metadata
                .as_ref()
                .map_or(0, |m| m.root_to_parent_thing_groups().len()),
            parent: metadata
                .and_then(|m| m.parent_group_name)
                .filter(|name| !name.is_empty()),
            dynamic: found.query_string.is_some(),
            policies: self.attached_policies(&arn).await?.into_iter().collect(),
        };
        Ok(Some(GroupFound { arn, seen }))
    }

    async fn attached_policies(&self, arn: &str) -> Result<Vec<String>, Failure> {
        let mut pages = self
            .iot
            .list_attached_policies()
            .target(arn)
            .into_paginator()
            .send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure::of("iot:ListAttachedPolicies", &error))?;
            names.extend(
                page.policies
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|policy| policy.policy_name),
            );
        }
        Ok(names)
    }

    /// A billing group with its tags, if there is one of the name.
    pub async fn billing_group(
        &self,
        name: &BillingGroupName,
    ) -> Result<Option<BillingGroupSeen>, Failure> {
        let Some(found) = describe::billing_group(&self.iot, name).await? else {
            return Ok(None);
        };
        let arn = found.billing_group_arn.unwrap_or_default();
        Ok(Some(BillingGroupSeen {
            description: found
                .billing_group_properties
                .and_then(|p| p.billing_group_description)
                .unwrap_or_default(),
            tags: self.tags(&arn).await?,
        }))
    }

    /// A resource's tags, without AWS's own.
    async fn tags(&self, arn: &str) -> Result<BTreeMap<String, String>, Failure> {
        let request = self.iot.list_tags_for_resource().resource_arn(arn);
        let mut pages = request.into_paginator().send();
        let mut tags = BTreeMap::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure::of("iot:ListTagsForResource", &error))?;
            let found = page.tags.unwrap_or_default().into_iter();
            let found = found.filter(|tag| !tag.key.starts_with("aws:"));
            tags.extend(found.map(|tag| (tag.key, tag.value.unwrap_or_default())));
        }
        Ok(tags)
    }
}

/// AWS refuses some empty texts; what is not given is left out.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
