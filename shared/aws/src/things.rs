//! AWS IoT's things, thing types, groups and attachments.

use aws_config::SdkConfig;
use aws_sdk_iot::Client;
use aws_sdk_iot::types::{AttributePayload, ThingPrincipalType};
use lamplighter_domain::Failure;
use lamplighter_domain::create::{GroupSeen, Surroundings, ThingSeen, TypeSeen};
use lamplighter_domain::names::{GroupName, ThingName};
use lamplighter_domain::request::CreateRequest;

use crate::describe::{self, found};
use crate::failure::{self, Cause};

/// AWS IoT's registry.
#[derive(Clone)]
pub struct Things {
    /// The client.
    pub iot: Client,
}

impl Things {
    /// The registry of the stack's account and Region.
    pub fn new(sdk: &SdkConfig) -> Self {
        Self {
            iot: Client::new(sdk),
        }
    }

    /// Reads, all at once, what a creation needs to be there. A group's ARN is
    /// the prefix and its name, so that nothing has to be described first.
    pub async fn surroundings(
        &self,
        request: &CreateRequest,
        group_arn_prefix: &str,
    ) -> Result<Surroundings, Failure> {
        let groups =
            futures_util::future::try_join_all(request.groups.iter().map(|name| async move {
                Ok::<_, Failure>((name.clone(), self.group(name, group_arn_prefix).await?))
            }));
        let (thing, thing_type, billing_group, groups) = tokio::try_join!(
            self.thing(request),
            self.thing_type(request),
            self.billing_group(request),
            groups
        )?;
        Ok(Surroundings {
            thing,
            thing_type,
            groups,
            billing_group,
        })
    }

    async fn thing(&self, request: &CreateRequest) -> Result<Option<ThingSeen>, Failure> {
        let answer = self
            .iot
            .describe_thing()
            .thing_name(request.thing_name.as_str())
            .send()
            .await;
        let Some(thing) = found("iot:DescribeThing", answer)? else {
            return Ok(None);
        };
        let attributes = thing.attributes.unwrap_or_default();
        let as_planned = thing.thing_type_name.as_deref()
            == request
                .thing_type
                .as_ref()
                .map(lamplighter_domain::names::ThingTypeName::as_str)
            && thing.billing_group_name.as_deref()
                == request
                    .billing_group
                    .as_ref()
                    .map(lamplighter_domain::names::BillingGroupName::as_str)
            && attributes.len() == request.attributes.len()
            && request
                .attributes
                .iter()
                .all(|(n, v)| attributes.get(n.as_str()).map(String::as_str) == Some(v.as_str()));
        Ok(Some(ThingSeen { as_planned }))
    }

    async fn thing_type(&self, request: &CreateRequest) -> Result<Option<TypeSeen>, Failure> {
        let Some(name) = &request.thing_type else {
            return Ok(None);
        };
        let found = describe::thing_type(&self.iot, name).await?;
        Ok(found.map(|t| TypeSeen {
            deprecated: t.thing_type_metadata.is_some_and(|m| m.deprecated),
        }))
    }

    async fn billing_group(&self, request: &CreateRequest) -> Result<bool, Failure> {
        let Some(name) = &request.billing_group else {
            return Ok(false);
        };
        Ok(describe::billing_group(&self.iot, name).await?.is_some())
    }

    pub(crate) async fn group(
        &self,
        name: &GroupName,
        arn_prefix: &str,
    ) -> Result<Option<GroupSeen>, Failure> {
        // Policies of groups above count too ("Thing group policies", AWS IoT
        // Core Developer Guide); `recursive` includes them.
        let policies = self
            .iot
            .list_attached_policies()
            .target(format!("{arn_prefix}{name}"))
            .recursive(true)
            .page_size(1);
        let (group, policies) = tokio::join!(describe::group(&self.iot, name), policies.send());
        let Some(group) = group? else {
            return Ok(None);
        };
        let root = group
            .thing_group_metadata
            .as_ref()
            .and_then(|m| m.root_to_parent_thing_groups().first())
            .and_then(|g| g.group_name())
            .unwrap_or(name.as_str())
            .to_owned();
        let policies = policies.map_err(|error| failure::of("iot:ListAttachedPolicies", &error))?;
        Ok(Some(GroupSeen {
            dynamic: group.query_string.is_some(),
            root,
            bears_policy: !policies.policies().is_empty(),
        }))
    }

