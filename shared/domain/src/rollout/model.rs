//! Rollouts in virtual time, in a world that loses, repeats and delays.
//!
//! The row's transitions and the devices' rows are the code that runs; what
//! stands here is AWS, the devices, a worker that may die between a work and
//! its record, and people who do what they like, or nothing.

mod checks;
mod cloud;
mod devices;
mod judging;
mod people;
mod sleep;
mod trail;

use std::collections::BTreeMap;

use super::execution::{Execution, Heard};
use super::limits::{InProgressMinutes, PerMinute, Percent, Retries, UrlSeconds};
use super::spec::{OnFailure, Rate, Size, Spec, Window};
use super::tally::Tally;
use super::trail::Event;
use super::wave::Cursor;
use super::{Command, JobPlan, Next, Rollout, RolloutId, Work};
use crate::names::ThingName;
use crate::time::Moment;
use cloud::{Cloud, Manner};

const MINUTE: u64 = 60_000;
const PAGE: usize = 7;
const VERSION: &str = "2.4.0";
/// No rollout's row is larger, whatever the fleet.
const MOST_ROW_BYTES: usize = 4096;

/// What is written into the code to see that the checks find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// Every event is counted, a repeated one too.
    CountEvents,
    /// A job begins as soon as the one before has ended.
    NoRest,
    /// A wave takes whom it comes to.
    TakeAnybody,
    /// Nothing has a deadline.
    NoDeadline,
    /// The late are told at the usual rate.
    LateAtOnce,
    /// A wave takes those that have left.
    TakeWhoLeft,
    /// A wave's group stays.
    KeepGroup,
    /// Who waits is woken only for what is to be done at once.
    SleepOn,
    /// Events are stored before the row is, which may then not be.
    TellFirst,
    /// Events are stored after the row, which may be all that is.
    TellLast,
    /// A wave is judged at its end only.
    JudgeOnce,
    /// Whoever resumes it approves the next wave.
    ResumeApproves,
    /// What failed of a job that is over is awaited again.
    AwaitRepeats,
    /// Nobody is asked what became of those that had begun.
    AskNobody,
    /// What has begun in waves before is not cancelled.
    ForceLast,
    /// Who ran the firmware once runs it.
    RunsForEver,
}

/// Numbers that follow from a seed (xorshift64*, S. Vigna).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound.max(1)
    }

    fn percent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }

    fn of<T: Copy>(&mut self, among: &[T]) -> T {
        among[usize::try_from(self.below(among.len() as u64)).unwrap()]
    }
}

struct World {
    flaw: Flaw,
    chance: Chance,
    now: Moment,
    rollout: Rollout,
    /// Key, thing, and when it joined, if it joined later.
    list: Vec<(Cursor, ThingName, Option<Moment>)>,
    rows: BTreeMap<ThingName, Execution>,
    tallies: BTreeMap<u32, Tally>,
    totals: Tally,
    cloud: Cloud,
    late: Vec<(Moment, ThingName, Heard)>,
    lost_percent: u64,
    crash_percent: u64,
    lost_wakes_percent: u64,
    /// It slept although it should have worked.
    overslept: bool,
    /// Who has yet to join while it rests.
    spare: Vec<ThingName>,
    helpful: bool,
    log: Vec<String>,
    trail: Vec<Event>,
    standing: trail::Standing,
    judged: judging::Judged,
}

fn thing(n: usize) -> ThingName {
    ThingName::parse(&format!("light-{n:04}")).unwrap()
}

/// What is heard of a shadow of this version.
fn reported((version, runs): (u64, bool)) -> Heard {
    let firmware = if runs { VERSION } else { "2.3.9" };
    Heard::Firmware(firmware.to_owned(), version)
}

fn spec(chance: &mut Chance) -> Spec {
    let percent = |n| Percent::new("", n).unwrap();
    Spec {
        waves: vec![
            Size::Count(1 + chance.below(5)),
            Size::Percent(percent(10 + chance.below(40))),
        ],
        most_failed: percent(chance.of(&[0, 10, 30, 100])),
        least_succeeded: percent(chance.of(&[0, 50, 90])),
        most_unreached: percent(chance.of(&[20, 100])),
        on_failure: chance.of(&[OnFailure::Pause, OnFailure::Pause, OnFailure::Stop]),
        approval: chance.percent(20),
        deadline_minutes: 60 + chance.below(200),
        duration_minutes: 3000,
        rate: Rate {
            per_minute: PerMinute::new("", 3 + chance.below(30)).unwrap(),
            growing: None,
        },
        in_progress_minutes: InProgressMinutes::new("", 30).unwrap(),
        retries: Retries::new("", chance.of(&[0, 0, 1, 3])).unwrap(),
        url_seconds: UrlSeconds::MOST,
        start_at: chance.percent(20).then_some(Moment(30 * MINUTE)),
        window: chance.percent(20).then_some(Window {
            opens_at: 100,
            minutes: 600,
        }),
        late_joiners: chance.percent(50).then(|| PerMinute::new("", 2).unwrap()),
        thing_type: None,
        confirms: chance.percent(50).then(|| VERSION.to_owned()),
    }
}

