//! Thing types and policies, made, changed and removed.

use aws_sdk_iot::types::ThingTypeProperties;
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{NextVersion, Policy, ThingType, next_version};
use lamplighter_domain::names::{PolicyName, ThingTypeName};

use super::{Organisation, given};
use crate::describe::found;
use crate::failure::{self, Cause};
use crate::policy_versions;

impl Organisation {
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

    /// Deprecates a thing type, or undoes that.
    pub async fn deprecate(&self, name: &ThingTypeName, deprecated: bool) -> Result<(), Failure> {
        let request = self.iot.deprecate_thing_type();
        request
            .thing_type_name(name.as_str())
            .undo_deprecate(!deprecated)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:DeprecateThingType", &error))
    }

    /// Deletes a thing type; false if AWS does not let it go yet.
    pub async fn delete_thing_type(&self, name: &ThingTypeName) -> Result<bool, Failure> {
        let request = self.iot.delete_thing_type();
        match request.thing_type_name(name.as_str()).send().await {
            Ok(_) => Ok(true),
            Err(error) => match failure::cause(&error) {
                Cause::NotFound => Ok(true),
                Cause::Refused | Cause::Conflict => Ok(false),
                _ => Err(failure::of("iot:DeleteThingType", &error)),
            },
        }
    }

    /// Makes room for a document among a policy's versions, and a version of
    /// it: its id, or nothing if it is the default already.
    pub async fn version(&self, policy: &Policy) -> Result<Option<String>, Failure> {
        let versions = policy_versions::versions(&self.iot, &policy.name).await?;
        let versions = versions.ok_or_else(|| Failure::busy("a policy has just gone", 1))?;
        match next_version(&policy.document, &versions) {
            NextVersion::Default => Ok(None),
            NextVersion::There(id) => Ok(Some(id)),
            NextVersion::Missing { prune } => {
                for oldest in prune {
                    policy_versions::remove(&self.iot, &policy.name, &oldest).await?;
                }
                let made = policy_versions::make(&self.iot, &policy.name, &policy.document);
                made.await.map(Some)
            }
        }
    }

    /// Deletes a policy with all its versions; false while AWS still counts it
    /// as attached, which it does for minutes.
    pub async fn delete_policy(&self, name: &PolicyName) -> Result<bool, Failure> {
        let Some(versions) = policy_versions::versions(&self.iot, name).await? else {
            return Ok(true);
        };
        for id in versions
            .documents
            .keys()
            .filter(|id| **id != versions.default)
        {
            policy_versions::remove(&self.iot, name, id).await?;
        }
        let request = self.iot.delete_policy().policy_name(name.as_str());
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match failure::cause(&error) {
                Cause::NotFound => Ok(true),
                Cause::Conflict => Ok(false),
                _ => Err(failure::of("iot:DeletePolicy", &error)),
            },
        }
    }

    /// Detaches a policy from what has this ARN; not attached is success.
    pub(super) async fn detach_from(&self, policy: &PolicyName, arn: &str) -> Result<(), Failure> {
        let request = self.iot.detach_policy().policy_name(policy.as_str());
        let answer = request.target(arn).send().await;
        found("iot:DetachPolicy", answer).map(drop)
    }
}
