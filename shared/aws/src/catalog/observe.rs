//! Looks at everything that a catalog names, and that earlier ones made.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{
    Catalog, Definition, DefinitionRow, GroupSeen, ItemKind, JobTemplate, Materialize, Observed,
    Owned, OwnedRow, TypeRow, Users, looks,
};
use lamplighter_domain::claim::Profile;
use lamplighter_domain::names::{
    BillingGroupName, GroupName, JobTemplateName, PolicyName, ProfileName, ThingTypeName,
};
use lamplighter_domain::stop::Lock;

use super::{AT_ONCE, Catalogs, Topics};
use crate::organisation::counted;
use crate::table::{self, CATALOG, Key};

impl Catalogs {
    /// One look at all of it, and a second one at who uses what is to go.
    pub(super) async fn observe(&self, catalog: &Catalog) -> Result<Observed, Failure> {
        let mut seen = self.first_look(catalog).await?;
        for owned in looks(catalog, &seen) {
            let users = self.users(&owned, &mut seen).await?;
            seen.users.insert(owned, users);
        }
        Ok(seen)
    }

    async fn first_look(&self, catalog: &Catalog) -> Result<Observed, Failure> {
        let (aws, rows) = (&self.organisation, &self.table);
        let items = rows.partition(CATALOG).await?.into_iter();
        let made: Vec<OwnedRow> = items.map(table::read).collect::<Result<_, _>>()?;
        let (ours, others): (Vec<_>, Vec<_>) = made
            .into_iter()
            .partition(|row| row.catalog == catalog.name);
        let owned: BTreeSet<Owned> = ours.into_iter().map(|row| row.owned).collect();
        let names = Names {
            owned: &owned,
            declared: &catalog.declared(),
        };
        let declared_types = names.of(ItemKind::ThingType, ThingTypeName::parse);
        let type_rows = each(&declared_types, async |name| {
            rows.get::<TypeRow>(&Key::type_row(name)).await
        })
        .await?;
        let types = aws_names(&declared_types, &type_rows);
        let policies = names.of(ItemKind::Policy, PolicyName::parse);
        let groups = names.of(ItemKind::Group, GroupName::parse);
        let billing_groups = names.of(ItemKind::BillingGroup, BillingGroupName::parse);
        let profiles = names.of(ItemKind::Profile, ProfileName::parse);
        let dynamic = names.of(ItemKind::DynamicGroup, GroupName::parse);
        let templates = names.of(ItemKind::JobTemplate, JobTemplateName::parse);
        let locks = each(&policies, async |name| {
            rows.get::<Lock>(&Key::policy_lock(name)).await
        });
        let definitions = each(&dynamic, async |name| {
            let row: Option<DefinitionRow> = rows.get(&Key::definition(name)).await?;
            Ok(row.map(|row| row.definition))
        });
        let dynamic_groups = definitions.await?;
        Ok(Observed {
            others: others.into_iter().map(|r| (r.owned, r.catalog)).collect(),
            materialised: self.materialised(catalog, &dynamic_groups).await?,
            dynamic_groups,
            thing_types: each(&types, |name| aws.thing_type(name)).await?,
            topics: each(&types, async |name| {
                let row: Option<Topics> = rows.get(&Key::topics(name)).await?;
                Ok(row.map(|row| row.topics))
            })
            .await?,
            policies: each(&policies, |name| aws.policy(name)).await?,
            stopped: locks.await?.into_keys().collect(),
            groups: each(&groups, async |name| {
                Ok(aws.group(name).await?.map(|group| group.seen))
            })
            .await?,
            billing_groups: each(&billing_groups, |name| aws.billing_group(name)).await?,
            profiles: each(&profiles, async |name| {
                rows.get::<Profile>(&Key::profile(name)).await
            })
            .await?,
            job_templates: each(&templates, async |name| {
                rows.get::<JobTemplate>(&Key::job_template(name)).await
            })
            .await?,
            type_rows,
            owned,
            ..Observed::default()
        })
    }

