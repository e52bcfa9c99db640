//! What must be so at a rollout's end, and that it is for many seeds.

use std::collections::BTreeMap;

use super::cloud::Manner;
use super::{Flaw, MINUTE, World};
use crate::names::ThingName;
use crate::rollout::execution::{Class, Delta, Status};
use crate::rollout::limits::PerMinute;
use crate::rollout::tally::Tally;
use crate::rollout::{Phase, Standing};
use crate::time::Moment;

impl World {
    pub(super) fn broken(&self) -> Option<&'static str> {
        if self.cloud.broken.is_some() {
            return self.cloud.broken;
        }
        if self.judged.broken.is_some() {
            return self.judged.broken;
        }
        if self.overslept {
            return Some("it sleeps on");
        }
        if !self.cloud.groups.is_empty() {
            return Some("a group is left over");
        }
        if self
            .cloud
            .jobs
            .values()
            .any(|job| job.standing == Standing::Open)
        {
            return Some("a job is left open");
        }
        if Self::too_fast(&self.cloud.told, self.rollout.spec.rate.per_minute) {
            return Some("the rate is exceeded");
        }
        let late = self.cloud.told.iter().filter(|(.., thing)| {
            self.list
                .iter()
                .any(|(_, other, joined)| joined.is_some() && thing == other)
        });
        let late: Vec<_> = late.cloned().collect();
        // In a retry they are failed devices like the others.
        let rate = self.rollout.spec.late_joiners.unwrap_or(PerMinute::MOST);
        if self.rollout.again.failed_up_to.is_none() && Self::too_fast(&late, rate) {
            return Some("late joiners are told too fast");
        }
        let planned = self.list.iter().filter(|(.., joined)| joined.is_none());
        if self.rollout.phase == Phase::Done
            && planned
                .clone()
                .any(|(_, thing, _)| !self.rows.contains_key(thing))
        {
            return Some("somebody was passed over");
        }
        if let Some(broken) = self.untrue_trail().or(self.untrue_rows()) {
            return Some(broken);
        }
        self.miscounted()
            .then_some("the counts differ from the rows")
    }

    /// What the rows say otherwise than AWS and the devices, where nothing was lost.
    fn untrue_rows(&self) -> Option<&'static str> {
        if self.lost_percent > 0 {
            return None;
        }
        for row in self.rows.values() {
            let job = self
                .cloud
                .jobs
                .get(&self.rollout.rollout_id.of_wave(row.wave));
            let Some((_, status, _)) = job.and_then(|job| job.executions.get(&row.thing_name))
            else {
                continue;
            };
            let class = row.class(&self.rollout.spec);
            if status.ended() && class == Class::InProgress {
                return Some("who has ended is awaited");
            }
            let shadow = self.cloud.shadows.get(&row.thing_name);
            let runs = shadow.is_some_and(|(_, runs)| *runs);
            if *status == Status::Failed && !runs && class == Class::Succeeded {
                return Some("who fell back counts as done");
            }
        }
        None
    }

    fn too_fast(told: &[(Moment, u32, ThingName)], rate: PerMinute) -> bool {
        let window = |(at, ..): &(Moment, u32, ThingName)| {
            let since = at.minus_millis(MINUTE);
            let begun = at.0 < MINUTE;
            told.iter()
                .filter(|(t, ..)| (begun || *t > since) && t <= at)
                .count()
        };
        told.iter().any(|entry| window(entry) > rate.get() as usize)
    }

    fn miscounted(&self) -> bool {
        let spec = &self.rollout.spec;
        let mut counted = Tally::default();
        for row in self.rows.values() {
            counted.add(Delta {
                wave: row.wave,
                from: Class::Queued,
                to: row.class(spec),
            });
        }
        let mut sum = Tally::default();
        for tally in self.tallies.values() {
            sum.in_progress += tally.in_progress;
            sum.unconfirmed += tally.unconfirmed;
            sum.succeeded += tally.succeeded;
            sum.failed += tally.failed;
            sum.timed_out += tally.timed_out;
            sum.rejected += tally.rejected;
            sum.removed += tally.removed;
            sum.canceled += tally.canceled;
            sum.left += tally.left;
        }
        counted != self.totals || counted != sum || self.rows.len() as u64 != self.rollout.taken
    }
}