impl World {
    fn new(seed: u64, flaw: Flaw) -> Self {
        let mut chance = Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        let spec = spec(&mut chance);
        let fleet = chance.of(&[10, 100, 160, 400]);
        let targets = usize::try_from(chance.below(fleet)).unwrap();
        let mut cloud = Cloud::default();
        let bad = chance.of(&[0, 0, 10, 60]);
        for n in 0..targets + 10 + sleep::SPARE {
            let manner = if chance.percent(bad) {
                use Manner::{Dead, Fails, FailsOnce, FallsBack, Pretends, Rejects, Stalls};
                chance.of(&[
                    Fails, FailsOnce, FailsOnce, Dead, Stalls, Rejects, Pretends, FallsBack,
                ])
            } else {
                Manner::Good
            };
            cloud.manners.insert(thing(n), manner);
        }
        let list = (0..targets).map(|n| (Cursor(format!("A{n:04}")), thing(n), None));
        let mut world = Self {
            flaw,
            now: Moment(0),
            rollout: Rollout::start(RolloutId::from_key(&seed.to_string()), spec, Moment(0)),
            list: list.collect(),
            rows: BTreeMap::new(),
            tallies: BTreeMap::new(),
            totals: Tally::default(),
            late: Vec::new(),
            lost_percent: chance.of(&[0, 0, 30, 100]),
            crash_percent: chance.of(&[0, 10, 30]),
            lost_wakes_percent: chance.of(&[0, 0, 0, 30, 100]),
            overslept: false,
            spare: (0..sleep::SPARE).map(|n| thing(targets + 10 + n)).collect(),
            helpful: chance.percent(70),
            cloud,
            chance,
            log: Vec::new(),
            trail: Vec::new(),
            standing: trail::Standing::default(),
            judged: judging::Judged::default(),
        };
        world.trouble(targets);
        world
    }

    fn joined(&self) -> u64 {
        self.list
            .iter()
            .filter(|(.., joined)| joined.is_some())
            .count() as u64
    }

    /// One step of the worker; the moment until which it waits, if it does.
    fn work(&mut self) -> Option<Moment> {
        if self.flaw == Flaw::JudgeOnce {
            self.rollout.last = None;
        }
        let mut row = self
            .rollout
            .clone()
            .settle(&self.tally(), self.joined(), self.now);
        match self.flaw {
            Flaw::NoRest => row.not_before = Moment(0),
            Flaw::NoDeadline => {
                row.ends_at = Moment(u64::MAX);
                row.wave
                    .iter_mut()
                    .for_each(|wave| wave.deadline = Moment(u64::MAX));
            }
            _ => {}
        }
        self.keep(row.clone());
        let work = match row.next(self.now) {
            Next::Do(work) => work,
            Next::Wait(until) | Next::AwaitOperator(until) => return Some(until),
            Next::Ended => return Some(Moment(u64::MAX)),
        };
        self.now = self.now.plus_millis(self.chance.below(3000));
        let done = self.effect(row, &work);
        if !self.chance.percent(self.crash_percent) {
            self.keep(done);
        } else if self.flaw == Flaw::TellFirst {
            self.tell(&done);
        }
        None
    }

    fn keep(&mut self, mut row: Rollout) {
        row.trail = self.tell(&row);
        self.watch_waves(&row);
        if row.phase != self.rollout.phase {
            let end = row.wave.as_ref().and_then(|wave| wave.end);
            self.log.push(format!(
                "{} {:?} {end:?} {:?}",
                self.now.0 / 1000,
                row.phase,
                row.paused
            ));
        }
        self.rollout = row;
    }