    /// Ensures the thing; the same again is success.
    pub async fn create(&self, request: &CreateRequest) -> Result<(), Failure> {
        let attributes = (!request.attributes.is_empty()).then(|| {
            request
                .attributes
                .iter()
                .fold(AttributePayload::builder(), |b, (n, v)| {
                    b.attributes(n.as_str(), v.as_str())
                })
                .build()
        });
        let answer = self
            .iot
            .create_thing()
            .thing_name(request.thing_name.as_str())
            .set_thing_type_name(request.thing_type.as_ref().map(ToString::to_string))
            .set_billing_group_name(request.billing_group.as_ref().map(ToString::to_string))
            .set_attribute_payload(attributes)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(error) if failure::cause(&error) == Cause::Conflict => Err(Failure::conflict(
                "thingName",
                format!(
                    "a thing {} exists in AWS IoT and differs",
                    request.thing_name
                ),
                "Choose another name, or remove the thing in AWS IoT first.",
            )),
            Err(error) => Err(failure::of("iot:CreateThing", &error)),
        }
    }

    /// Adds the thing to a static group; being in it is success.
    pub async fn join(&self, thing: &ThingName, group: &GroupName) -> Result<(), Failure> {
        self.iot
            .add_thing_to_thing_group()
            .thing_name(thing.as_str())
            .thing_group_name(group.as_str())
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:AddThingToThingGroup", &error))
    }

    /// Attaches a certificate to the thing and to no other (invariant 1).
    pub async fn attach(&self, thing: &ThingName, certificate_arn: &str) -> Result<(), Failure> {
        self.iot
            .attach_thing_principal()
            .thing_name(thing.as_str())
            .principal(certificate_arn)
            .thing_principal_type(ThingPrincipalType::ExclusiveThing)
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:AttachThingPrincipal", &error))
    }

    /// The ARNs of the principals attached to the thing; none if there is no thing.
    pub async fn principals(&self, thing: &ThingName) -> Result<Vec<String>, Failure> {
        let answer = self
            .iot
            .list_thing_principals()
            .thing_name(thing.as_str())
            .send()
            .await;
        Ok(found("iot:ListThingPrincipals", answer)?
            .and_then(|a| a.principals)
            .unwrap_or_default())
    }

    /// Detaches a certificate from the thing; not attached is success.
    pub async fn detach(&self, thing: &ThingName, certificate_arn: &str) -> Result<(), Failure> {
        let answer = self
            .iot
            .detach_thing_principal()
            .thing_name(thing.as_str())
            .principal(certificate_arn)
            .send()
            .await;
        found("iot:DetachThingPrincipal", answer).map(drop)
    }

    /// Deletes the thing, and its memberships with it, if it is what this
    /// request creates and only certificates of ours are attached to it.
    pub async fn delete_as_planned(
        &self,
        request: &CreateRequest,
        ours: &[&str],
    ) -> Result<(), Failure> {
        let thing = &request.thing_name;
        let as_planned = self
            .thing(request)
            .await?
            .is_some_and(|seen| seen.as_planned);
        let principals = self.principals(thing).await?;
        if !as_planned || principals.iter().any(|arn| !ours.contains(&arn.as_str())) {
            return Ok(());
        }
        match self
            .iot
            .delete_thing()
            .thing_name(thing.as_str())
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => match failure::cause(&error) {
                Cause::NotFound => Ok(()),
                Cause::Refused | Cause::Conflict => {
                    Err(Failure::busy("AWS is still detaching the certificate", 2))
                }
                _ => Err(failure::of("iot:DeleteThing", &error)),
            },
        }
    }
}
