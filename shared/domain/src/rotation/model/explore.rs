//! The exploration: every action in every state, breadth first.

use std::hash::BuildHasher;

use super::{
    Action, Down, Flaw, JOB_LEFT, KEY_GONE, KEY_LEFT, LOCKED_OUT, Messenger, Model, NOT_IN_FORCE,
    Phase, Ways, World,
};
use crate::device::Custody;

/// What an exploration has come to.
#[derive(Default)]
struct Explored {
    states: usize,
    done: usize,
    rolled_back: usize,
    superseded: usize,
    handed_out: usize,
    violation: Option<(&'static str, Vec<Action>)>,
    /// States in which a rotation has just ended.
    ends: Vec<World>,
}

#[expect(
    clippy::disallowed_types,
    reason = "nobody sees its order, and a set in order takes most of the time"
)]
type Seen = std::collections::HashSet<u64>;

/// Breadth first, so that what it finds is a shortest way there.
fn explore(model: &Model, from: Vec<World>, depth: usize) -> Explored {
    let hasher = std::hash::RandomState::new();
    let mut found = Explored::default();
    // For each state how it was reached: from which, and by what.
    let mut ways: Vec<(usize, Action)> = vec![(0, Action::Kick)];
    let mut seen = Seen::new();
    let mut frontier: Vec<(usize, World)> = from.into_iter().map(|world| (0, world)).collect();
    for _ in 0..depth {
        let mut next = Vec::new();
        for (from, world) in &frontier {
            for action in model.actions(world) {
                let Some(after) = model.step(world, action) else {
                    continue;
                };
                if !seen.insert(hasher.hash_one(&after)) {
                    continue;
                }
                ways.push((*from, action));
                found.count(world, &after);
                if let Some(rule) = model.broken(&after) {
                    found.violation = Some((rule, way(&ways, ways.len() - 1)));
                    return found;
                }
                next.push((ways.len() - 1, after));
            }
        }
        frontier = next;
    }
    found
}

fn way(ways: &[(usize, Action)], mut at: usize) -> Vec<Action> {
    let mut actions = Vec::new();
    while at > 0 {
        actions.push(ways[at].1);
        at = ways[at].0;
    }
    actions.reverse();
    actions
}

fn phase(world: &World) -> Option<Phase> {
    world.row.as_ref().map(|row| row.phase)
}

impl Explored {
    fn count(&mut self, before: &World, after: &World) {
        self.states += 1;
        let done = phase(after) == Some(Phase::Done);
        let by_hand_out = after.row.as_ref().is_some_and(|row| row.by_hand_out());
        self.handed_out += usize::from(done && by_hand_out);
        match phase(after) {
            Some(Phase::Done) => self.done += 1,
            Some(Phase::RolledBack) => self.rolled_back += 1,
            Some(Phase::Superseding) => self.superseded += 1,
            _ => {}
        }
        if phase(after) != phase(before) && phase(after).is_some_and(Phase::ended) {
            self.ends.push(after.clone());
        }
    }

    #[expect(
        clippy::print_stdout,
        clippy::disallowed_macros,
        reason = "how far an exploration went is worth reading"
    )]
    fn say(&self, what: &str) {
        println!(
            "{what}: {} states, {} renewed ({} by a hand-out), {} rolled back, {} with another key",
            self.states, self.done, self.handed_out, self.rolled_back, self.superseded
        );
    }
}

/// How many steps deep every interleaving of a rotation that goes by a request
/// is looked at. The shortest takes 27.
const DEPTH: usize = 32;
/// The same of one that goes by a hand-out; the shortest takes 29.
const HAND_OUT_DEPTH: usize = 33;
/// And of one that is turned to a hand-out. What follows is the second's.
const TURNED_DEPTH: usize = 24;
/// And of one whose word is carried by a job; the shortest takes 31. Its end
/// leaves no job, and so is one of the first's.
const JOB_DEPTH: usize = 32;
/// And after it how many of the next one.
const NEXT_DEPTH: usize = 14;
/// After how many ends of the first, evenly chosen.
const ENDS: usize = 40;

/// Explores one rotation. Answers what it has come to.
fn check(ways: Ways, depth: usize) -> (Model, Explored) {
    let model = Model::new(Flaw::None).going(ways);
    let found = explore(&model, vec![model.initial()], depth);
    assert!(found.violation.is_none(), "{:#?}", found.violation);
    found.say(&format!("{ways:?}, {depth} deep"));
    (model, found)
}

