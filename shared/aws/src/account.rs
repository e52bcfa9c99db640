//! The account's own settings: event configurations, the default group and its
//! policy. What others have set is left as it is.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_iot::types::{Configuration, EventType};
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{Group, Policy};
use lamplighter_domain::default_policy::{self, Scope};
use lamplighter_domain::names::{GroupName, PolicyName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::describe::found;
use crate::failure;
use crate::organisation::Organisation;

/// By this description a group is known to be ours.
const DESCRIPTION: &str = "Devices of Lamplighter that name no group";

/// AWS IoT, as far as one account has settings of it.
#[derive(Clone)]
pub struct Account {
    /// Groups and policies.
    pub organisation: Organisation,
}

/// What the template asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Wanted {
    /// The default group.
    pub default_group: GroupName,
    /// The policy that it bears.
    pub default_policy: PolicyName,
    /// The kinds of events that AWS IoT is to send.
    #[serde(default)]
    pub event_configurations: Vec<String>,
    /// The function's own ARN, for partition, region and account.
    pub service_token: String,
}

/// What the template's other resources need to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Configured {
    /// The host devices connect to.
    pub data_endpoint: String,
    /// The default group.
    pub default_group: GroupName,
}

impl Wanted {
    /// Reads the resource's properties.
    pub fn parse(properties: Value) -> Result<Self, Failure> {
        serde_json::from_value(properties).map_err(|error| {
            Failure::invalid(
                "ResourceProperties",
                error.to_string(),
                "Compare the resource with the template.",
            )
        })
    }

    fn policy(&self) -> Result<Policy, Failure> {
        let scope = Scope::of_arn(&self.service_token).ok_or_else(|| {
            Failure::invalid(
                "ServiceToken",
                "it is no function's ARN",
                "Give the function's ARN.",
            )
        })?;
        Ok(Policy {
            name: self.default_policy.clone(),
            document: default_policy::document(&scope),
        })
    }
}

impl Account {
    /// Brings the settings about. `first` is whether the stack is being made:
    /// then a policy of the name that differs is somebody else's.
    pub async fn configure(&self, wanted: &Wanted, first: bool) -> Result<Configured, Failure> {
        let (data_endpoint, (), ()) = tokio::try_join!(
            self.data_endpoint(),
            self.enable_events(&wanted.event_configurations),
            self.default_group(wanted, first),
        )?;
        Ok(Configured {
            data_endpoint,
            default_group: wanted.default_group.clone(),
        })
    }

    async fn data_endpoint(&self) -> Result<String, Failure> {
        self.organisation
            .iot
            .describe_endpoint()
            .endpoint_type("iot:Data-ATS")
            .send()
            .await
            .map_err(|error| failure::of("iot:DescribeEndpoint", &error))?
            .endpoint_address
            .ok_or_else(|| Failure::busy("AWS IoT has no data endpoint yet", 5))
    }

