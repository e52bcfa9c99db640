//! What the service does in the model: its rows, its workers, its calls.

use super::super::tests::certificate;
use super::*;

impl Model {
    pub(super) fn start(&self, world: &mut World, custody: Custody, messenger: Messenger) {
        let old = world
            .row
            .as_ref()
            .map_or(&self.names.ids[0], |row| row.proven())
            .clone();
        let id = self.names.rotations[usize::from(world.started)].clone();
        let key = self.names.id(&old);
        let held = world.objects.iter().position(|held| *held == Some(key));
        let object = held.map(|object| self.names.objects[object].clone());
        let old = certificate(old, self.names.pair(key).public_key, object);
        let (earlier, now) = (world.row.as_deref(), world.now);
        let row = Rotation::start(id, thing(), &old, WINDOWS, earlier, now);
        let mut row = row.unwrap();
        row.custody = custody;
        row.messenger = messenger;
        world.row = Some(normal(row));
        world.started += 1;
    }

    /// As often as is asked for: that a key is handed out once is another
    /// matter, and what is brought twice is heard twice.
    pub(super) fn hand_out(&self, world: &mut World) -> Option<()> {
        let row = world.row.as_ref()?;
        let waits = row.phase == Phase::Issued && row.proven_at.is_none();
        let object = self.names.object(&row.new_key()?);
        let key = world.objects[object].filter(|_| waits)?;
        let rotation = self.names.rotation(&row.rotation_id);
        world
            .down
            .change(|down| down.insert(Down::HandedOut(rotation, key)));
        Some(())
    }

    pub(super) fn take(&self, world: &mut World) -> Option<()> {
        let row = world.row.as_ref()?.own();
        let unknown = row.phase == Phase::Requested && row.wish.is_none();
        let mut row = row.lease(world.now, world.now.plus_millis(LEASE)).ok()?;
        if self.flaw == Flaw::LeaveKey && unknown && row.phase == Phase::Withdrawing {
            row = row.discarded(world.now);
        }
        if self.flaw == Flaw::LeaveJob && row.phase == Phase::Withdrawing {
            row = row.recalled(world.now);
        }
        match row.next() {
            Next::Do(work) => {
                world.row = Some(normal(row));
                world.worker = Some(Worker {
                    work: Kept::new(work),
                    done: 0,
                });
            }
            _ => world.row = Some(normal(row.release())),
        }
        Some(())
    }

    /// One effect; after the last one, the row.
    pub(super) fn work(&self, world: &mut World) {
        let Some(worker) = &mut world.worker else {
            return;
        };
        let stored = |world: &World| {
            let name = world.row.as_ref().and_then(|row| row.new_key());
            name.and_then(|name| world.objects[self.names.object(&name)])
        };
        if let Some(effect) = worker.work.effects().get(worker.done) {
            worker.done += 1;
            self.effect(world, *effect);
            return;
        }
        let work = worker.work.own();
        world.worker = None;
        let key = stored(world);
        let (row, now) = (world.row.take().unwrap().own(), world.now);
        let row = match work {
            Work::Tell(_) | Work::Post => row.told(),
            Work::Recall => row.recalled(now),
            // There are only so many keys in this world.
            Work::MakeKey => match key {
                Some(key) => row.key_made(self.names.csrs[key].clone()),
                None => row,
            },
            Work::Prepare(csr) => row.prepared(Self::new_of(&csr)),
            Work::Issue(new) => row.issued(self.names.ids[self.names.key(&new.csr)].clone(), now),
            Work::Withdraw(_) => row.withdrawn(now),
            Work::Discard => row.discarded(now),
            Work::Retire(_) => row.retired(now),
            Work::Remove(_) => row.removed(now),
        };
        world.row = Some(normal(row.settle(now).release()));
    }

    pub(super) fn new_of(csr: &Csr) -> New {
        New {
            csr: csr.clone(),
            mint: Mint {
                intended_at: Moment(0),
                public_key: csr.public_key().clone(),
                certificate_id: None,
                certificate_pem: None,
            },
        }
    }

