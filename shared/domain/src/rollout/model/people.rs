//! What people do to a rollout, and to its devices and jobs in AWS.

use super::cloud::Act;
use super::{MINUTE, World, reported, thing};
use crate::rollout::spec::Spec;
use crate::rollout::wave::Cursor;
use crate::rollout::{Command, Next, Standing};
use crate::time::Moment;

impl World {
    /// What happens from outside.
    pub(super) fn trouble(&mut self, targets: usize) {
        let leave = self.chance.of(&[0, 0, 10, 100]);
        for n in 0..targets {
            if self.chance.percent(leave) {
                let at = Moment(self.chance.below(100) * MINUTE);
                self.cloud.agenda.insert((at, Act::Leave(thing(n))));
            }
        }
        for n in 0..5 {
            let at = Moment(self.chance.below(1500) * MINUTE);
            let any = thing(usize::try_from(self.chance.below(targets as u64 + 1)).unwrap());
            match self.chance.below(10) {
                0 => self.cloud.agenda.insert((at, Act::Delete(any))),
                1 => self.cloud.agenda.insert((at, Act::CancelByHand)),
                2 => self.cloud.agenda.insert((at, Act::RemoveGroupByHand)),
                7 => self.cloud.agenda.insert((at, Act::DeleteJobByHand)),
                3 | 4 => self.cloud.agenda.insert((at, Act::Operator(n))),
                5 | 6 => (0..2).all(|k| {
                    let joins = Act::Join(thing(targets + 2 * n as usize + k));
                    self.cloud.agenda.insert((at, joins))
                }),
                _ => true,
            };
        }
    }

    pub(super) fn act(&mut self, act: Act, spec: &Spec) {
        let (now, chance) = (self.now, &mut self.chance);
        match act {
            Act::Begin(id, thing, number) => self.cloud.begin(id, thing, number, spec, now, chance),
            Act::End(id, thing, number, status) => {
                self.cloud
                    .end((&id, thing, number), status, spec, now, chance);
            }
            Act::Shadow(thing, runs) => {
                let shadow = self.cloud.shadows.entry(thing.clone()).or_default();
                *shadow = (shadow.0 + 1, runs);
                let heard = reported(*shadow);
                self.cloud.news.push((thing, heard));
            }
            Act::Delete(thing) => self.cloud.delete(&thing, now),
            Act::Join(_) if spec.late_joiners.is_none() => {}
            Act::Join(thing) => {
                let key = Cursor(format!("L{:012}{thing}", now.0));
                self.list.push((key, thing, Some(now)));
            }
            Act::Leave(thing) => {
                self.cloud.left.insert(thing);
            }
            Act::CancelByHand => {
                let open = self
                    .cloud
                    .jobs
                    .iter()
                    .find(|(_, job)| job.standing == Standing::Open);
                if let Some(id) = open.map(|(id, _)| id.clone()) {
                    self.cloud.cancel(&id, true, now);
                }
            }
            Act::DeleteJobByHand => {
                let mut jobs = self.cloud.jobs.keys().cloned();
                if let Some(id) = jobs.nth(usize::try_from(self.chance.below(3)).unwrap()) {
                    self.cloud.jobs.remove(&id);
                }
            }
            Act::RemoveGroupByHand => self.cloud.groups.clear(),
            Act::Operator(n) => {
                let running = self.chance.percent(50);
                let commands = [
                    Command::Pause,
                    Command::Pause,
                    Command::Stop { running },
                    Command::Retry,
                ];
                let _ = self.told(commands[n as usize % 4]);
                self.rollout.version += 1;
            }
        }
    }

    /// Whether somebody looks after it, and did something.
    pub(super) fn operate(&mut self) -> bool {
        if !self.helpful || !matches!(self.rollout.next(self.now), Next::AwaitOperator(_)) {
            return false;
        }
        let command = if self.rollout.awaits_approval() && self.rollout.paused.is_none() {
            Command::Approve(self.rollout.waves + 1)
        } else {
            Command::Resume
        };
        let at = self.now.plus_millis(self.chance.below(30 * MINUTE));
        self.pass(at);
        self.told(command).is_ok()
    }
}
