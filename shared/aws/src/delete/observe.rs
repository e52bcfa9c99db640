//! One look at everything linked to a device: all pages of all lists.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iot::types::JobExecutionStatus;
use aws_sdk_iotsecuretunneling::types::TunnelStatus;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use lamplighter_domain::Failure;
use lamplighter_domain::claim::Profile;
use lamplighter_domain::delete::{
    DeleteProgress, ObjectVersion, Observation, ThingSeen, key_prefix, retained_topics,
};
use lamplighter_domain::names::ThingName;
use serde::Deserialize;
use tokio::try_join;

use super::registry::Rows;
use super::{Deletion, at_once};
use crate::failure::{self, Cause};
use crate::table::Key;

/// What one look found, in AWS and in the registry.
pub(super) struct Look {
    pub(super) seen: Observation,
    pub(super) rows: Rows,
}

/// `TYPE#name / TOPICS`, written when the catalog is applied.
#[derive(Deserialize)]
struct Topics {
    #[serde(default)]
    topics: Vec<String>,
}

/// Yields every item of every page, or none if what is listed is not there.
macro_rules! all_pages {
    ($api:literal, $request:expr, $items:ident, $map:expr) => {{
        let mut pages = $request.into_paginator().send();
        let mut found = BTreeSet::new();
        loop {
            match pages.next().await {
                None => break Ok(found),
                Some(Ok(page)) => found.extend(page.$items().iter().filter_map($map)),
                Some(Err(error)) => match absent($api, &error) {
                    Ok(()) => break Ok(found),
                    Err(failure) => break Err(failure),
                },
            }
        }
    }};
}
pub(super) use all_pages;

impl Deletion {
    /// Looks at everything. What only the registry names (certificates, topics)
    /// is looked at once the registry has answered; all else at once.
    pub(super) async fn observe(
        &self,
        name: &ThingName,
        progress: &DeleteProgress,
    ) -> Result<Look, Failure> {
        let prefix = key_prefix(name);
        let (
            rows,
            thing,
            principals,
            groups,
            classic_shadow,
            named_shadows,
            executions,
            tunnels,
            connected,
            versions,
            replica,
        ) = try_join!(
            self.rows(name),
            self.thing(name),
            self.principals(name),
            self.groups(name),
            self.classic_shadow(name),
            self.named_shadows(name),
            self.executions(name),
            self.open_tunnels(name),
            self.connected(name),
            self.custody.versions(&prefix),
            self.replicas(&prefix),
        )?;
        let (certificates, retained) = try_join!(
            self.certificates(name, &rows, &principals, progress),
            self.retained(name, &rows)
        )?;
        let seen = Observation {
            thing_name: name.clone(),
            thing,
            principals,
            certificates,
            groups,
            classic_shadow,
            named_shadows,
            retained,
            executions,
            tunnels,
            connected,
            versions,
            replica,
        };
        Ok(Look { seen, rows })
    }

    async fn thing(&self, name: &ThingName) -> Result<Option<ThingSeen>, Failure> {
        match self
            .iot
            .describe_thing()
            .thing_name(name.as_str())
            .send()
            .await
        {
            Ok(thing) => Ok(Some(ThingSeen {
                billing_group: thing.billing_group_name,
            })),
            Err(error) => absent("iot:DescribeThing", &error).map(|()| None),
        }
    }

    async fn principals(&self, name: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let request = self.iot.list_thing_principals().thing_name(name.as_str());
        all_pages!("iot:ListThingPrincipals", request, principals, |one| Some(
            one.clone()
        ))
    }

    async fn groups(&self, name: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let request = self
            .iot
            .list_thing_groups_for_thing()
            .thing_name(name.as_str());
        all_pages!(
            "iot:ListThingGroupsForThing",
            request,
            thing_groups,
            |group| { group.group_name.clone() }
        )
    }