const SEEDS: u64 = 1000;

#[test]
fn every_rollout_ends_and_keeps_its_rules() {
    let (mut done, mut stopped, mut told, mut late, mut left) = (0, 0, 0, 0, 0);
    let mut ends = BTreeMap::<String, u32>::new();
    let (mut events, mut most) = (0, 0);
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Flaw::None);
        let broken = world.run();
        assert_eq!(
            broken, None,
            "seed {seed}: {:#?} {:#?}",
            world.log, world.rollout
        );
        done += u64::from(world.rollout.phase == Phase::Done);
        stopped += u64::from(world.rollout.phase == Phase::Stopped);
        told += world.cloud.told.len();
        left += world.totals.left;
        events += world.trail.len();
        most = most.max(world.trail.len());
        for line in world.log.iter().filter(|line| line.contains("Closing")) {
            let end = line.split(' ').nth(2).unwrap_or_default();
            *ends.entry(end.to_owned()).or_default() += 1;
        }
        late += world
            .rows
            .keys()
            .filter(|thing| {
                world
                    .list
                    .iter()
                    .any(|(_, other, joined)| joined.is_some() && *thing == other)
            })
            .count();
    }
    say(&format!("waves ended: {ends:?}"));
    say(&format!(
        "{SEEDS} rollouts: {done} done, {stopped} stopped, {told} devices told, {late} of them late, {left} had left"
    ));
    say(&format!("{events} events in their trails, {most} in one"));
    assert!(done > 0 && stopped > 0 && late > 0 && left > 0);
    assert!(ends.len() >= 7, "a kind of end is not met");
}

/// Without trouble and with good devices, everybody gets it.
#[test]
fn all_is_well_that_nothing_disturbs() {
    for seed in 0..200 {
        let mut world = World::new(seed, Flaw::None);
        world.cloud.agenda.clear();
        world
            .cloud
            .manners
            .values_mut()
            .for_each(|manner| *manner = Manner::Good);
        (world.helpful, world.rollout.spec.confirms) = (true, None);
        (world.lost_percent, world.lost_wakes_percent) = (100 * (seed % 2), 0);
        // With every event lost, what is heard is what is read.
        let spec = &mut world.rollout.spec;
        (spec.duration_minutes, spec.late_joiners) = (100_000, None);
        world.rollout.ends_at = Moment(100_000 * MINUTE);
        world.rollout.spec.deadline_minutes = 200;
        assert_eq!(world.run(), None, "seed {seed}");
        assert_eq!(
            world.rollout.phase,
            Phase::Done,
            "seed {seed}: {:#?}",
            world.log
        );
        let succeeded = world.totals.succeeded;
        assert_eq!(
            succeeded,
            world.list.len() as u64,
            "seed {seed}: {:#?}",
            world.log
        );
    }
}

#[test]
fn the_checks_find_what_is_broken() {
    for (flaw, rule) in [
        (Flaw::CountEvents, "the counts differ from the rows"),
        (Flaw::NoRest, "the rate is exceeded"),
        (Flaw::TakeAnybody, "a device has two jobs at once"),
        (Flaw::NoDeadline, "it does not end"),
        (Flaw::LateAtOnce, "late joiners are told too fast"),
        (Flaw::KeepGroup, "a group is left over"),
        (Flaw::TakeWhoLeft, "who had left is taken"),
        (Flaw::SleepOn, "it sleeps on"),
        (Flaw::TellFirst, "the trail tells otherwise"),
        (Flaw::TellLast, "the trail tells otherwise"),
        (Flaw::JudgeOnce, "nobody judged who failed late"),
        (Flaw::ResumeApproves, "nobody approved a wave"),
        (Flaw::AwaitRepeats, "who has ended is awaited"),
        (Flaw::AskNobody, "who has failed is not tried again"),
        (Flaw::ForceLast, "what had begun goes on"),
        (Flaw::RunsForEver, "who fell back counts as done"),
    ] {
        let found = (0..SEEDS).any(|seed| World::new(seed, flaw).run() == Some(rule));
        assert!(found, "{flaw:?} is not found");
    }
}

#[expect(
    clippy::print_stdout,
    clippy::disallowed_macros,
    reason = "how far a simulation went is worth reading"
)]
fn say(what: &str) {
    println!("{what}");
}
