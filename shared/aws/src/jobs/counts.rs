//! What is heard of devices, written with what it counts in one transaction:
//! so it is counted once, however often it is delivered (invariant 6).

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{Put, TransactWriteItem, Update};
use futures_util::future::try_join_all;
use lamplighter_domain::Failure;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::rollout::execution::{Delta, Execution, Heard};
use lamplighter_domain::rollout::tally::Tally;
use lamplighter_domain::rollout::{Rollout, RolloutId};

use super::Jobs;
use super::rows::expiry;
use crate::job_views::KeptExecution;
use crate::table::{self, Key};

/// How often rows are read and changed anew while others change them.
const ATTEMPTS: u32 = 8;
/// So many devices a transaction, which holds 100 items; those of a wave are
/// counted in one row, so more at once are fewer conflicts over it.
pub(super) const AT_ONCE: usize = 25;

/// A device's row, as it was read and as it will be.
pub(super) struct Changed {
    pub(super) revision: u64,
    pub(super) after: Execution,
}

impl Jobs {
    /// The rows of these devices, as far as waves have taken them.
    pub(super) async fn executions(
        &self,
        id: &RolloutId,
        things: impl IntoIterator<Item = &ThingName>,
    ) -> Result<BTreeMap<ThingName, KeptExecution>, Failure> {
        let reads = things.into_iter().map(async |thing| {
            let row: Option<KeptExecution> = self.table.get(&Key::execution(id, thing)).await?;
            Ok::<_, Failure>(row.map(|row| (thing.clone(), row)))
        });
        let rows = try_join_all(reads).await?;
        Ok(rows.into_iter().flatten().collect())
    }

    /// Has devices heard. Who was never taken is passed over.
    pub(super) async fn hear(
        &self,
        rollout: &Rollout,
        heard: impl IntoIterator<Item = (ThingName, Heard)>,
    ) -> Result<(), Failure> {
        let mut of_things: BTreeMap<ThingName, Vec<Heard>> = BTreeMap::new();
        for (thing, heard) in heard {
            let heard = rollout.as_it_counts(heard);
            of_things.entry(thing).or_default().push(heard);
        }
        let of_things: Vec<_> = of_things.into_iter().collect();
        for some in of_things.chunks(AT_ONCE) {
            self.hear_some(rollout, some).await?;
        }
        Ok(())
    }

    async fn hear_some(
        &self,
        rollout: &Rollout,
        heard: &[(ThingName, Vec<Heard>)],
    ) -> Result<(), Failure> {
        let id = &rollout.rollout_id;
        for _ in 0..ATTEMPTS {
            let rows = self
                .executions(id, heard.iter().map(|(thing, _)| thing))
                .await?;
            let (mut changes, mut deltas) = (Vec::new(), Vec::new());
            for (thing, all) in heard {
                let Some(row) = rows.get(thing) else {
                    continue;
                };
                let mut after = row.execution.clone();
                for one in all {
                    if let Some((next, delta)) = after.hear(one, &rollout.spec) {
                        after = next;
                        deltas.extend(delta);
                    }
                }
                if after != row.execution {
                    changes.push(Changed {
                        revision: row.revision,
                        after,
                    });
                }
            }
            if changes.is_empty() || self.write(rollout, changes, &deltas).await? {
                return Ok(());
            }
        }
        Err(Failure::busy("devices are changing at this moment", 1))
    }

    /// Writes rows that were read at these revisions, and their counts; false
    /// if one of them has changed meanwhile.
    pub(super) async fn write(
        &self,
        rollout: &Rollout,
        changes: Vec<Changed>,
        deltas: &[Delta],
    ) -> Result<bool, Failure> {
        let id = &rollout.rollout_id;
        let mut items = Vec::new();
        for Changed { revision, after } in changes {
            let row = KeptExecution {
                execution: after,
                revision: revision + 1,
                expires_at: expiry(rollout),
            };
            let key = Key::execution(id, &row.execution.thing_name);
            let put = Put::builder()
                .table_name(&self.table.name)
                .set_item(Some(table::write(&key, &row)?));
            let put = if revision == 0 {
                put.condition_expression("attribute_not_exists(PK)")
            } else {
                put.condition_expression("revision = :read")
                    .expression_attribute_values(":read", table::attribute(&revision)?)
            };
            items.push(table::put(put)?);
        }
        let mut waves: Vec<_> = deltas.iter().map(|delta| delta.wave).collect();
        waves.sort_unstable();
        waves.dedup();
        for wave in waves {
            let of_it = deltas.iter().filter(|delta| delta.wave == wave);
            let added = Tally::added(of_it.copied());
            items.extend(self.add(&Key::wave(id, wave), added)?);
        }
        let added = Tally::added_in_all(deltas.iter().copied());
        items.extend(self.add(&Key::totals(id), added)?);
        match self.table.transact(items).await {
            Ok(refused) => Ok(refused.is_none()),
            // Others count at the same moment; the rows are looked at again.
            Err(busy) if busy.kind.retryable() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    fn add(
        &self,
        key: &Key,
        added: BTreeMap<&'static str, i64>,
    ) -> Result<Option<TransactWriteItem>, Failure> {
        if added.is_empty() {
            return Ok(None);
        }
        let terms: Vec<_> = added.keys().map(|f| format!("#{f} :{f}")).collect();
        let mut update = Update::builder()
            .table_name(&self.table.name)
            .set_key(Some(key.item()))
            .update_expression(format!("ADD {}", terms.join(", ")));
        for (field, by) in added {
            update = update
                .expression_attribute_names(format!("#{field}"), field)
                .expression_attribute_values(format!(":{field}"), table::attribute(&by)?);
        }
        table::update(update).map(Some)
    }
}
