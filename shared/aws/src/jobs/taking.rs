//! A wave takes its devices: each by a conditional write of its own row, so
//! that no device ever has two jobs of a rollout.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, stream};
use lamplighter_domain::Failure;
use lamplighter_domain::names::ThingName;
use lamplighter_domain::rollout::execution::{Delta, Execution, Heard, Report, Status, Take};
use lamplighter_domain::rollout::wave::{Cursor, Wave};
use lamplighter_domain::rollout::{Rollout, Taken, Taking};

use super::Jobs;
use super::counts::{AT_ONCE, Changed};
use super::effects::{Joined, Refused};
use super::existing::CALLS;
use super::joiners;
use crate::clock;
use crate::job_views::KeptExecution;

/// How often a page is looked at anew while devices change.
const ATTEMPTS: u32 = 8;

/// What is decided about a page of targets.
#[derive(Default)]
struct Decided {
    taken: Taken,
    mine: Vec<ThingName>,
    changes: Vec<Changed>,
    deltas: Vec<Delta>,
}

impl Decided {
    fn note(&mut self, place: &Cursor, thing: &ThingName, take: Take, row: Option<&KeptExecution>) {
        let revision = row.map_or(0, |row| row.revision);
        let known = row.map_or(0, |row| row.execution.tries);
        let (tries, mine) = match take {
            Take::Not => return,
            Take::Known => (known, false),
            Take::Mine => (known, true),
            Take::New(after, delta) => {
                self.deltas.extend(delta);
                (self.change(revision, after), true)
            }
            Take::Left(after, deltas) => {
                self.deltas.extend(deltas);
                (self.change(revision, after), false)
            }
        };
        self.taken.first += u64::from(tries == 1);
        if mine {
            self.taken.taken += 1;
            self.taken.late += u64::from(joiners::listed_at(place).is_some());
            self.mine.push(thing.clone());
        }
    }

    fn change(&mut self, revision: u64, after: Execution) -> u32 {
        let tries = after.tries;
        self.changes.push(Changed { revision, after });
        tries
    }
}

impl Jobs {
    /// Takes the next targets, a page of them at most.
    pub(super) async fn take(
        &self,
        rollout: &Rollout,
        taking: &Taking,
    ) -> Result<Result<Taken, Refused>, Failure> {
        let id = &rollout.rollout_id;
        let (page, more) = self
            .targets_after(id, taking.after.as_ref(), AT_ONCE)
            .await?;
        let listed = page.len();
        let page: Vec<_> = page
            .into_iter()
            .take_while(|(place, _)| {
                joiners::listed_at(place).is_none_or(|at| at < taking.listed_before)
            })
            .collect();
        let fresh = page.len() < listed;
        self.hear_ends(rollout, taking, &page).await?;
        for _ in 0..ATTEMPTS {
            self.hear_shadows(rollout, &page).await?;
            let Some((mut taken, mine)) = self.take_page(rollout, taking, &page).await? else {
                continue;
            };
            let whole = taken.looked_at == page.len() as u64;
            taken.end = whole && (fresh || !more);
            return Ok(match self.admit_into(rollout, taking, &mine).await? {
                Ok(()) => Ok(taken),
                Err(refused) => Err(refused),
            });
        }
        Err(Failure::busy("devices are changing at this moment", 1))
    }

    /// The shadows of those that were taken before are heard first: who runs
    /// the firmware by now is not given it again.
    async fn hear_shadows(
        &self,
        rollout: &Rollout,
        page: &[(Cursor, ThingName)],
    ) -> Result<(), Failure> {
        if rollout.spec.confirms.is_none() {
            return Ok(());
        }
        let things = page.iter().map(|(_, thing)| thing);
        let rows = self.executions(&rollout.rollout_id, things).await?;
        let open = rows.values().filter(|row| !row.execution.confirmed);
        let open: Vec<_> = open.map(|row| &row.execution.thing_name).collect();
        let heard = self.firmwares(open).await?;
        self.hear(rollout, heard).await
    }