    fn effect(&mut self, row: Rollout, work: &Work) -> Rollout {
        let now = self.now;
        match work {
            Work::List(after) => {
                let planned = self.list.iter().filter(|(_, _, joined)| joined.is_none());
                let rest: Vec<_> = planned
                    .filter(|(key, ..)| Some(key) > after.as_ref())
                    .collect();
                let page = &rest[..rest.len().min(PAGE)];
                let last = page.last().map(|(key, ..)| key.clone());
                row.listed(page.len() as u64, last, rest.len() <= PAGE, now)
            }
            Work::CreateGroup(name) => {
                if self.chance.percent(1) {
                    return row.refused("no more groups");
                }
                self.cloud.groups.entry(name.clone()).or_default();
                row.group_made()
            }
            Work::Take(taking) => {
                let taken = self.take(taking);
                row.took(&taken)
            }
            Work::Intend => row.job_intended(),
            Work::CreateJob(plan) => self.create(row, plan.clone()),
            Work::Describe(id) => row.described(self.cloud.describe(id), &self.tally(), now),
            Work::Recheck(id) => {
                for (thing, heard) in self.cloud.reports(id) {
                    self.hear(&thing, &heard);
                    self.read_shadow(&thing);
                }
                row.rechecked()
            }
            Work::Cancel(id, force) => {
                self.cloud.cancel(id, force.0, now);
                row.canceled()
            }
            Work::CancelBegun(from) => {
                for wave in *from..=row.waves {
                    if self.flaw != Flaw::ForceLast {
                        let id = row.rollout_id.of_wave(wave);
                        self.cloud.cancel_begun(&id, now);
                    }
                }
                let last = row.waves;
                row.forced(last)
            }
            Work::RemoveGroup(name) => {
                if self.flaw != Flaw::KeepGroup {
                    self.cloud.groups.remove(name);
                }
                row.group_removed()
            }
        }
    }

    fn create(&mut self, row: Rollout, mut plan: JobPlan) -> Rollout {
        if self.chance.percent(1) && !self.cloud.jobs.contains_key(&plan.job_id) {
            return row.refused("no such bucket");
        }
        if self.flaw == Flaw::LateAtOnce {
            plan.rate = row.spec.rate;
        }
        let wave = RolloutId::wave_of(&plan.job_id).map(|(_, wave)| wave);
        let things = if let Some(name) = &plan.group {
            let Some(members) = self.cloud.groups.get(name) else {
                return row.refused("the group is gone");
            };
            members.iter().cloned().collect()
        } else {
            let mine = self.rows.values();
            let mine = mine.filter(|row| Some(row.wave) == wave && !row.left);
            mine.map(|row| row.thing_name.clone()).collect()
        };
        self.cloud.create(&plan, things, self.now);
        row.job_made(self.now)
    }

    /// The world goes on until this moment, or until something happens.
    fn pass(&mut self, until: Moment) {
        let next = [
            Some(until),
            self.cloud.next_time(),
            self.late.iter().map(|(at, ..)| *at).min(),
        ];
        let next = next.into_iter().flatten().min().unwrap();
        self.now = self.now.max(next);
        let spec = self.rollout.spec.clone();
        self.cloud.tell(&spec, self.now, &mut self.chance);
        while let Some((at, act)) = self.cloud.agenda.first().cloned() {
            if at > self.now {
                break;
            }
            self.cloud.agenda.pop_first();
            self.act(act, &spec);
        }
        for (thing, heard) in std::mem::take(&mut self.cloud.news) {
            for _ in 0..=self.chance.below(2) {
                if !self.chance.percent(self.lost_percent) {
                    let at = self.now.plus_millis(self.chance.below(10 * MINUTE));
                    self.late.push((at, thing.clone(), heard.clone()));
                }
            }
        }
        let (due, later) = std::mem::take(&mut self.late)
            .into_iter()
            .partition(|(at, ..)| *at <= self.now);
        self.late = later;
        let due: Vec<_> = due;
        for (_, thing, heard) in due {
            self.hear(&thing, &heard);
        }
    }

    /// Runs to the end; what is broken, if anything.
    fn run(&mut self) -> Option<&'static str> {
        let mut retried = false;
        for _ in 0..40_000 {
            if let Some(until) = self.work() {
                if until == Moment(u64::MAX) && self.rollout.phase.ended() && self.quiet() {
                    if retried || !self.chance.percent(50) {
                        return self.broken();
                    }
                    retried = true;
                    self.told(Command::Retry).unwrap();
                    continue;
                }
                if !self.operate() {
                    self.sleep(until);
                }
            } else {
                self.pass(self.now);
            }
            let row = serde_json::to_vec(&self.rollout).unwrap();
            if row.len() > MOST_ROW_BYTES {
                return Some("the row grows");
            }
            let ends = self.rollout.ends_at.plus_millis(30 * MINUTE);
            if !self.rollout.phase.ended() && self.now > ends || self.cloud.broken.is_some() {
                return self.cloud.broken.or(Some("it does not end"));
            }
        }
        Some("it does not end")
    }

    fn quiet(&self) -> bool {
        self.cloud.next_time().is_none() && self.late.is_empty() && self.cloud.news.is_empty()
    }
}
