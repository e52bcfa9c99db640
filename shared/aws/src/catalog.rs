//! Applies a catalog: look, compare, create what is missing, look again.
//!
//! Nothing is remembered between two applications, so one that was cut off is
//! taken up by applying the same catalog again (invariant 6).

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::catalog::{self, Catalog, CatalogPlan, Entry, Item, Observed};
use lamplighter_domain::claim::Profile;
use lamplighter_domain::names::ThingTypeName;
use lamplighter_domain::stop::Lock;
use lamplighter_domain::{Failure, Kind};
use serde::{Deserialize, Serialize};

use crate::failure::{self, Cause};
use crate::organisation::Organisation;
use crate::table::{self, Key, Table};

/// How many calls are under way at once: well under the quotas of the
/// reading calls, and about that of `AttachPolicy`.
const AT_ONCE: usize = 8;
/// Somebody else creates the same things meanwhile: how often that is met by
/// looking again.
const MOST_LOOKS: usize = 3;

/// Everything that applying a catalog works with.
#[derive(Clone)]
pub struct Catalogs {
    /// AWS IoT.
    pub organisation: Organisation,
    /// The registry, for profiles and topics.
    pub table: Table,
}

/// What applying a catalog came to, or would come to.
#[derive(Debug, Default, Serialize)]
pub struct Applied {
    /// What was created, or would be.
    pub created: Vec<Entry>,
    /// What was there, as declared.
    pub unchanged: Vec<Entry>,
    /// What is there and differs.
    pub refused: Vec<catalog::Refusal>,
}

impl Applied {
    /// What carrying the plan out comes to.
    fn of(plan: CatalogPlan) -> Self {
        Self {
            created: plan.create.iter().map(Item::entry).collect(),
            unchanged: plan.unchanged,
            refused: plan.refused,
        }
    }

    /// Why the catalog was not applied, if anything of it was refused.
    pub fn refusal(&self) -> Option<Failure> {
        let first = self.refused.first()?;
        let reasons: Vec<_> = self
            .refused
            .iter()
            .map(|refusal| refusal.reason.as_str())
            .collect();
        Some(Failure::conflict(
            &first.entry.name,
            reasons.join(". "),
            "Nothing was applied. Declare what is there, or change it in AWS IoT by hand.",
        ))
    }
}

/// `TYPE#name / TOPICS`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Topics {
    topics: BTreeSet<String>,
}

impl Catalogs {
    /// Compares, and changes nothing.
    pub async fn plan(&self, catalog: &Catalog) -> Result<Applied, Failure> {
        let seen = self.observe(catalog).await?;
        Ok(Applied::of(catalog::plan(catalog, &seen)))
    }

    /// Creates what is missing. If anything is refused, nothing is created.
    pub async fn apply(&self, catalog: &Catalog) -> Result<Applied, Failure> {
        for _ in 0..MOST_LOOKS {
            let mut plan = catalog::plan(catalog, &self.observe(catalog).await?);
            if !plan.refused.is_empty() {
                plan.create.clear();
            }
            match self.create(&plan.create).await {
                Ok(()) => return Ok(Applied::of(plan)),
                // Somebody else was faster: what they made is looked at next.
                Err(failure) if failure.kind == Kind::Conflict => {}
                Err(failure) => return Err(failure),
            }
        }
        Err(Failure::busy(
            "the catalog is being applied by somebody else",
            2,
        ))
    }