    /// AWS's groups of the names of what is to be materialised, where that is a
    /// change.
    async fn materialised(
        &self,
        catalog: &Catalog,
        there: &BTreeMap<GroupName, Definition>,
    ) -> Result<BTreeMap<GroupName, GroupSeen>, Failure> {
        let changed = |declared: &&Definition| {
            declared.materialize != Materialize::None && there.get(&declared.name) != Some(declared)
        };
        let declared = catalog.dynamic_groups.iter().filter(changed);
        let names: BTreeSet<_> = declared.map(|declared| declared.name.clone()).collect();
        each(&names, async |name| {
            let found = self.organisation.group(name).await?;
            Ok(found.map(|group| group.seen))
        })
        .await
    }

    /// Who uses something. Of what is in a group, the groups below it that no
    /// catalog made are kept apart.
    async fn users(&self, owned: &Owned, seen: &mut Observed) -> Result<Users, Failure> {
        let aws = &self.organisation;
        match owned.kind {
            ItemKind::ThingType => {
                let name = ThingTypeName::parse(&owned.name)?;
                counted(|token| aws.things_of_type(&name, token)).await
            }
            ItemKind::BillingGroup => {
                let name = BillingGroupName::parse(&owned.name)?;
                counted(|token| aws.things_in_billing_group(&name, token)).await
            }
            ItemKind::Group => {
                let name = GroupName::parse(&owned.name)?;
                let ours =
                    |child: &String| seen.owned.contains(&Owned::new(ItemKind::Group, child));
                let children = aws.children(&name).await?;
                let foreign: Vec<_> = children.into_iter().filter(|child| !ours(child)).collect();
                if !foreign.is_empty() {
                    seen.foreign_children.insert(name.clone(), foreign);
                }
                counted(|token| aws.things_in_group(&name, token)).await
            }
            ItemKind::Policy => {
                let name = PolicyName::parse(&owned.name)?;
                // A catalog's own groups are no obstacle: it takes the policy off.
                let ours = |bearer: &String| {
                    let group = bearer.strip_prefix("group ");
                    group.is_some_and(|g| seen.owned.contains(&Owned::new(ItemKind::Group, g)))
                };
                let bearers = aws.bearers(&name).await?.into_iter();
                Ok(Users::all(bearers.filter(|b| !ours(b)).collect(), false))
            }
            _ => Ok(Users::default()),
        }
    }
}

/// What is declared, and what earlier catalogs made.
struct Names<'a> {
    owned: &'a BTreeSet<Owned>,
    declared: &'a BTreeSet<Owned>,
}

impl Names<'_> {
    fn of<N: Ord>(
        &self,
        kind: ItemKind,
        parse: impl Fn(&str) -> Result<N, Failure>,
    ) -> BTreeSet<N> {
        self.owned
            .iter()
            .chain(self.declared)
            .filter(|one| one.kind == kind)
            .filter_map(|one| parse(&one.name).ok())
            .collect()
    }
}

/// AWS's names of declared types, those they had and will have included.
fn aws_names(
    declared: &BTreeSet<ThingTypeName>,
    rows: &BTreeMap<ThingTypeName, TypeRow>,
) -> BTreeSet<ThingTypeName> {
    declared
        .iter()
        .flat_map(|name| match rows.get(name) {
            Some(row) => row.names(),
            None => TypeRow::first(name).names(),
        })
        .collect()
}

/// What a look at each name found, some names at once.
async fn each<'a, N, T, F>(
    names: &'a BTreeSet<N>,
    look: impl Fn(&'a N) -> F,
) -> Result<BTreeMap<N, T>, Failure>
where
    N: Ord + Clone + 'a,
    F: Future<Output = Result<Option<T>, Failure>>,
{
    stream::iter(names.iter().map(|name| {
        let looking = look(name);
        async move { Ok(looking.await?.map(|found| (name.clone(), found))) }
    }))
    .buffer_unordered(AT_ONCE)
    .try_filter_map(async |found| Ok(found))
    .try_collect()
    .await
}
