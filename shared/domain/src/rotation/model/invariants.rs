//! What must be so in every state of the model.

use super::*;

impl Model {
    /// What must be so in every state.
    pub(super) fn broken(&self, world: &World) -> Option<&'static str> {
        let working: Vec<usize> = (0..KEYS)
            .filter(|key| world.certificates[*key].works())
            .collect();
        let row = world.row.as_deref();
        let proved = row.map_or(0, |row| match (row.proven_at, row.new_id()) {
            (Some(_), Some(new)) => self.names.id(new),
            _ => self.names.id(&row.old),
        });
        if !working.contains(&proved) {
            return Some(NOT_IN_FORCE);
        }
        if working.len() > 2 {
            return Some("1: more than two certificates in force");
        }
        if !self.gets_in(world) {
            return Some(LOCKED_OUT);
        }
        let ended = row.is_none_or(|row| row.phase.ended());
        let existing = world.certificates.iter().filter(|c| c.exists).count();
        if ended && world.worker.is_none() && existing != 1 {
            return Some("3: a certificate is left over");
        }
        if ended && world.worker.is_none() && world.jobs.contains(&true) {
            return Some(JOB_LEFT);
        }
        self.broken_custody(world)
    }

    /// The same of the keys in custody.
    pub(super) fn broken_custody(&self, world: &World) -> Option<&'static str> {
        let row = world.row.as_ref()?;
        let is_there = |name: &String| world.objects[self.names.object(name)].is_some();
        let unproved = row.proven_at.is_none();
        if unproved && !row.old_key.as_ref().is_none_or(is_there) {
            return Some(KEY_GONE);
        }
        let offered = row.new_key().filter(|_| row.phase == Phase::Issued);
        if unproved && !offered.as_ref().is_none_or(is_there) {
            return Some(KEY_GONE);
        }
        let left = match row.phase {
            Phase::Done => 0,
            Phase::RolledBack => usize::from(row.old_key.is_some()),
            _ => return None,
        };
        let objects = world.objects.iter().flatten().count();
        (world.worker.is_none() && objects != left).then_some(KEY_LEFT)
    }

    /// Whether the device, left alone with AWS as it is, finds a way in.
    pub(super) fn gets_in(&self, world: &World) -> bool {
        let mut wallet = world.wallet.own();
        for _ in 0..4 {
            let (tried, key) = self.tried(&wallet);
            if world.certificates[key].works() {
                return true;
            }
            wallet = wallet.refused(tried).0;
        }
        false
    }
}
