//! Stops every device under a shared policy, and lets them go on.
//!
//! The lock is written before the switch and removed after it is put back, so
//! that whatever breaks off in between is taken up by the same request again
//! (invariant 6).

use std::collections::{BTreeMap, BTreeSet};

use aws_config::SdkConfig;
use lamplighter_domain::Failure;
use lamplighter_domain::names::PolicyName;
use lamplighter_domain::stop::{self as domain, Asked, Lock, Source};
use serde::Serialize;

use crate::clock;
use crate::failure::{self, Cause};
use crate::policy_versions;
use crate::table::{self, Key, Table};

/// Devices are counted up to about this many; beyond, it is said that there
/// are more.
const MOST_COUNTED: usize = 20_000;

/// The clients that stops work with.
#[derive(Clone)]
pub struct Stops {
    /// The registry.
    pub table: Table,
    /// Policies and groups.
    pub iot: aws_sdk_iot::Client,
}

/// What a stop came to, or would come to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stopped {
    policy_name: PolicyName,
    status: &'static str,
    /// The devices below each group that bears the policy.
    groups: BTreeMap<String, usize>,
    /// All of them, each once.
    devices: usize,
    /// Whether there are more than were counted.
    more: bool,
    /// The certificates that bear the policy themselves.
    certificates: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    lock: Option<Lock>,
}

impl Stops {
    /// What the stack gives it.
    pub fn from_env(sdk: &SdkConfig) -> Result<Self, Failure> {
        Ok(Self {
            table: Table::from_env(sdk)?,
            iot: aws_sdk_iot::Client::new(sdk),
        })
    }

    /// Stops a policy, or says what that would stop. Stopped already, it stays.
    pub async fn stop(
        &self,
        policy: &PolicyName,
        asked: &Asked,
        by: &str,
    ) -> Result<Stopped, Failure> {
        if asked.dry_run {
            return self
                .touched(policy, "DRY_RUN", self.lock(policy).await?)
                .await;
        }
        let lock = match self.lock(policy).await? {
            Some(lock) => lock,
            None => self.locked(policy, asked, by).await?,
        };
        policy_versions::make_default(&self.iot, policy, &lock.stop_version).await?;
        tracing::warn!(policy = policy.as_str(), by, "a policy was stopped");
        self.touched(policy, "STOPPED", Some(lock)).await
    }

    /// Lets a policy's devices go on; a policy that is not stopped stays so.
    pub async fn resume(&self, policy: &PolicyName) -> Result<Stopped, Failure> {
        if let Some(lock) = self.lock(policy).await? {
            policy_versions::make_default(&self.iot, policy, &lock.resumes).await?;
            self.unlock(&lock).await?;
        }
        self.touched(policy, "RESUMED", None).await
    }

    async fn lock(&self, policy: &PolicyName) -> Result<Option<Lock>, Failure> {
        self.table.get(&Key::policy_lock(policy)).await
    }

    /// Decides what will be switched, and locks the policy for it.
    async fn locked(&self, policy: &PolicyName, asked: &Asked, by: &str) -> Result<Lock, Failure> {
        let versions = policy_versions::versions(&self.iot, policy)
            .await?
            .ok_or_else(|| absent(policy))?;
        let stop_version = match domain::source(policy, &versions)? {
            Source::Reserved(version) => version,
            Source::Missing => {
                policy_versions::make(&self.iot, policy, &domain::document()).await?
            }
        };
        let lock = Lock {
            policy_name: policy.clone(),
            reason: asked.reason.clone(),
            stopped_by: by.to_owned(),
            stopped_at: clock::now(),
            stop_version,
            resumes: versions.default,
        };
        let put = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::policy_lock(policy), &lock)?))
            .condition_expression("attribute_not_exists(PK)")
            .send()
            .await;
        match put {
            Ok(_) => Ok(lock),
            // Somebody else was faster, with the same in mind.
            Err(error) if failure::cause(&error) == Cause::Condition => self
                .lock(policy)
                .await?
                .ok_or_else(|| Failure::busy("the policy is changing at this moment", 1)),
            Err(error) => Err(failure::of("dynamodb:PutItem", &error)),
        }
    }

    async fn unlock(&self, lock: &Lock) -> Result<(), Failure> {
        let removed = self
            .table
            .client
            .delete_item()
            .table_name(&self.table.name)
            .set_key(Some(Key::policy_lock(&lock.policy_name).item()))
            .condition_expression("stoppedAt = :seen")
            .expression_attribute_values(":seen", table::attribute(&lock.stopped_at)?)
            .send()
            .await;
        match removed {
            Ok(_) => Ok(()),
            Err(error) if failure::cause(&error) == Cause::Condition => Ok(()),
            Err(error) => Err(failure::of("dynamodb:DeleteItem", &error)),
        }
    }

    /// What bears the policy, and how many devices are below it.
    async fn touched(
        &self,
        policy: &PolicyName,
        status: &'static str,
        lock: Option<Lock>,
    ) -> Result<Stopped, Failure> {
        let targets = self.targets(policy).await?;
        let names: Vec<_> = targets
            .iter()
            .filter_map(|arn| arn.split_once(":thinggroup/"))
            .map(|(_, name)| name.to_owned())
            .collect();
        let certificates = targets.iter().filter(|arn| arn.contains(":cert/")).count();
        let (mut all, mut groups, mut more) = (BTreeSet::new(), BTreeMap::new(), false);
        for group in names {
            let (devices, rest) = self
                .devices(&group, MOST_COUNTED.saturating_sub(all.len()))
                .await?;
            more |= rest;
            groups.insert(group, devices.len());
            all.extend(devices);
        }
        Ok(Stopped {
            policy_name: policy.clone(),
            status,
            groups,
            devices: all.len(),
            more,
            certificates,
            lock,
        })
    }

    async fn targets(&self, policy: &PolicyName) -> Result<BTreeSet<String>, Failure> {
        let request = self.iot.list_targets_for_policy();
        let mut pages = request.policy_name(policy.as_str()).into_paginator().send();
        let mut targets = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Err(error) if failure::cause(&error) == Cause::NotFound => {
                    return Err(absent(policy));
                }
                page => page.map_err(|error| failure::of("iot:ListTargetsForPolicy", &error))?,
            };
            targets.extend(page.targets.unwrap_or_default());
        }
        Ok(targets)
    }

    /// The devices in a group and in those below it, and whether there are more.
    async fn devices(&self, group: &str, most: usize) -> Result<(BTreeSet<String>, bool), Failure> {
        let request = self.iot.list_things_in_thing_group();
        let mut pages = request
            .thing_group_name(group)
            .recursive(true)
            .max_results(250)
            .into_paginator()
            .send();
        let mut devices = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure::of("iot:ListThingsInThingGroup", &error))?;
            devices.extend(page.things.unwrap_or_default());
            if devices.len() > most {
                return Ok((devices, true));
            }
        }
        Ok((devices, false))
    }
}

fn absent(policy: &PolicyName) -> Failure {
    Failure::not_found(
        "policyName",
        format!("there is no policy {policy}"),
        "Check the name.",
    )
}
