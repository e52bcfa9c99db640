//! Asks every device again, since definitions of dynamic groups have changed.
//!
//! A sweep goes over the registry's listing shard by shard, page by page, while
//! events go on. What it writes of a device is written as an event's outcome is,
//! and how far it is stands in a row of the shard; so it may be run twice, and
//! taken up anywhere (invariant 6).

use std::collections::BTreeSet;
use std::time::Duration;

use aws_sdk_dynamodb::types::{Delete, Put, Update};
use futures_util::future::try_join_all;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::building::{Beginning, RemovedRow, ShardRow, begin, is_complete, standing};
use lamplighter_domain::catalog::DefinitionStatus;
use lamplighter_domain::device::listing_shard;
use lamplighter_domain::membership::{Definitions, MEMBER_SHARDS, MemberRow, MembershipRow};
use lamplighter_domain::names::{GroupName, ThingName};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::definitions::{self, shard_rows, versions};
use crate::groups::Groups;
use crate::query::read_index;
use crate::table::{self, DEFINITIONS, Key, REMOVED_PREFIX, Table};

/// How many devices are asked at once.
const AT_ONCE: usize = 16;
/// How many devices an invocation asks at most, and for how long. The rest of
/// its 30 seconds is for their members' rows to follow.
const MOST_ASKED: usize = 1000;
const ASKING_MILLIS: u64 = 10_000;
const FOLLOWING_MILLIS: u64 = 12_000;
/// How often is looked whether they have.
const PAUSE: Duration = Duration::from_millis(300);

/// One step of the workflow.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(tag = "sweep", rename_all = "UPPERCASE")]
pub enum Step {
    /// Find out what is to be done.
    Begin {
        /// For this version; without one, for what nobody is at.
        version: Option<u64>,
    },
    /// Ask some more devices of a shard.
    Page {
        /// The version of the definitions.
        version: u64,
        /// The shard.
        shard: u32,
    },
    /// All shards have ended.
    End {
        /// The version of the definitions.
        version: u64,
    },
}

/// What the workflow does next.
#[derive(Debug, Serialize)]
#[serde(tag = "status", rename_all = "UPPERCASE")]
pub enum Next {
    /// Go over these shards, then end the sweep.
    Sweep {
        /// The version of the definitions.
        version: u64,
        /// Its shards with devices left to ask.
        shards: Vec<Shard>,
    },
    /// The same step again.
    More,
    /// Nothing more.
    End,
}

/// A shard of a sweep.
#[derive(Debug, Serialize)]
pub struct Shard {
    version: u64,
    shard: u32,
}

impl Groups {
    /// Does one step of a sweep.
    ///
    /// # Errors
    /// `Busy` when it can be tried again.
    pub async fn sweep(&self, step: Step) -> Result<Next, Failure> {
        match step {
            Step::Begin { version } => self.begin(version).await,
            Step::Page { version, shard } => self.page(version, shard).await,
            Step::End { version } => self.end(version).await,
        }
    }

    async fn begin(&self, version: Option<u64>) -> Result<Next, Failure> {
        let now = clock::now();
        let seen = versions(&self.table).await?;
        let rows = shard_rows(&self.table).await?;
        let Beginning::Sweep {
            version,
            fresh,
            open,
        } = begin(version, seen, &rows, now)
        else {
            return Ok(Next::End);
        };
        let counting = fresh.into_iter().map(async |shard| {
            let name = listing_shard(shard);
            let devices = self
                .table
                .count_in_index("listing", "listingShard", &name)
                .await?;
            let row = ShardRow::new(version, shard, devices, now);
            let put = Put::builder()
                .condition_expression("attribute_not_exists(PK) OR version < :version");
            self.write_shard(put, &row).await
        });
        try_join_all(counting).await?;
        let shards = open.into_iter().map(|shard| Shard { version, shard });
        Ok(Next::Sweep {
            version,
            shards: shards.collect(),
        })
    }

    /// Asks devices until time is up; what is recorded has been asked, and its
    /// members' rows have followed.
    async fn page(&self, version: u64, shard: u32) -> Result<Next, Failure> {
        let until = clock::now().plus_millis(ASKING_MILLIS);
        let definitions = self.definitions.current(&self.table).await?;
        let key = Key::sweep_of_groups(shard);
        let row: Option<ShardRow> = self.table.get(&key).await?;
        let Some(before) = row.filter(|row| row.version == version) else {
            return Ok(Next::End);
        };
        // A newer version's sweep asks all of them anyway.
        if definitions.version != version {
            return Ok(Next::End);
        }
        let (mut row, mut asked) = (before.clone(), Vec::new());
        while let Some(read) = row.next_read() {
            let (found, more) = read_index(&self.table, &read).await?;
            let names: Vec<_> = found.into_iter().map(|d| d.request.thing_name).collect();
            self.ask(&definitions, &names).await?;
            row = row.after_page(&names, more, clock::now());
            asked.extend(names);
            if asked.len() >= MOST_ASKED || clock::now() > until {
                break;
            }
        }
        if row == before {
            return Ok(Next::End);
        }
        self.members_follow(asked).await?;
        let put = Put::builder()
            .condition_expression("version = :version AND asked = :asked")
            .expression_attribute_values(":asked", table::attribute(&before.asked)?);
        self.write_shard(put, &row).await?;
        Ok(if row.ended { Next::End } else { Next::More })
    }