/// Explores the rotation, of any kind, that comes after the one explored, whose
/// messages are still about.
fn check_next(model: Model, first: &Explored) {
    let ways = model.ways;
    let every = first.ends.len().div_ceil(ENDS);
    let ends: Vec<_> = first.ends.iter().step_by(every).cloned().collect();
    let done = ends.iter().any(|end| phase(end) == Some(Phase::Done));
    assert_eq!(done, first.done > 0);
    let second = explore(&model.going(Ways::All), ends, NEXT_DEPTH);
    assert!(second.violation.is_none(), "{:#?}", second.violation);
    second.say(&format!("after {ways:?}, {NEXT_DEPTH} deep"));
}

#[test]
fn no_interleaving_locks_a_device_out() {
    let (model, found) = check(Ways::Request, DEPTH);
    check_next(model, &found);
    assert!(found.done > 0 && found.rolled_back > 0 && found.superseded > 0);
}

#[test]
fn no_interleaving_of_a_hand_out_does_or_leaves_a_key() {
    let (model, found) = check(Ways::HandOut, HAND_OUT_DEPTH);
    check_next(model, &found);
    assert!(found.handed_out > 0 && found.rolled_back > 0);
    assert_eq!((found.done, found.superseded), (found.handed_out, 0));
}

#[test]
fn a_rotation_may_be_turned_to_a_hand_out_at_any_moment() {
    let (model, found) = check(Ways::Turned, TURNED_DEPTH);
    check_next(model, &found);
    assert!(found.rolled_back > 0 && found.superseded > 0);
}

#[test]
fn no_interleaving_leaves_the_job_that_carried_the_word() {
    let (_, found) = check(Ways::Job, JOB_DEPTH);
    assert!(found.done > 0 && found.rolled_back > 0 && found.superseded > 0);
    let without = |end: &World| {
        let row = end.row.as_ref().unwrap();
        row.messenger == Messenger::Mqtt && !end.jobs.contains(&true)
    };
    assert!(found.ends.iter().all(without));
}

#[test]
fn the_checker_finds_what_is_broken() {
    for flaw in [
        Flaw::RetireOnConnect,
        Flaw::WithdrawThoughProved,
        Flaw::ForgetFallback,
        Flaw::RetireFirst,
        Flaw::PurgeUnproved,
        Flaw::PurgeOldFirst,
        Flaw::LeaveKey,
        Flaw::LeaveJob,
    ] {
        let ways = match flaw {
            Flaw::PurgeUnproved | Flaw::LeaveKey => Ways::HandOut,
            Flaw::LeaveJob => Ways::Job,
            _ => Ways::Request,
        };
        let model = Model::new(flaw).going(ways);
        let found = explore(&model, vec![model.initial()], DEPTH);
        let (rule, _) = found
            .violation
            .unwrap_or_else(|| panic!("{flaw:?} is not found"));
        let expected = match flaw {
            Flaw::RetireOnConnect | Flaw::ForgetFallback => LOCKED_OUT,
            Flaw::PurgeUnproved | Flaw::PurgeOldFirst => KEY_GONE,
            Flaw::LeaveKey => KEY_LEFT,
            Flaw::LeaveJob => JOB_LEFT,
            _ => NOT_IN_FORCE,
        };
        assert_eq!(rule, expected, "{flaw:?}");
    }
}

/// A device that has promoted a pair which then came to nothing, and does not
/// know it yet: its fallback is all that it has.
fn unaware(model: &Model) -> World {
    use Action::{Connect, HandOut, Hear, PowerLoss, Promote, Start, Take, Tick, Work};
    let until_it_is_there = [Take, Work, Work, Take, Work, Work, Take, Work, Work, Work];
    let brought = [HandOut, Hear(Down::HandedOut(0, 1)), Connect, Promote];
    let in_vain = [
        PowerLoss, Tick, Take, Work, Work, Work, Work, Take, Work, Work,
    ];
    let way = std::iter::once(Start(Custody::Vault, Messenger::Mqtt))
        .chain(until_it_is_there)
        .chain(brought)
        .chain(in_vain);
    let world = way.fold(model.initial(), |world, action| {
        let after = model.step(&world, action);
        after.unwrap_or_else(|| panic!("{action:?} changes nothing of {world:?}"))
    });
    assert_eq!(phase(&world), Some(Phase::RolledBack));
    assert!(world.wallet.proving.is_some() && world.wallet.fallback.is_some());
    world
}

#[test]
fn what_is_handed_out_pushes_no_pair_out_that_is_in_force() {
    const DEPTH: usize = 22;
    for (flaw, expected) in [(Flaw::None, None), (Flaw::TakeAnyHandOut, Some(LOCKED_OUT))] {
        let model = Model::new(flaw);
        let found = explore(&model, vec![unaware(&model)], DEPTH);
        found.say("after one that came to nothing");
        let rule = found.violation.map(|(rule, _)| rule);
        assert_eq!(rule, expected, "{flaw:?}");
    }
}
