//! One dynamic group, put and removed outside catalogs; and who would enter and
//! leave, before it is put.

use std::collections::{BTreeMap, BTreeSet};

use lamplighter_domain::Failure;
use lamplighter_domain::building::{Trial, TrialView, refuse_owned};
use lamplighter_domain::catalog::{
    Definition, DefinitionRow, DefinitionStatus, JobTemplate, Materialize, OwnedRow, Warning,
    check_put, is_static,
};
use lamplighter_domain::listing::{Filters, ListQuery, Page, Position};
use lamplighter_domain::membership::{Definitions, DefinitionsVersion, DocumentRow, MembershipRow};
use lamplighter_domain::names::{GroupName, ThingName};
use serde::Serialize;
use serde_json::{Value, json};

use super::Catalogs;
use super::definitions::changing;
use crate::clock;
use crate::definitions::{self, versions};
use crate::query::read_index;
use crate::table::{self, CATALOG, Key};

/// How often a change is tried while others change definitions too.
const MOST_TRIES: usize = 8;
/// How many devices a dry run reads at once, and for how long it goes on.
const PAGE: usize = 100;
const TRIAL_MILLIS: u64 = 10_000;

/// A definition that was put.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Put {
    #[serde(flatten)]
    definition: Definition,
    /// Whether its members are all known.
    pub status: DefinitionStatus,
    /// The version of all definitions from which it is as it is.
    since: u64,
    /// Whether it was another before.
    pub changed: bool,
    warnings: Vec<Warning>,
}

/// What a definition is put among.
struct Among {
    seen: DefinitionsVersion,
    all: Vec<Definition>,
    warnings: Vec<Warning>,
}

impl Catalogs {
    /// Puts a definition.
    ///
    /// # Errors
    /// `Invalid` for one that would be refused in a catalog too; `Conflict` for
    /// one that a catalog declares.
    pub async fn put_group(&self, definition: Definition) -> Result<Put, Failure> {
        for _ in 0..MOST_TRIES {
            let among = self.check_group(&definition).await?;
            if !self.write_definition(&definition, among.seen).await? {
                continue;
            }
            let key = Key::definition(&definition.name);
            let seen = versions(&self.table).await?;
            let row: Option<DefinitionRow> = self.table.get(&key).await?;
            let row = row.ok_or_else(changing)?;
            return Ok(Put {
                status: lamplighter_domain::building::standing(&row, seen),
                changed: row.since > among.seen.version,
                since: row.since,
                definition: row.definition,
                warnings: among.warnings,
            });
        }
        Err(changing())
    }

    /// Removes a definition; its members leave. None of the name is success.
    ///
    /// # Errors
    /// `Conflict` for one that a catalog declares, or that others are below.
    pub async fn remove_group(&self, name: &GroupName) -> Result<Value, Failure> {
        for _ in 0..MOST_TRIES {
            self.refuse_owned(name).await?;
            let seen = versions(&self.table).await?;
            let all = self.definitions().await?;
            let children: Vec<_> = all
                .iter()
                .filter(|other| other.parent.as_ref() == Some(name))
                .map(|other| other.name.as_str())
                .collect();
            if !children.is_empty() {
                return Err(Failure::conflict(
                    "groupName",
                    format!("{name} is the parent of {}", children.join(", ")),
                    "Remove those first, or give them another parent.",
                ));
            }
            let there = all.iter().any(|other| other.name == *name);
            if self.remove_definition(name, seen).await? {
                let status = if there { "REMOVED" } else { "ABSENT" };
                return Ok(json!({ "name": name, "status": status }));
            }
        }
        Err(changing())
    }

