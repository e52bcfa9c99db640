//! One look at everything linked to a device: all pages of all lists.

use std::collections::{BTreeMap, BTreeSet};

use lamplighter_domain::Failure;
use lamplighter_domain::claim::Profile;
use lamplighter_domain::custody;
use lamplighter_domain::delete::{DeleteProgress, Observation, ThingSeen, retained_topics};
use lamplighter_domain::names::ThingName;
use serde::Deserialize;
use tokio::try_join;

use super::Deletion;
use super::registry::Rows;
use crate::links::{absent, all_pages, at_once};
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

impl Deletion {
    /// Looks at everything. What only the registry names (certificates, topics)
    /// is looked at once the registry has answered; all else at once.
    pub(super) async fn observe(
        &self,
        name: &ThingName,
        progress: &DeleteProgress,
    ) -> Result<Look, Failure> {
        let prefix = custody::prefix(name);
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
            self.links.principals(name),
            self.groups(name),
            self.classic_shadow(name),
            self.named_shadows(name),
            self.links.executions(name),
            self.links.open_tunnels(name),
            self.links.connected(name),
            self.links.custody.versions(&prefix),
            self.links.replicas(&prefix),
        )?;
        let membership = rows.membership.as_ref();
        let dynamic_groups: BTreeSet<_> = membership
            .into_iter()
            .flat_map(|row| row.groups.keys().cloned())
            .collect();
        let (certificates, retained, member_of) = try_join!(
            self.certificates(name, &rows, &principals, progress),
            self.retained(name, &rows),
            self.member_of(name, dynamic_groups.union(&progress.dynamic_groups)),
        )?;
        let seen = Observation {
            thing_name: name.clone(),
            thing,
            principals,
            certificates,
            groups,
            evaluated: rows.document || membership.is_some(),
            dynamic_groups,
            member_of,
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
            .links
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

    async fn groups(&self, name: &ThingName) -> Result<BTreeSet<String>, Failure> {
        let request = self
            .links
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

    async fn classic_shadow(&self, name: &ThingName) -> Result<bool, Failure> {
        match self
            .links
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
                .links
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
            .map(async |topic| {
                match self
                    .links
                    .data
                    .get_retained_message()
                    .topic(&topic)
                    .send()
                    .await
                {
                    Ok(_) => Ok((topic, true)),
                    Err(error) => absent("iot:GetRetainedMessage", &error).map(|()| (topic, false)),
                }
            });
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