    /// The executions that a device could still start or finish. Ended ones are
    /// the job's history, not the device's.
    async fn executions(&self, name: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let list = async |status| {
            let request = self
                .iot
                .list_job_executions_for_thing()
                .thing_name(name.as_str())
                .status(status);
            all_pages!(
                "iot:ListJobExecutionsForThing",
                request,
                execution_summaries,
                |one| { one.job_id.clone() }
            )
        };
        let (queued, in_progress): (BTreeSet<_>, BTreeSet<_>) = try_join!(
            list(JobExecutionStatus::Queued),
            list(JobExecutionStatus::InProgress)
        )?;
        Ok(queued.into_iter().chain(in_progress).collect())
    }

    /// A closed tunnel stays closed and carries nothing; AWS lists it for a while.
    async fn open_tunnels(&self, name: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let request = self.tunnels.list_tunnels().thing_name(name.as_str());
        all_pages!("iot:ListTunnels", request, tunnel_summaries, |tunnel| {
            tunnel
                .tunnel_id
                .clone()
                .filter(|_| tunnel.status != Some(TunnelStatus::Closed))
        })
    }

    async fn classic_shadow(&self, name: &ThingName) -> Result<bool, Failure> {
        match self
            .data
            .get_thing_shadow()
            .thing_name(name.as_str())
            .send()
            .await
        {
            Ok(_) => Ok(true),
            Err(error) => absent("iot:GetThingShadow", &error).map(|()| false),
        }
    }

    async fn named_shadows(&self, name: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let mut found = BTreeSet::new();
        let mut token = None;
        loop {
            let request = self
                .data
                .list_named_shadows_for_thing()
                .thing_name(name.as_str());
            match request
                .page_size(100)
                .set_next_token(token.take())
                .send()
                .await
            {
                Ok(page) => {
                    found.extend(page.results.unwrap_or_default());
                    token = page.next_token;
                }
                Err(error) => absent("iot:ListNamedShadowsForThing", &error)?,
            }
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn connected(&self, name: &ThingName) -> Result<bool, Failure> {
        match self
            .data
            .get_connection()
            .client_id(name.as_str())
            .send()
            .await
        {
            Ok(connection) => Ok(connection.connected),
            Err(error) => absent("iot:GetConnection", &error).map(|()| false),
        }
    }

    async fn replicas(&self, prefix: &str) -> Result<Option<BTreeSet<ObjectVersion>>, Failure> {
        match &self.replica {
            Some(bucket) => bucket.versions(prefix).await.map(Some),
            None => Ok(None),
        }
    }

    /// Looks at each of the device's declared topics.
    async fn retained(
        &self,
        name: &ThingName,
        rows: &Rows,
    ) -> Result<BTreeMap<String, bool>, Failure> {
        let looks = self
            .topics(name, rows)
            .await?
            .into_iter()
            .map(
                async |topic| match self.data.get_retained_message().topic(&topic).send().await {
                    Ok(_) => Ok((topic, true)),
                    Err(error) => absent("iot:GetRetainedMessage", &error).map(|()| (topic, false)),
                },
            );
        at_once(looks).await.into_iter().collect()
    }

    async fn topics(&self, name: &ThingName, rows: &Rows) -> Result<BTreeSet<String>, Failure> {
        let request = rows.record.as_ref().map(|record| &record.request);
        let profile = request
            .and_then(|request| request.profile.as_ref())
            .map(Key::profile);
        let thing_type = request
            .and_then(|request| request.thing_type.as_ref())
            .map(Key::topics);
        let (profile, by_type) = try_join!(
            async {
                match &profile {
                    Some(key) => self.table.get::<Profile>(key).await,
                    None => Ok(None),
                }
            },
            async {
                match &thing_type {
                    Some(key) => self.table.get::<Topics>(key).await,
                    None => Ok(None),
                }
            }
        )?;
        let by_profile = profile
            .map(|profile| profile.retained_topics)
            .unwrap_or_default();
        let by_type = by_type.map(|item| item.topics).unwrap_or_default();
        Ok(retained_topics(name, by_profile.iter().chain(&by_type)))
    }
}

/// That a look found nothing, or why it failed.
pub(super) fn absent<E>(api: &str, error: &SdkError<E, HttpResponse>) -> Result<(), Failure>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match failure::cause(error) {
        Cause::NotFound => Ok(()),
        _ => Err(failure::of(api, error)),
    }
}
