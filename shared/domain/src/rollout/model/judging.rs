//! No wave begins after one whose failures nobody was told of, and none that
//! nobody has approved.

use std::collections::{BTreeMap, BTreeSet};

use super::{Tally, World};
use crate::rollout::wave::{End, Made};
use crate::rollout::{Phase, Reason, Rollout};

/// What is known of waves beside the row.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// How many each wave with a job had.
    sizes: BTreeMap<u32, u64>,
    /// Those whose fault somebody was told of.
    told: BTreeSet<u32>,
    /// Up to which waves are over that need another approval after them.
    over: u32,
    /// Which wave somebody approved.
    pub(super) approved: u32,
    /// What is broken.
    pub(super) broken: Option<&'static str>,
}

impl World {
    /// The counts by which it is settled.
    pub(super) fn tally(&self) -> Tally {
        let wave = self.rollout.counted();
        wave.and_then(|n| self.tallies.get(&n))
            .copied()
            .unwrap_or_default()
    }

    /// Watches a change of the row.
    pub(super) fn watch_waves(&mut self, row: &Rollout) {
        if let Some(Reason::Wave(wave, _)) = row.paused {
            self.judged.told.insert(wave);
        }
        if let Some(wave) = &row.wave
            && wave.job != Made::No
            && wave.end != Some(End::Refused)
        {
            self.judged.sizes.insert(wave.number, wave.taken);
        }
        let old = self.rollout.wave.as_ref();
        if let Some(wave) = old.filter(|_| row.wave.is_none()) {
            let ended = matches!(
                wave.end,
                Some(End::Complete | End::Deadline | End::TooManyFailed | End::Stopped)
            );
            if ended {
                self.judged.over = wave.number;
            }
        }
        let stops = row.phase == Phase::Stopped && self.rollout.phase != Phase::Stopped;
        if stops && row.force && self.cloud.has_begun() {
            self.judged.broken = Some("what had begun goes on");
        }
        if row.phase == Phase::Filling && self.rollout.phase != Phase::Filling {
            self.begins(row);
        }
    }

    /// A retry is somebody's decision, whatever came before.
    pub(super) fn forgive(&mut self) {
        let all = self.judged.sizes.keys().copied();
        self.judged.told.extend(all);
    }

    fn begins(&mut self, row: &Rollout) {
        let unapproved = self.judged.over > 0 && self.judged.approved <= self.judged.over;
        if row.spec.approval && unapproved {
            self.judged.broken = Some("nobody approved a wave");
        }
        let Some((wave, size)) = self.judged.sizes.last_key_value() else {
            return;
        };
        let tally = self.tallies.get(wave).copied().unwrap_or_default();
        if tally.too_many_failed(*size, &row.spec) && !self.judged.told.contains(wave) {
            self.judged.broken = Some("nobody judged who failed late");
        }
    }
}
