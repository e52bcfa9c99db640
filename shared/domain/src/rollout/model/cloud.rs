//! AWS IoT Jobs and the devices behind it, as far as a rollout meets them.

use std::collections::{BTreeMap, BTreeSet};

use super::Chance;
use crate::names::ThingName;
use crate::rollout::execution::{Heard, Report, Status};
use crate::rollout::spec::Spec;
use crate::rollout::{Described, JobPlan, RolloutId, Standing};
use crate::time::Moment;

const MINUTE: u64 = 60_000;

/// What a device does with a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Manner {
    Good,
    Fails,
    FailsOnce,
    Dead,
    Stalls,
    Rejects,
    /// Says it is done and does not run the firmware.
    Pretends,
    /// Runs the firmware for a while, falls back, and says that it failed.
    FallsBack,
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) wave: u32,
    targets: Vec<ThingName>,
    per_minute: usize,
    told: usize,
    next_tick: Moment,
    pub(super) standing: Standing,
    pub(super) executions: BTreeMap<ThingName, (u64, Status, Moment)>,
}

impl Job {
    pub(super) fn live(&self, thing: &ThingName) -> bool {
        self.executions
            .get(thing)
            .is_some_and(|(_, status, _)| !status.ended())
    }

    fn telling(&self) -> bool {
        self.standing == Standing::Open && self.told < self.targets.len()
    }
}

/// What will happen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Act {
    Begin(String, ThingName, u64),
    End(String, ThingName, u64, Status),
    Shadow(ThingName, bool),
    Delete(ThingName),
    Join(ThingName),
    Leave(ThingName),
    CancelByHand,
    DeleteJobByHand,
    RemoveGroupByHand,
    Operator(u32),
}

#[derive(Default)]
pub(super) struct Cloud {
    pub(super) jobs: BTreeMap<String, Job>,
    pub(super) groups: BTreeMap<String, BTreeSet<ThingName>>,
    pub(super) manners: BTreeMap<ThingName, Manner>,
    pub(super) deleted: BTreeSet<ThingName>,
    /// Who is no target any more.
    pub(super) left: BTreeSet<ThingName>,
    /// Of each shadow the version, and whether it reports the firmware.
    pub(super) shadows: BTreeMap<ThingName, (u64, bool)>,
    pub(super) agenda: BTreeSet<(Moment, Act)>,
    /// Each device told, when, and by which wave.
    pub(super) told: Vec<(Moment, u32, ThingName)>,
    /// What is on its way to us.
    pub(super) news: Vec<(ThingName, Heard)>,
    pub(super) broken: Option<&'static str>,
}

impl Cloud {
    pub(super) fn create(&mut self, plan: &JobPlan, things: Vec<ThingName>, now: Moment) {
        let wave = RolloutId::wave_of(&plan.job_id).unwrap().1;
        self.jobs.entry(plan.job_id.clone()).or_insert(Job {
            wave,
            targets: things,
            per_minute: plan.rate.per_minute.get() as usize,
            told: 0,
            next_tick: now,
            standing: Standing::Open,
            executions: BTreeMap::new(),
        });
    }

    pub(super) fn describe(&self, id: &str) -> Described {
        self.jobs.get(id).map_or(
            Described {
                standing: Standing::Canceled,
                ended: 0,
            },
            |job| {
                let ended = job
                    .executions
                    .values()
                    .filter(|(_, status, _)| status.ended());
                Described {
                    standing: job.standing,
                    ended: ended.count() as u64,
                }
            },
        )
    }

    pub(super) fn reports(&self, id: &str) -> Vec<(ThingName, Heard)> {
        let job = self.jobs.get(id).into_iter();
        job.flat_map(|job| {
            job.executions.iter().map(|(thing, (number, status, at))| {
                let report = Report::new(*status, *number, *at, "");
                (thing.clone(), Heard::Report(job.wave, report))
            })
        })
        .collect()
    }