    /// Decides about each, and writes all at once; nothing if one of the rows
    /// has changed meanwhile.
    async fn take_page(
        &self,
        rollout: &Rollout,
        taking: &Taking,
        page: &[(Cursor, ThingName)],
    ) -> Result<Option<(Taken, Vec<ThingName>)>, Failure> {
        let things = page.iter().map(|(_, thing)| thing);
        let rows = self.executions(&rollout.rollout_id, things).await?;
        let take = |thing: &ThingName| {
            let before = rows.get(thing).map(|row| &row.execution);
            Execution::take(before, thing, taking.wave, &taking.again, &rollout.spec)
        };
        // No more are asked about than may be taken.
        let most = usize::try_from(taking.most).unwrap_or(usize::MAX);
        let new = page.iter().map(|(_, thing)| thing);
        let new = new.filter(|thing| matches!(take(thing), Take::New(..)));
        let asked: Vec<_> = new.take(most).cloned().collect();
        let left = self.left(&rollout.rollout_id, &asked).await?;
        let mut decided = Decided::default();
        let mut seen = BTreeSet::new();
        for (place, thing) in page {
            let mut take = take(thing);
            let unasked = matches!(take, Take::New(..)) && !asked.contains(thing);
            if unasked || decided.taken.taken >= taking.most {
                break;
            }
            decided.taken.looked_at += 1;
            decided.taken.last = Some(place.clone());
            // Somebody may stand in the list twice, having left and joined again.
            if !seen.insert(thing) {
                continue;
            }
            if left.contains(thing) {
                take = take.without();
            }
            decided.note(place, thing, take, rows.get(thing));
        }
        let Decided {
            taken,
            mine,
            changes,
            deltas,
        } = decided;
        if !changes.is_empty() && !self.write(rollout, changes, &deltas).await? {
            return Ok(None);
        }
        Ok(Some((taken, mine)))
    }

    /// Who is gone is heard to be; the others join the wave's group.
    async fn admit_into(
        &self,
        rollout: &Rollout,
        taking: &Taking,
        mine: &[ThingName],
    ) -> Result<Result<(), Refused>, Failure> {
        let gone = self.gone(&rollout.spec, mine).await?;
        let mut heard: Vec<_> = gone.iter().map(|t| (t.clone(), Heard::Gone)).collect();
        if let Some(group) = &taking.group {
            let there = mine.iter().filter(|thing| !gone.contains(thing));
            let joins = there.map(async |thing| (thing, self.join(thing, group).await));
            let joins: Vec<_> = stream::iter(joins).buffer_unordered(CALLS).collect().await;
            for (thing, joined) in joins {
                match joined? {
                    Joined::Yes => {}
                    Joined::NoThing => heard.push((thing.clone(), Heard::Gone)),
                    Joined::NoGroup => {
                        let why = "the wave's group was removed".to_owned();
                        return Ok(Err(Refused(why)));
                    }
                    Joined::Full(why) => {
                        let report = Report::new(Status::Rejected, 1, clock::now(), &why);
                        heard.push((thing.clone(), Heard::Report(taking.wave, report)));
                    }
                }
            }
        }
        self.hear(rollout, heard).await?;
        Ok(Ok(()))
    }

    /// The devices of a wave, by the list that it walked along; those of whom
    /// nothing more is awaited left out.
    pub(super) async fn devices_of(
        &self,
        rollout: &Rollout,
        wave: &Wave,
    ) -> Result<Vec<ThingName>, Failure> {
        let id = &rollout.rollout_id;
        let (mut devices, mut after) = (BTreeSet::new(), wave.from.clone());
        loop {
            let (page, more) = self.targets_after(id, after.as_ref(), 4 * AT_ONCE).await?;
            let walked = page
                .iter()
                .filter(|(place, _)| rollout.cursor.as_ref() >= Some(place));
            let rows = self.executions(id, walked.map(|(_, thing)| thing)).await?;
            let open = rows
                .into_values()
                .map(|row| row.execution)
                .filter(|row| row.wave == wave.number && !row.class(&rollout.spec).settled());
            devices.extend(open.map(|row| row.thing_name));
            after = page.last().map(|(place, _)| place.clone());
            if !more || after >= rollout.cursor {
                return Ok(devices.into_iter().collect());
            }
        }
    }
}
