//! Where a job's targets come from, page by page.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::catalog::DefinitionStatus;
use lamplighter_domain::device::{DeviceRecord, LISTING_SHARDS, listing_shard};
use lamplighter_domain::listing::Read;
use lamplighter_domain::membership::{MEMBER_SHARDS, MemberRow};
use lamplighter_domain::names::{GroupName, ThingName};
use lamplighter_domain::rollout::RolloutId;
use lamplighter_domain::rollout::order::{Order, Targets};
use lamplighter_domain::rollout::spec::Spec;
use lamplighter_domain::rollout::target::{Finder, LeftOut, admit};
use lamplighter_domain::rollout::wave::Cursor;
use lamplighter_domain::{Failure, Kind};
use serde::{Deserialize, Serialize};

use super::Jobs;
use super::existing::CALLS;
use crate::describe::found;
use crate::query::read_index;
use crate::table::{self, Key, MEMBER_PREFIX, Range, member_partition};
use crate::{definitions, group_queries};

const PAGE: usize = 100;
/// How many things that were named one by one stand in a row.
pub(super) const NAMES: usize = 1000;

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
    /// The next page of targets; nothing while not all members of a dynamic group
    /// are known.
    pub(super) async fn found(
        &self,
        order: &Order,
        spec: &Spec,
        source: &Source<'_>,
        after: Option<&Cursor>,
    ) -> Result<Option<Found>, Failure> {
        let found = match &order.targets {
            Targets::Things { count } => self.of_names(order, *count, spec, source, after).await?,
            Targets::Group { name } => self.of_group(name, spec, after).await?,
            Targets::DynamicGroup { name } => {
                return self.of_dynamic_group(name, spec, after).await;
            }
            Targets::Query { text, semver } => {
                let finder = Finder::of_query("targets.query", text, *semver)?;
                self.of_finder(&finder, spec, after).await?
            }
        };
        Ok(Some(found))
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

    /// A dynamic group's members, partition by partition.
    async fn of_dynamic_group(
        &self,
        group: &GroupName,
        spec: &Spec,
        after: Option<&Cursor>,
    ) -> Result<Option<Found>, Failure> {
        let (shard, last) = place(after)?;
        let partition = member_partition(group, shard);
        let range = Range {
            partition: &partition,
            prefix: MEMBER_PREFIX,
            after: last.map(|name| format!("{MEMBER_PREFIX}{name}")),
            descending: false,
            limit: i32::try_from(PAGE).unwrap_or(i32::MAX),
        };
        let page = self.while_known(group, async || self.table.page(&range).await);
        let (rows, more) = match page.await {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(None),
            // One that was removed while it was listed has nobody any more.
            Err(failure) if failure.kind == Kind::NotFound => return Ok(Some(Found::default())),
            Err(failure) => return Err(failure),
        };
        let name = |row| Ok(table::read::<MemberRow>(row)?.thing_name);
        let names: Vec<_> = rows.into_iter().map(name).collect::<Result<_, Failure>>()?;
        let next = next_place(shard, names.last().filter(|_| more), MEMBER_SHARDS);
        self.admitted(names, spec, next).await.map(Some)
    }

    /// Reads something of a dynamic group; nothing if not all of its members were
    /// known all the while.
    async fn while_known<T>(
        &self,
        group: &GroupName,
        reading: impl AsyncFnOnce() -> Result<T, Failure>,
    ) -> Result<Option<T>, Failure> {
        let before = definitions::versions(&self.table).await?;
        let (_, status, found) =
            group_queries::between(&self.table, group, before, reading).await?;
        Ok((status == DefinitionStatus::Active).then_some(found))
    }

    /// That all members of a dynamic group are known.
    ///
    /// # Errors
    /// `NotFound` without the group; `Conflict` while it is being built.
    pub(super) async fn check_known(&self, group: &GroupName) -> Result<(), Failure> {
        match self.while_known(group, async || Ok(())).await {
            Ok(Some(())) => Ok(()),
            Ok(None) => Err(still_building()),
            Err(failure) if failure.kind == Kind::NotFound => {
                Err(failure.field("targets.dynamicGroup"))
            }
            Err(failure) => Err(failure),
        }
    }

    /// Whom queries find in the whole registry.
    async fn of_finder(
        &self,
        finder: &Finder,
        spec: &Spec,
        after: Option<&Cursor>,
    ) -> Result<Found, Failure> {
        let (shard, name) = place(after)?;
        let read = Read {
            shard: listing_shard(shard),
            after: name,
            limit: PAGE,
        };
        let (devices, more) = read_index(&self.table, &read).await?;
        let last = devices.last().map(|device| &device.request.thing_name);
        let next = next_place(shard, last.filter(|_| more), LISTING_SHARDS);
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

/// The partition that is read, and the last name of it that was.
fn place(after: Option<&Cursor>) -> Result<(u32, Option<ThingName>), Failure> {
    let Some(Cursor(text)) = after else {
        return Ok((0, None));
    };
    let (shard, name) = text.split_once(':').ok_or_else(|| no_cursor(text))?;
    let shard = shard.parse().map_err(|_| no_cursor(text))?;
    let name = (!name.is_empty()).then(|| ThingName::parse(name));
    Ok((shard, name.transpose()?))
}

/// After the last name that was read, if its partition has more; else the next
/// partition, out of so many.
fn next_place(shard: u32, last: Option<&ThingName>, shards: u32) -> Option<Cursor> {
    match last {
        Some(last) => Some(Cursor(format!("{shard}:{last}"))),
        None => (shard + 1 < shards).then(|| Cursor(format!("{}:", shard + 1))),
    }
}

/// The refusal of a group whose definition has just changed: a job would miss
/// members that are not found yet.
pub(super) fn still_building() -> Failure {
    Failure::conflict(
        "targets.dynamicGroup",
        "not all members of the group are known yet: it is BUILDING",
        "Wait until `lamp group show` says that it is ACTIVE, and send it again.",
    )
}

fn no_cursor(text: &str) -> Failure {
    Failure::bug(format!("{text} is no place in a list of targets"))
}