    /// Turns events on. All that are on are named in the update, others' too,
    /// so that none is turned off whether AWS merges or replaces.
    async fn enable_events(&self, wanted: &[String]) -> Result<(), Failure> {
        let iot = &self.organisation.iot;
        let seen = iot
            .describe_event_configurations()
            .send()
            .await
            .map_err(|error| failure::of("iot:DescribeEventConfigurations", &error))?;
        let on: Vec<_> = seen
            .event_configurations
            .unwrap_or_default()
            .into_iter()
            .filter_map(|(kind, configuration)| configuration.enabled.then_some(kind))
            .collect();
        let Some(merged) = merge(on, wanted)? else {
            return Ok(());
        };
        iot.update_event_configurations()
            .set_event_configurations(Some(merged))
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("iot:UpdateEventConfigurations", &error))
    }

    async fn default_group(&self, wanted: &Wanted, first: bool) -> Result<(), Failure> {
        let policy = wanted.policy()?;
        let (group, document) = tokio::try_join!(
            self.organisation.group(&wanted.default_group),
            self.organisation.policy(&policy.name)
        )?;
        match document {
            None => self.organisation.create_policy(&policy).await?,
            Some(document) if document == policy.document => {}
            Some(_) if first => {
                return Err(Failure::conflict(
                    "DefaultPolicy",
                    format!("a policy {} exists and differs", policy.name),
                    "Rename or remove it in AWS IoT, or give the stack another name.",
                ));
            }
            Some(_) => tracing::warn!(
                policy = policy.name.as_str(),
                "the default policy was edited; it is left so"
            ),
        }
        let attached = match group {
            None => {
                self.organisation.create_group(&group_of(wanted)).await?;
                false
            }
            Some(group) if group.seen.description != DESCRIPTION || group.seen.dynamic => {
                return Err(Failure::conflict(
                    "DefaultGroup",
                    format!(
                        "a thing group {} exists that is not Lamplighter's",
                        wanted.default_group
                    ),
                    "Rename or remove it in AWS IoT, or give the stack another name.",
                ));
            }
            Some(group) => group.seen.policies.contains(policy.name.as_str()),
        };
        if !attached {
            self.organisation
                .attach_policy(&policy.name, &wanted.default_group)
                .await?;
        }
        Ok(())
    }

    /// Takes the default group and its policy away, if they are ours and no
    /// device needs them. Event configurations stay: others may rely on them.
    pub async fn remove(&self, wanted: &Wanted) -> Result<(), Failure> {
        let policy = wanted.policy()?;
        let iot = &self.organisation.iot;
        if let Some(group) = self.organisation.group(&wanted.default_group).await? {
            let name = wanted.default_group.as_str();
            let members = iot
                .list_things_in_thing_group()
                .thing_group_name(name)
                .max_results(1)
                .send()
                .await;
            let members =
                found("iot:ListThingsInThingGroup", members)?.and_then(|answer| answer.things);
            if group.seen.description != DESCRIPTION
                || members.is_some_and(|things| !things.is_empty())
            {
                tracing::info!(
                    group = name,
                    "the default group is in use, or not ours; it stays with its policy"
                );
                return Ok(());
            }
            if group.seen.policies.contains(policy.name.as_str()) {
                let detached = iot
                    .detach_policy()
                    .policy_name(policy.name.as_str())
                    .target(group.arn)
                    .send()
                    .await;
                found("iot:DetachPolicy", detached)?;
            }
            found(
                "iot:DeleteThingGroup",
                iot.delete_thing_group().thing_group_name(name).send().await,
            )?;
        }
        // AWS may refuse this for some minutes after a detachment; a policy
        // that is attached to nothing does nothing, and the next stack of the
        // same name takes it over.
        if self.organisation.policy(&policy.name).await?.as_ref() == Some(&policy.document) {
            found(
                "iot:DeletePolicy",
                iot.delete_policy()
                    .policy_name(policy.name.as_str())
                    .send()
                    .await,
            )?;
        }
        Ok(())
    }
}

fn group_of(wanted: &Wanted) -> Group {
    Group {
        name: wanted.default_group.clone(),
        parent: None,
        description: DESCRIPTION.to_owned(),
        attributes: BTreeMap::new(),
        policies: [wanted.default_policy.clone()].into(),
    }
}

/// Every kind of event that is to be on, or nothing if all of ours are.
fn merge(
    on: Vec<EventType>,
    wanted: &[String],
) -> Result<Option<HashMap<EventType, Configuration>>, Failure> {
    let mut missing = Vec::new();
    for name in wanted {
        let kind = EventType::try_parse(name).map_err(|_| {
            Failure::invalid(
                "EventConfigurations",
                format!("AWS IoT has no events {name}"),
                format!("Use {}.", EventType::values().join(", ")),
            )
        })?;
        if !on.contains(&kind) {
            missing.push(kind);
        }
    }
    let enabled = Configuration::builder().enabled(true).build();
    let merged = |missing: Vec<_>| {
        on.into_iter()
            .chain(missing)
            .map(|kind| (kind, enabled.clone()))
            .collect()
    };
    Ok((!missing.is_empty()).then(|| merged(missing)))
}