    pub(super) fn effect(&self, world: &mut World, effect: Effect) {
        let row = world.row.clone().unwrap();
        let new = row.new.as_ref().map(|new| self.names.key(&new.csr));
        let old = self.names.id(&row.old);
        let at = |key: Option<usize>| key.unwrap_or(old);
        let object = |name: Option<String>| name.map(|name| self.names.object(&name));
        let (new_object, old_object) = (object(row.new_key()), object(row.old_key.clone()));
        let certificates = &mut world.certificates;
        let purge = |objects: &mut [Option<usize>], object: Option<usize>| {
            if let Some(object) = object {
                objects[object] = None;
            }
        };
        match effect {
            Effect::Prepare | Effect::CancelJob => {}
            Effect::StoreKey => {
                let object = new_object.unwrap();
                if world.objects[object].is_none() && world.keys_made < KEYS {
                    world.objects[object] = Some(world.keys_made);
                    world.keys_made += 1;
                }
            }
            Effect::CreateJob => {
                let rotation = self.names.rotation(&row.rotation_id);
                world.jobs[usize::from(rotation)] = true;
                world.down.change(|down| down.insert(Down::Renew(rotation)));
            }
            Effect::DeleteJob => {
                let rotation = self.names.rotation(&row.rotation_id);
                world.jobs[usize::from(rotation)] = false;
            }
            Effect::PurgeNew => purge(&mut world.objects, new_object),
            Effect::PurgeOld => purge(&mut world.objects, old_object),
            Effect::Publish(told) => {
                if let Some(reply) = row.saying(told) {
                    world.down.change(|down| down.insert(self.down(&reply)));
                }
            }
            Effect::Mint => {
                let fresh = !certificates[at(new)].exists;
                certificates[at(new)].exists = true;
                certificates[at(new)].active |= fresh;
                if self.flaw == Flaw::RetireFirst {
                    certificates[old].attached = false;
                }
            }
            Effect::AttachNew => {
                certificates[at(new)].attached = true;
                match self.flaw {
                    Flaw::PurgeUnproved => purge(&mut world.objects, new_object),
                    Flaw::PurgeOldFirst => purge(&mut world.objects, old_object),
                    _ => {}
                }
            }
            Effect::DetachNew => certificates[at(new)].attached = false,
            Effect::DeactivateNew => certificates[at(new)].active = false,
            Effect::DeleteNew => certificates[at(new)] = Certificate::default(),
            Effect::DetachOld => certificates[old].attached = false,
            Effect::DeactivateOld => certificates[old].active = false,
            Effect::DeleteOld => certificates[old] = Certificate::default(),
        }
    }

    /// To the next moment that means something to the row.
    pub(super) fn tick(&self, world: &mut World) -> Option<()> {
        let row = world.row.as_ref()?;
        let next = [Some(row.lease_until), Some(row.deadline), row.remove_at];
        let now = next.into_iter().flatten().filter(|at| *at > world.now);
        world.now = now.min()?;
        // Lambda has ended the process by then.
        if row.lease_until <= world.now {
            world.worker = None;
        }
        if self.flaw == Flaw::WithdrawThoughProved
            && row.phase == Phase::Issued
            && world.now >= row.deadline
            && let Some(row) = &mut world.row
        {
            row.change(|row| row.phase = Phase::Withdrawing);
        }
        Some(())
    }

    pub(super) fn receive(&self, world: &mut World, up: Up) {
        let Some(row) = world.row.as_ref() else {
            return;
        };
        let rotation = |n: u8| self.names.rotations[usize::from(n)].clone();
        let (message, principal, about) = match up {
            Up::Request(n, key, from) => (
                Message::Request(rotation(n), self.names.csrs[key].clone()),
                from,
                Some(n),
            ),
            Up::Proof(n, from) => (Message::Proof(rotation(n)), from, Some(n)),
            Up::Connected(from) => (Message::Connected(Moment(0)), from, None),
            Up::Disconnected(from) => (Message::Disconnected(Moment(0)), from, None),
        };
        match row.receive(&message, &self.names.ids[principal], world.now) {
            Ok(received) => {
                let reply = received.reply.map(|r| self.down(&r));
                world.down.change(|down| down.extend(reply));
                let mut row = received.rotation;
                if self.flaw == Flaw::RetireOnConnect && row.in_use && row.phase == Phase::Issued {
                    row.proven_at = Some(world.now);
                }
                world.row = Some(normal(row));
            }
            Err(_) => (world.down).change(|down| down.extend(about.map(Down::Rejected))),
        }
    }

    pub(super) fn down(&self, reply: &Reply) -> Down {
        match reply {
            Reply::Renew(id, ..) => Down::Renew(self.names.rotation(id)),
            Reply::Accepted(id, new) => {
                Down::Accepted(self.names.rotation(id), self.names.key(&new.csr))
            }
            Reply::Retired(_, id) => Down::Retired(self.names.id(id)),
        }
    }
}