    pub(super) fn cancel(&mut self, id: &str, force: bool, now: Moment) {
        let Some(job) = self.jobs.get_mut(id) else {
            return;
        };
        if job.standing != Standing::Open {
            return;
        }
        job.standing = Standing::Canceled;
        for (thing, (number, status, at)) in &mut job.executions {
            if *status == Status::Queued || force && *status == Status::InProgress {
                (*status, *at) = (Status::Canceled, now);
                let report = Report::new(*status, *number, now, "");
                self.news
                    .push((thing.clone(), Heard::Report(job.wave, report)));
            }
        }
    }

    /// Whether some device is at a job.
    pub(super) fn has_begun(&self) -> bool {
        let all = self.jobs.values().flat_map(|job| job.executions.values());
        let mut all = all.map(|(_, status, _)| *status);
        all.any(|status| status == Status::InProgress)
    }

    /// Cancels what has begun of a job that is over.
    pub(super) fn cancel_begun(&mut self, id: &str, now: Moment) {
        let job = self.jobs.get_mut(id).into_iter();
        for (thing, (number, status, at)) in job.flat_map(|job| &mut job.executions) {
            if *status == Status::InProgress {
                (*status, *at) = (Status::Canceled, now);
                let wave = RolloutId::wave_of(id).unwrap().1;
                let report = Report::new(*status, *number, now, "");
                self.news.push((thing.clone(), Heard::Report(wave, report)));
            }
        }
    }

    /// What AWS says of one execution of a job.
    pub(super) fn report(&self, id: &str, thing: &ThingName) -> Option<Report> {
        let (number, status, at) = self.jobs.get(id)?.executions.get(thing)?;
        Some(Report::new(*status, *number, *at, ""))
    }

    /// When AWS or a device does something next.
    pub(super) fn next_time(&self) -> Option<Moment> {
        let ticks = self.jobs.values().filter(|job| job.telling());
        let ticks = ticks.map(|job| job.next_tick);
        ticks.chain(self.agenda.first().map(|(at, _)| *at)).min()
    }

    /// Tells as many as the rate allows, all at once, as badly as it may.
    pub(super) fn tell(&mut self, spec: &Spec, now: Moment, chance: &mut Chance) {
        let due: Vec<String> = self
            .jobs
            .iter()
            .filter(|(_, job)| job.telling() && job.next_tick <= now)
            .map(|(id, _)| id.clone())
            .collect();
        for id in due {
            let job = &self.jobs[&id];
            let until = (job.told + job.per_minute).min(job.targets.len());
            let (wave, things) = (job.wave, job.targets[job.told..until].to_vec());
            for thing in things {
                if self.deleted.contains(&thing) {
                    continue;
                }
                self.check_turn(&thing, spec);
                self.told.push((now, wave, thing.clone()));
                self.queue(&id, thing, 1, now, chance);
            }
            let job = self.jobs.get_mut(&id).unwrap();
            job.told = until;
            job.next_tick = now.plus_millis(MINUTE);
            self.complete(&id);
        }
    }

    fn check_turn(&mut self, thing: &ThingName, spec: &Spec) {
        if self.jobs.values().any(|job| job.live(thing)) {
            self.broken = Some("a device has two jobs at once");
        }
        let succeeded = self.jobs.values().any(|job| {
            let status = job.executions.get(thing).map(|(_, status, _)| *status);
            status == Some(Status::Succeeded)
        });
        let runs = self.shadows.get(thing).is_some_and(|(_, runs)| *runs);
        if succeeded && (spec.confirms.is_none() || runs) {
            self.broken = Some("a device that succeeded gets another job");
        }
    }

    fn queue(&mut self, id: &str, thing: ThingName, number: u64, now: Moment, chance: &mut Chance) {
        let job = self.jobs.get_mut(id).unwrap();
        job.executions
            .insert(thing.clone(), (number, Status::Queued, now));
        if self.manners[&thing] != Manner::Dead {
            let at = now.plus_millis(chance.below(10 * MINUTE));
            self.agenda
                .insert((at, Act::Begin(id.to_owned(), thing, number)));
        }
    }

