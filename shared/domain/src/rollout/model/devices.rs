//! What waves and news do to the rows of devices.

use super::{Flaw, PAGE, VERSION, World, reported};
use crate::names::ThingName;
use crate::rollout::execution::{Again, Class, Delta, Execution, Heard, Take};
use crate::rollout::{Taken, Taking};

impl World {
    pub(super) fn take(&mut self, taking: &Taking) -> Taken {
        let rest: Vec<_> = self
            .list
            .iter()
            .filter(|(key, ..)| Some(key) > taking.after.as_ref())
            .filter(|(.., joined)| joined.is_none_or(|at| at < taking.listed_before))
            .cloned()
            .collect();
        let mut taken = Taken {
            end: true,
            ..Taken::default()
        };
        for (key, thing, joined) in rest {
            if taken.taken >= taking.most || taken.looked_at >= PAGE as u64 {
                taken.end = false;
                break;
            }
            taken.looked_at += 1;
            self.read_shadow(&thing);
            self.ask_about(&thing, taking);
            let take = self.take_one(&thing, taking);
            taken.last = Some(key);
            let mine = match take {
                Take::Not => continue,
                Take::Known => false,
                Take::Mine => true,
                Take::Left(row, deltas) => {
                    self.rows.insert(thing.clone(), row);
                    for delta in deltas {
                        self.count(Some(delta));
                    }
                    false
                }
                Take::New(row, delta) => {
                    if self.cloud.left.contains(&thing) {
                        self.cloud.broken = Some("who had left is taken");
                    }
                    self.rows.insert(thing.clone(), row);
                    self.count(delta);
                    true
                }
            };
            taken.first += u64::from(self.rows[&thing].tries == 1);
            if !mine {
                continue;
            }
            taken.late += u64::from(joined.is_some());
            if let Some(members) = taking
                .group
                .as_ref()
                .and_then(|name| self.cloud.groups.get_mut(name))
            {
                members.insert(thing.clone());
            }
            if self.cloud.deleted.contains(&thing) {
                self.hear(&thing, &Heard::Gone);
            }
            taken.taken += 1;
        }
        taken
    }

    fn take_one(&self, thing: &ThingName, taking: &Taking) -> Take {
        let (wave, spec) = (taking.wave, &self.rollout.spec);
        let take = Execution::take(self.rows.get(thing), thing, wave, &taking.again, spec);
        match take {
            Take::Not if self.flaw == Flaw::TakeAnybody => {
                Execution::take(None, thing, wave, &Again::default(), spec)
            }
            take if self.flaw == Flaw::TakeWhoLeft => take,
            take if self.cloud.left.contains(thing) => take.without(),
            take => take,
        }
    }

    pub(super) fn read_shadow(&mut self, thing: &ThingName) {
        if let Some(shadow) = self.cloud.shadows.get(thing).copied() {
            self.hear(thing, &reported(shadow));
        }
    }

    /// What became of one that had begun, where a retry comes to it.
    fn ask_about(&mut self, thing: &ThingName, taking: &Taking) {
        let Some(row) = self.rows.get(thing) else {
            return;
        };
        let spec = &self.rollout.spec;
        if !row.may_have_ended(taking.wave, &taking.again, spec) {
            return;
        }
        let (wave, id) = (row.wave, self.rollout.rollout_id.of_wave(row.wave));
        let report = self.cloud.report(&id, thing);
        let over = report.as_ref().is_none_or(|seen| seen.status().ended());
        let heard = match report {
            Some(report) => Heard::Report(wave, report),
            None => row.is_not_there(self.now),
        };
        if self.flaw != Flaw::AskNobody {
            self.hear(thing, &heard);
        }
        let class = self.rows[thing].class(&self.rollout.spec);
        if over && class == Class::InProgress {
            self.cloud.broken = Some("who has failed is not tried again");
        }
    }

    pub(super) fn count(&mut self, delta: Option<Delta>) {
        if let Some(delta) = delta {
            self.tallies.entry(delta.wave).or_default().add(delta);
            self.totals.add_in_all(delta);
        }
    }

    pub(super) fn hear(&mut self, thing: &ThingName, heard: &Heard) {
        let Some(row) = self.rows.get(thing) else {
            return;
        };
        let spec = &self.rollout.spec;
        let heard = &match self.flaw {
            Flaw::AwaitRepeats => heard.clone(),
            Flaw::RunsForEver if matches!(heard, Heard::Firmware(firmware, _) if firmware != VERSION) =>
            {
                return;
            }
            _ => self.rollout.as_it_counts(heard.clone()),
        };
        match row.hear(heard, spec) {
            Some((next, delta)) => {
                self.rows.insert(thing.clone(), next);
                self.count(delta);
            }
            None if self.flaw == Flaw::CountEvents && row.class(spec) != Class::Queued => {
                let (wave, to) = (row.wave, row.class(spec));
                let delta = Delta {
                    wave,
                    from: Class::Queued,
                    to,
                };
                self.count(Some(delta));
            }
            None => {}
        }
    }
}
