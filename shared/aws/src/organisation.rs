//! The fleet's organisation in AWS IoT: thing types, policies, groups and
//! billing groups, observed one by one and created where they are missing.

use aws_config::SdkConfig;
use aws_sdk_iot::Client;
use aws_sdk_iot::types::{
    AttributePayload, BillingGroupProperties, ThingGroupProperties, ThingTypeProperties,
};
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{
    BillingGroup, Group, GroupSeen, Policy, ThingType, ThingTypeSeen,
};
use lamplighter_domain::names::{
    AttributeName, AttributeValue, BillingGroupName, GroupName, PolicyName, ThingTypeName,
};
use serde_json::Value;

use crate::describe::{self, found};
use crate::failure;

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
        let properties = found.thing_type_properties;
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
            deprecated: found.thing_type_metadata.is_some_and(|m| m.deprecated),
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
            parent: found
                .thing_group_metadata
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

    /// The description of a billing group, if there is one of the name.
    pub async fn billing_group(&self, name: &BillingGroupName) -> Result<Option<String>, Failure> {
        let found = describe::billing_group(&self.iot, name).await?;
        Ok(found.map(|f| {
            f.billing_group_properties
                .and_then(|p| p.billing_group_description)
                .unwrap_or_default()
        }))
    }

    /// Creates a thing type.
    pub async fn create_thing_type(&self, thing_type: &ThingType) -> Result<(), Failure> {
        let searchable = &thing_type.searchable_attributes;
        let properties = ThingTypeProperties::builder()
            .set_thing_type_description(given(&thing_type.description))
            .set_searchable_attributes(
                (!searchable.is_empty())
                    .then(|| searchable.iter().map(ToString::to_string).collect()),
            )
            .build();
        self.iot
            .create_thing_type()
            .thing_type_name(thing_type.name.as_str())
            .thing_type_properties(properties)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:CreateThingType", &error))
    }

    /// Creates a policy.
    pub async fn create_policy(&self, policy: &Policy) -> Result<(), Failure> {
        self.iot
            .create_policy()
            .policy_name(policy.name.as_str())
            .policy_document(policy.document.to_string())
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:CreatePolicy", &error))
    }

    /// Creates a static group, under its parent; its policies are attached
    /// apart from that.
    pub async fn create_group(&self, group: &Group) -> Result<(), Failure> {
        let attributes = (!group.attributes.is_empty()).then(|| {
            let payload = AttributePayload::builder();
            group
                .attributes
                .iter()
                .fold(payload, |p, (n, v)| p.attributes(n.as_str(), v.as_str()))
                .build()
        });
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

    /// Creates a billing group.
    pub async fn create_billing_group(&self, group: &BillingGroup) -> Result<(), Failure> {
        let properties = BillingGroupProperties::builder()
            .set_billing_group_description(given(&group.description))
            .build();
        self.iot
            .create_billing_group()
            .billing_group_name(group.name.as_str())
            .billing_group_properties(properties)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:CreateBillingGroup", &error))
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
}

/// AWS refuses some empty texts; what is not given is left out.
fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