    /// Who would enter and leave, from a place in the listing on, until the fleet
    /// or the time ends.
    ///
    /// # Errors
    /// As for a definition that is put.
    pub async fn try_group(
        &self,
        definition: &Definition,
        position: Position,
    ) -> Result<Value, Failure> {
        let until = clock::now().plus_millis(TRIAL_MILLIS);
        let among = self.check_group(definition).await?;
        let definitions = Definitions::compile(among.seen.version, among.all);
        let mut trial = Trial::new(definition.name.clone());
        let mut next = Some((position, None));
        while let Some((position, _)) = next {
            let (names, page) = self.page_of_names(position).await?;
            self.ask(&definitions, &names, &mut trial).await?;
            let after = page.next_position().cloned();
            next = after.map(|position| (position, page.next_cursor()));
            if clock::now() > until {
                break;
            }
        }
        let found = Tried {
            dry_run: true,
            name: &definition.name,
            found: trial.end(),
            next_cursor: next.and_then(|(_, cursor)| cursor),
            warnings: among.warnings,
        };
        Ok(json!(found))
    }

    async fn page_of_names(&self, position: Position) -> Result<(Vec<ThingName>, Page), Failure> {
        let mut page = Page::new(ListQuery {
            limit: PAGE,
            filters: Filters::default(),
            position,
        });
        while let Some(read) = page.next_read() {
            let (found, more) = read_index(&self.table, &read).await?;
            page.take(found, more);
        }
        let devices = std::mem::take(&mut page.devices).into_iter();
        Ok((devices.map(|d| d.request.thing_name).collect(), page))
    }

    /// Compares the groups that devices are in with those that they would be in.
    async fn ask(
        &self,
        definitions: &Definitions,
        names: &[ThingName],
        trial: &mut Trial,
    ) -> Result<(), Failure> {
        let documents: Vec<_> = names.iter().map(Key::document).collect();
        let memberships: Vec<_> = names.iter().map(Key::membership).collect();
        let (documents, memberships) = futures_util::try_join!(
            self.table.get_all::<DocumentRow>(&documents),
            self.table.get_all::<MembershipRow>(&memberships)
        )?;
        let mut before = BTreeMap::<ThingName, BTreeSet<GroupName>>::new();
        for row in memberships {
            before.insert(row.thing_name, row.groups.into_keys().collect());
        }
        let mut known = 0;
        for row in documents {
            let after = definitions.groups_of(&row);
            let before = before.remove(&row.thing_name).unwrap_or_default();
            trial.take(&row.thing_name, &before, &after);
            known += 1;
        }
        (known..names.len()).for_each(|_| trial.unknown());
        Ok(())
    }

    /// What a definition would be put among, if it may be.
    async fn check_group(&self, definition: &Definition) -> Result<Among, Failure> {
        let name = &definition.name;
        self.refuse_owned(name).await?;
        let seen = versions(&self.table).await?;
        let mut all = self.definitions().await?;
        let was = all.iter().position(|other| other.name == *name);
        match was {
            Some(at) => all[at] = definition.clone(),
            None => all.push(definition.clone()),
        }
        let warnings = check_put(definition, &all)?;
        // Where AWS is to hold a group of the name, it is looked at then.
        let is_new = was.is_none() && definition.materialize == Materialize::None;
        if is_new && self.organisation.group(name).await?.is_some() {
            return Err(is_static("", name));
        }
        if let Some(job) = &definition.on_enter.job {
            let template: Option<JobTemplate> = self.table.get(&Key::job_template(job)).await?;
            let template = template.ok_or_else(|| {
                Failure::invalid(
                    "onEnter.job",
                    format!("there is no job template {job}"),
                    "Declare it in a catalog, or correct the name.",
                )
            })?;
            template.check_on_enter("onEnter.job", name)?;
        }
        Ok(Among {
            seen,
            all,
            warnings,
        })
    }

    async fn definitions(&self) -> Result<Vec<Definition>, Failure> {
        let (rows, _) = definitions::read(&self.table, None, None).await?;
        Ok(rows.into_iter().map(|row| row.definition).collect())
    }

    async fn refuse_owned(&self, name: &GroupName) -> Result<(), Failure> {
        let items = self.table.partition(CATALOG).await?.into_iter();
        let owned: Vec<OwnedRow> = items.map(table::read).collect::<Result<_, _>>()?;
        refuse_owned(name, &owned)
    }
}

/// A page of a dry run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tried<'a> {
    dry_run: bool,
    name: &'a GroupName,
    #[serde(flatten)]
    found: TrialView,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
    warnings: Vec<Warning>,
}