    /// Looks at everything that the catalog names.
    async fn observe(&self, catalog: &Catalog) -> Result<Observed, Failure> {
        let aws = &self.organisation;
        let topics = catalog.topics();
        let thing_types = each(catalog.thing_types.iter().map(|t| &t.name), |name| {
            aws.thing_type(name)
        });
        let policies = each(catalog.policies.iter().map(|p| &p.name), |name| {
            aws.policy(name)
        });
        let stopped = each(catalog.policies.iter().map(|p| &p.name), async |name| {
            self.table.get::<Lock>(&Key::policy_lock(name)).await
        });
        let groups = each(catalog.groups.iter().map(|g| &g.name), async |name| {
            Ok(aws.group(name).await?.map(|group| group.seen))
        });
        let billing_groups = each(catalog.billing_groups.iter().map(|b| &b.name), |name| {
            aws.billing_group(name)
        });
        let profiles = each(catalog.profiles.iter().map(|p| &p.name), async |name| {
            self.table.get::<Profile>(&Key::profile(name)).await
        });
        let topics = each(topics.keys(), |name| self.topics(name));
        Ok(Observed {
            thing_types: thing_types.await?,
            policies: policies.await?,
            stopped: stopped.await?.into_keys().collect(),
            groups: groups.await?,
            billing_groups: billing_groups.await?,
            profiles: profiles.await?,
            topics: topics.await?,
        })
    }

    async fn topics(&self, name: &ThingTypeName) -> Result<Option<BTreeSet<String>>, Failure> {
        let row = self.table.get::<Topics>(&Key::topics(name)).await?;
        Ok(row.map(|row| row.topics))
    }

    /// Creates in stages, in each everything at once.
    async fn create(&self, items: &[Item]) -> Result<(), Failure> {
        for stage in catalog::stages(items) {
            stream::iter(stage.iter().map(|item| self.ensure(item)))
                .buffer_unordered(AT_ONCE)
                .try_collect::<()>()
                .await?;
        }
        Ok(())
    }

    async fn ensure(&self, item: &Item) -> Result<(), Failure> {
        let aws = &self.organisation;
        match item {
            Item::ThingType(thing_type) => aws.create_thing_type(thing_type).await,
            Item::Policy(policy) => aws.create_policy(policy).await,
            Item::BillingGroup(group) => aws.create_billing_group(group).await,
            Item::Group { group, .. } => aws.create_group(group).await,
            Item::Attachment { policy, group } => aws.attach_policy(policy, group).await,
            Item::Topics { thing_type, topics } => self.put_topics(thing_type, topics).await,
            Item::Profile(profile) => self.put_profile(profile).await,
        }
    }

    async fn put_topics(
        &self,
        thing_type: &ThingTypeName,
        topics: &BTreeSet<String>,
    ) -> Result<(), Failure> {
        let row = table::write(
            &Key::topics(thing_type),
            &Topics {
                topics: topics.clone(),
            },
        )?;
        self.table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(row))
            .send()
            .await
            .map(drop)
            .map_err(|error| failure::of("dynamodb:PutItem", &error))
    }

    /// Records a profile; one that is there by now is for the next look.
    async fn put_profile(&self, profile: &Profile) -> Result<(), Failure> {
        let put = self
            .table
            .client
            .put_item()
            .table_name(&self.table.name)
            .set_item(Some(table::write(&Key::profile(&profile.name), profile)?))
            .condition_expression("attribute_not_exists(PK)")
            .send()
            .await;
        match put {
            Ok(_) => Ok(()),
            Err(error) if failure::cause(&error) == Cause::Condition => Err(Failure::conflict(
                "profiles",
                format!("the profile {} has just been made", profile.name),
                "Apply the catalog again.",
            )),
            Err(error) => Err(failure::of("dynamodb:PutItem", &error)),
        }
    }
}

/// What a look at each name found, some names at once.
async fn each<'a, N, T, F>(
    names: impl Iterator<Item = &'a N>,
    look: impl Fn(&'a N) -> F,
) -> Result<BTreeMap<N, T>, Failure>
where
    N: Ord + Clone + 'a,
    F: Future<Output = Result<Option<T>, Failure>>,
{
    stream::iter(names.map(|name| {
        let looking = look(name);
        async move { Ok(looking.await?.map(|found| (name.clone(), found))) }
    }))
    .buffer_unordered(AT_ONCE)
    .try_filter_map(async |found| Ok(found))
    .try_collect()
    .await
}