    pub(super) fn begin(
        &mut self,
        id: String,
        thing: ThingName,
        number: u64,
        spec: &Spec,
        now: Moment,
        chance: &mut Chance,
    ) {
        if !self.change(&id, &thing, number, Status::InProgress, now) {
            return;
        }
        let earlier = self
            .jobs
            .values()
            .filter(|job| job.executions.contains_key(&thing));
        let first = earlier.count() == 1 && number == 1;
        let status = match self.manners[&thing] {
            Manner::Fails | Manner::FallsBack => Status::Failed,
            Manner::FailsOnce if first => Status::Failed,
            Manner::Rejects => Status::Rejected,
            Manner::Stalls => Status::TimedOut,
            _ => Status::Succeeded,
        };
        let minutes = u64::from(spec.in_progress_minutes.get());
        let after = match status {
            Status::TimedOut => minutes * MINUTE,
            _ => chance.below(minutes * MINUTE),
        };
        let ends = now.plus_millis(after);
        if self.manners[&thing] == Manner::FallsBack {
            let back = now.plus_millis(chance.below(after));
            self.agenda.insert((now, Act::Shadow(thing.clone(), true)));
            self.agenda
                .insert((back, Act::Shadow(thing.clone(), false)));
        }
        self.agenda
            .insert((ends, Act::End(id, thing, number, status)));
    }

    pub(super) fn end(
        &mut self,
        (id, thing, number): (&str, ThingName, u64),
        status: Status,
        spec: &Spec,
        now: Moment,
        chance: &mut Chance,
    ) {
        if !self.change(id, &thing, number, status, now) {
            return;
        }
        if status == Status::Succeeded && self.manners[&thing] != Manner::Pretends {
            let at = now.plus_millis(chance.below(5 * MINUTE));
            self.agenda.insert((at, Act::Shadow(thing.clone(), true)));
        }
        let again = matches!(status, Status::Failed | Status::TimedOut)
            && number <= u64::from(spec.retries.get())
            && self.jobs[id].standing == Standing::Open;
        if again {
            self.queue(id, thing, number + 1, now, chance);
        }
        self.complete(id);
    }

    fn change(
        &mut self,
        id: &str,
        thing: &ThingName,
        number: u64,
        to: Status,
        now: Moment,
    ) -> bool {
        let Some(job) = self.jobs.get_mut(id) else {
            return false;
        };
        match job.executions.get_mut(thing) {
            Some((current, status, at)) if *current == number && !status.ended() => {
                (*status, *at) = (to, now);
                let report = Report::new(to, number, now, "E1");
                self.news
                    .push((thing.clone(), Heard::Report(job.wave, report)));
                true
            }
            _ => false,
        }
    }

    /// A job whose executions have all ended is COMPLETED.
    fn complete(&mut self, id: &str) {
        let job = self.jobs.get_mut(id).unwrap();
        let open = job
            .executions
            .values()
            .any(|(_, status, _)| !status.ended());
        if job.standing == Standing::Open && !job.telling() && !open {
            job.standing = Standing::Completed;
        }
    }

    pub(super) fn delete(&mut self, thing: &ThingName, now: Moment) {
        self.deleted.insert(thing.clone());
        for members in self.groups.values_mut() {
            members.remove(thing);
        }
        let ids: Vec<_> = self.jobs.keys().cloned().collect();
        for id in ids {
            let number = self.jobs[&id]
                .executions
                .get(thing)
                .map(|(number, ..)| *number);
            if let Some(number) = number {
                self.change(&id, thing, number, Status::Removed, now);
            }
            self.complete(&id);
        }
        self.news.push((thing.clone(), Heard::Gone));
    }
}
