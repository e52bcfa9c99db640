//! Where a job's targets come from, page by page.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::catalog::{Definition, DefinitionRow};
use lamplighter_domain::device::{DeviceRecord, LISTING_SHARDS, listing_shard};
use lamplighter_domain::listing::Read;
use lamplighter_domain::names::{GroupName, ThingName};
use lamplighter_domain::rollout::RolloutId;
use lamplighter_domain::rollout::order::{Order, Targets};
use lamplighter_domain::rollout::spec::Spec;
use lamplighter_domain::rollout::target::{Finder, LeftOut, admit};
use lamplighter_domain::rollout::wave::Cursor;
use serde::{Deserialize, Serialize};

use super::Jobs;
use super::existing::CALLS;
use crate::describe::found;
use crate::query::read_index;
use crate::table::Key;

const PAGE: usize = 100;
/// How many things that were named one by one stand in a row.
pub(super) const NAMES: usize = 1000;
/// How many dynamic groups may be above one another.
const MOST_PARENTS: usize = 10;

/// `ROLLOUT#id / NAMES#page`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) things: Vec<ThingName>,
}

/// Who was found, and where the next page begins.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) admitted: Vec<ThingName>,
    pub(super) left_out: Vec<LeftOut>,
    pub(super) next: Option<Cursor>,
}

/// What targets come from.
pub(super) enum Source<'a> {
    /// What a request names and is not stored yet.
    Sent(&'a [ThingName]),
    /// What the job's rows name.
    Stored(&'a RolloutId),
}

impl Jobs {
    /// The next page of targets.
    pub(super) async fn found(
        &self,
        order: &Order,
        spec: &Spec,
        source: &Source<'_>,
        after: Option<&Cursor>,
    ) -> Result<Found, Failure> {
        match &order.targets {
            Targets::Things { count } => self.of_names(order, *count, spec, source, after).await,
            Targets::Group { name } => self.of_group(name, spec, after).await,
            Targets::DynamicGroup { name } => {
                let finder = self.of_definition(name).await?;
                self.of_finder(&finder, spec, after).await
            }
            Targets::Query { text, semver } => {
                let finder = Finder::of_query("targets.query", text, *semver)?;
                self.of_finder(&finder, spec, after).await
            }
        }
    }

    async fn of_names(
        &self,
        order: &Order,
        count: usize,
        spec: &Spec,
        source: &Source<'_>,
        after: Option<&Cursor>,
    ) -> Result<Found, Failure> {
        let page = match after {
            Some(Cursor(page)) => page.parse::<usize>().map_err(|_| no_cursor(page))? + 1,
            None => 0,
        };
        let names = match source {
            Source::Sent(things) => {
                let begin = (page * NAMES).min(things.len());
                things[begin..(begin + NAMES).min(things.len())].to_vec()
            }
            Source::Stored(id) => {
                let names: Option<Names> = self
                    .table
                    .get(&Key::named_things(id, &order.asked, page))
                    .await?;
                names.map(|names| names.things).unwrap_or_default()
            }
        };
        let more = (page + 1) * NAMES < count;
        let next = more.then(|| Cursor(page.to_string()));
        self.admitted(names, spec, next).await
    }

    /// All that are in the group or in groups below it.
    async fn of_group(
        &self,
        name: &GroupName,
        spec: &Spec,
        after: Option<&Cursor>,
    ) -> Result<Found, Failure> {
        let answer = self
            .iot
            .list_things_in_thing_group()
            .thing_group_name(name.as_str())
            .recursive(true)
            .max_results(i32::try_from(PAGE).unwrap_or(i32::MAX))
            .set_next_token(after.map(|cursor| cursor.0.clone()))
            .send()
            .await;
        // A group that went while it was listed has nobody any more.
        let Some(page) = found("iot:ListThingsInThingGroup", answer)? else {
            return Ok(Found::default());
        };
        let names = page.things.unwrap_or_default();
        let names = names.iter().map(|name| ThingName::parse(name));
        let names = names.collect::<Result<_, _>>()?;
        self.admitted(names, spec, page.next_token.map(Cursor))
            .await
    }

    async fn admitted(
        &self,
        names: Vec<ThingName>,
        spec: &Spec,
        next: Option<Cursor>,
    ) -> Result<Found, Failure> {
        let reads = names.into_iter().map(async |name| {
            let record: Option<DeviceRecord> = self.table.get(&Key::device(&name)).await?;
            Ok::<_, Failure>(admit(spec, &name, record.as_ref()).map(|()| name))
        });
        let seen: Vec<_> = stream::iter(reads).buffered(CALLS).try_collect().await?;
        let mut found = Found {
            next,
            ..Found::default()
        };
        for one in seen {
            match one {
                Ok(name) => found.admitted.push(name),
                Err(left_out) => found.left_out.push(left_out),
            }
        }
        Ok(found)
    }

    /// The definition of a dynamic group, and of those above it. Its members
    /// are found by asking it of every device: the one place that would read
    /// members' rows, once they are kept.
    pub(super) async fn of_definition(&self, name: &GroupName) -> Result<Finder, Failure> {
        let mut definitions: Vec<Definition> = Vec::new();
        let mut above = Some(name.clone());
        while let Some(name) = above.take().filter(|_| definitions.len() < MOST_PARENTS) {
            let row: Option<DefinitionRow> = self.table.get(&Key::definition(&name)).await?;
            let row = row.ok_or_else(|| {
                Failure::not_found(
                    "targets.dynamicGroup",
                    format!("there is no dynamic group {name}"),
                    "Declare it in a catalog and apply that.",
                )
            })?;
            above.clone_from(&row.definition.parent);
            definitions.push(row.definition);
        }
        Finder::of_definitions("targets.dynamicGroup", &definitions)
    }

    /// Whom queries find in the whole registry.
    async fn of_finder(
        &self,
        finder: &Finder,
        spec: &Spec,
        after: Option<&Cursor>,
    ) -> Result<Found, Failure> {
        let (shard, name) = match after {
            Some(Cursor(text)) => {
                let (shard, name) = text.split_once(':').ok_or_else(|| no_cursor(text))?;
                let shard = shard.parse::<u32>().map_err(|_| no_cursor(text))?;
                let name = (!name.is_empty()).then(|| ThingName::parse(name));
                (shard, name.transpose()?)
            }
            None => (0, None),
        };
        let read = Read {
            shard: listing_shard(shard),
            after: name,
            limit: PAGE,
        };
        let (devices, more) = read_index(&self.table, &read).await?;
        let last = devices.last().map(|device| &device.request.thing_name);
        let next = match last.filter(|_| more) {
            Some(last) => Some(Cursor(format!("{shard}:{last}"))),
            None => (shard + 1 < LISTING_SHARDS).then(|| Cursor(format!("{}:", shard + 1))),
        };
        let shadows = if finder.asks_the_shadow() {
            let things = devices.iter().map(|device| &device.request.thing_name);
            self.shadows(things).await?
        } else {
            std::collections::BTreeMap::new()
        };
        let mut found = Found {
            next,
            ..Found::default()
        };
        for device in devices {
            let name = &device.request.thing_name;
            if finder.finds(&device, shadows.get(name))? {
                match admit(spec, name, Some(&device)) {
                    Ok(()) => found.admitted.push(name.clone()),
                    Err(left_out) => found.left_out.push(left_out),
                }
            }
        }
        Ok(found)
    }
}

fn no_cursor(text: &str) -> Failure {
    Failure::bug(format!("{text} is no place in a list of targets"))
}