    async fn ask(
        &self,
        definitions: &std::sync::Arc<Definitions>,
        names: &[ThingName],
    ) -> Result<(), Failure> {
        stream::iter(names.iter().map(|name| self.take(definitions, name, &[])))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Writes how far a shard is, unless somebody else was faster.
    async fn write_shard(
        &self,
        put: aws_sdk_dynamodb::types::builders::PutBuilder,
        row: &ShardRow,
    ) -> Result<(), Failure> {
        let item = table::write(&Key::sweep_of_groups(row.shard), row)?;
        let put = put
            .table_name(&self.table.name)
            .set_item(Some(item))
            .expression_attribute_values(":version", table::attribute(&row.version)?);
        self.table.transact(vec![table::put(put)?]).await.map(drop)
    }

    /// Waits until the members' rows of what is being built say what these
    /// devices' memberships say. They follow from the registry's stream.
    async fn members_follow(&self, mut devices: Vec<ThingName>) -> Result<(), Failure> {
        let until = clock::now().plus_millis(FOLLOWING_MILLIS);
        let groups = self.unfinished().await?;
        loop {
            devices = self.disagreeing(&groups, devices).await?;
            if devices.is_empty() {
                return Ok(());
            }
            if clock::now() > until {
                let reason = format!("the members of groups do not follow, of {}", devices[0]);
                return Err(Failure::busy(reason, 5));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The groups that readers are told are not complete, and those that are no
    /// more.
    async fn unfinished(&self) -> Result<BTreeSet<GroupName>, Failure> {
        let seen = versions(&self.table).await?;
        let (rows, _) = definitions::read(&self.table, None, None).await?;
        let building = rows
            .into_iter()
            .filter(|row| standing(row, seen) == DefinitionStatus::Building)
            .map(|row| row.definition.name);
        let removed = removed_rows(&self.table).await?.into_iter();
        Ok(building.chain(removed.map(|row| row.group)).collect())
    }

    async fn disagreeing(
        &self,
        groups: &BTreeSet<GroupName>,
        devices: Vec<ThingName>,
    ) -> Result<Vec<ThingName>, Failure> {
        let keys: Vec<_> = devices.iter().map(Key::membership).collect();
        let mut wanted = BTreeSet::new();
        for row in self.table.get_all::<MembershipRow>(&keys).await? {
            let groups = row
                .groups
                .into_keys()
                .filter(|group| groups.contains(group));
            wanted.extend(groups.map(|group| Key::member(&group, &row.thing_name)));
        }
        let keys: Vec<_> = groups
            .iter()
            .flat_map(|group| devices.iter().map(|name| Key::member(group, name)))
            .collect();
        let found: Vec<MemberRow> = self.table.get_all(&keys).await?;
        let found: BTreeSet<_> = found
            .iter()
            .map(|row| Key::member(&row.group_name, &row.thing_name))
            .collect();
        let disagrees = |name: &ThingName| {
            groups.iter().any(|group| {
                let key = Key::member(group, name);
                wanted.contains(&key) != found.contains(&key)
            })
        };
        Ok(devices.into_iter().filter(disagrees).collect())
    }

    /// Says that all members are known. What is left of removed groups goes
    /// first, since nobody looks for that any more then.
    async fn end(&self, version: u64) -> Result<Next, Failure> {
        let seen = versions(&self.table).await?;
        if seen.swept >= version {
            return Ok(Next::End);
        }
        if !is_complete(version, &shard_rows(&self.table).await?) {
            if seen.version > version {
                return Ok(Next::End);
            }
            let reason = format!("the sweep of version {version} has not asked every device");
            return Err(Failure::bug(reason));
        }
        for row in removed_rows(&self.table).await? {
            if row.since <= version {
                self.clear_away(&row).await?;
            }
        }
        let update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::definitions().item()))
            .update_expression("SET swept = :version")
            .condition_expression("attribute_not_exists(swept) OR swept < :version")
            .expression_attribute_values(":version", table::attribute(&version)?);
        self.table.transact(vec![table::update(update)?]).await?;
        Ok(Next::End)
    }

    /// Removes the counts of a group without members, unless it was defined anew.
    async fn clear_away(&self, row: &RemovedRow) -> Result<(), Failure> {
        for shard in 0..MEMBER_SHARDS {
            let count = Delete::builder()
                .table_name(&self.table.name)
                .set_key(Some(Key::count(&row.group, shard).item()))
                .condition_expression("members = :none")
                .expression_attribute_values(":none", table::attribute(&0)?);
            self.table.transact(vec![table::delete(count)?]).await?;
        }
        let gone = Delete::builder()
            .table_name(&self.table.name)
            .set_key(Some(Key::removed(&row.group).item()))
            .condition_expression("since = :since")
            .expression_attribute_values(":since", table::attribute(&row.since)?);
        self.table
            .transact(vec![table::delete(gone)?])
            .await
            .map(drop)
    }
}

async fn removed_rows(table: &Table) -> Result<Vec<RemovedRow>, Failure> {
    let items = table.beginning(DEFINITIONS, REMOVED_PREFIX).await?;
    items.into_iter().map(table::read).collect()
}
