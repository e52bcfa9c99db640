//! Every interleaving of a rotation, to a stated depth.
//!
//! The row's transitions, the works' effects and the device's wallet are the
//! code that the function and the device run; what stands here is the world
//! around them: AWS, a network that loses, repeats and reorders, a worker that
//! dies between any two calls, a device that loses power, an operator who
//! brings it a key that was made here, and a clock.

use std::collections::BTreeSet;
use std::hash::BuildHasher;

use super::wallet::{Act, Pair, Tried, Wallet};
use super::{Effect, Message, New, Next, Phase, Reply, Rotation, Windows, Work};
use crate::create::Mint;
use crate::csr::Csr;
use crate::custody;
use crate::device::{Custody, Issuer};
use crate::names::{CertificateId, OperationId, ThingName};
use crate::time::Moment;

const KEYS: usize = 4;
const ROTATIONS: u8 = 2;
const LEASE: u64 = 1;
const WINDOWS: Windows = Windows {
    request_millis: 10,
    proof_millis: 10,
    grace_millis: 5,
};

/// Invariant 2, as the service keeps it and as the device feels it.
const NOT_IN_FORCE: &str = "2: the certificate last proved is not in force";
const LOCKED_OUT: &str = "2: the device is locked out";
/// A rotation by hand-out that waits for its proof has the key to hand out, and
/// the old certificate's key stays as long as that is the one proved.
const KEY_GONE: &str = "2: a key is purged before another one is proved";
/// Invariant 3, for key objects.
const KEY_LEFT: &str = "3: a key object is left over";

/// What is written into the code to see that the checker finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    None,
    /// The service takes a connection for a proof.
    RetireOnConnect,
    /// The deadline is judged without regard to a proof that has come.
    WithdrawThoughProved,
    /// The device throws its old pair away when it promotes the new one.
    ForgetFallback,
    /// The old certificate goes before the new one is attached.
    RetireFirst,
    /// A key is purged as soon as its certificate is there to be handed out.
    PurgeUnproved,
    /// The old key goes when the new certificate comes.
    PurgeOldFirst,
    /// A rotation that ends before its key is on record leaves the key alone.
    LeaveKey,
    /// The device takes what is handed out though a proof is outstanding.
    TakeAnyHandOut,
}

/// Names for keys, certificates and rotations, so that states stay small.
struct Names {
    csrs: Vec<Csr>,
    ids: Vec<CertificateId>,
    rotations: Vec<OperationId>,
    /// Key objects: the creation's, and one of each rotation.
    objects: Vec<String>,
}

impl Names {
    fn new() -> Self {
        let csr = |_| {
            let key = rcgen::KeyPair::generate().unwrap();
            let params = rcgen::CertificateParams::new(vec!["l".to_owned()]).unwrap();
            Csr::parse(&params.serialize_request(&key).unwrap().pem().unwrap()).unwrap()
        };
        let operation = |n| OperationId::from_random([n; 16]);
        let creation = std::iter::once(operation(u8::MAX));
        Self {
            csrs: (0..KEYS).map(csr).collect(),
            ids: (0..KEYS)
                .map(|n| CertificateId::of_der(&[u8::try_from(n).unwrap()]))
                .collect(),
            rotations: (0..ROTATIONS).map(operation).collect(),
            objects: creation
                .chain((0..ROTATIONS).map(operation))
                .map(|made_by| custody::object(&thing(), &made_by))
                .collect(),
        }
    }

    fn pair(&self, key: usize) -> Pair {
        Pair {
            certificate_id: self.ids[key].clone(),
            public_key: self.csrs[key].public_key().clone(),
        }
    }

    fn id(&self, id: &CertificateId) -> usize {
        self.ids.iter().position(|known| known == id).unwrap()
    }

    fn key(&self, csr: &Csr) -> usize {
        self.csrs.iter().position(|known| known == csr).unwrap()
    }

    fn rotation(&self, id: &OperationId) -> u8 {
        let at = self.rotations.iter().position(|known| known == id);
        u8::try_from(at.unwrap()).unwrap()
    }

    fn object(&self, name: &str) -> usize {
        self.objects.iter().position(|known| known == name).unwrap()
    }

    /// The key of a staged or current pair, by its public key.
    fn key_of(&self, public: &crate::csr::PublicKeyId) -> usize {
        let at = self.csrs.iter().position(|csr| csr.public_key() == public);
        at.unwrap()
    }
}

/// A certificate in AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Certificate {
    exists: bool,
    active: bool,
    attached: bool,
}

impl Certificate {
    fn works(self) -> bool {
        self.exists && self.active && self.attached
    }
}

/// From the device, or of it; a message once sent may arrive at any time, any
/// number of times, or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Up {
    Request(u8, usize, usize),
    Proof(u8, usize),
    Connected(usize),
    Disconnected(usize),
}

/// To the device. What the operator was handed out comes by hand: at any time,
/// connected or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Down {
    HandedOut(u8, usize),
    Renew(u8),
    Accepted(u8, usize),
    Rejected(u8),
    Retired(usize),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Worker {
    work: Work,
    done: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: Moment,
    certificates: [Certificate; KEYS],
    /// Which key lies in each key object.
    objects: [Option<usize>; 1 + ROTATIONS as usize],
    row: Option<Rotation>,
    worker: Option<Worker>,
    wallet: Wallet,
    /// The certificate the device is connected with.
    connection: Option<usize>,
    /// Connected with the staged pair, which is not promoted yet.
    trying: bool,
    keys_made: usize,
    started: u8,
    up: BTreeSet<Up>,
    down: BTreeSet<Down>,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Start(Custody),
    /// An operator would have the open rotation go by a hand-out.
    ByHandOut,
    /// An operator is handed the new pair out.
    HandOut,
    Take,
    Work,
    Crash,
    Tick,
    Receive(Up),
    Hear(Down),
    Connect,
    Promote,
    GiveUp,
    Kick,
    PowerLoss,
}

struct Model {
    names: Names,
    flaw: Flaw,
}

impl Model {
    fn new(flaw: Flaw) -> Self {
        Self {
            names: Names::new(),
            flaw,
        }
    }

    fn initial(&self) -> World {
        let mut certificates = [Certificate::default(); KEYS];
        certificates[0] = Certificate {
            exists: true,
            active: true,
            attached: true,
        };
        let mut objects = [None; 1 + ROTATIONS as usize];
        objects[0] = Some(0);
        World {
            now: Moment(0),
            certificates,
            objects,
            row: None,
            worker: None,
            wallet: Wallet::new(self.names.pair(0)),
            connection: Some(0),
            trying: false,
            keys_made: 1,
            started: 0,
            up: BTreeSet::new(),
            down: BTreeSet::new(),
        }
    }

    fn actions(world: &World) -> Vec<Action> {
        use Action::{
            ByHandOut, Connect, Crash, GiveUp, HandOut, Hear, Kick, PowerLoss, Promote, Receive,
            Start, Take, Tick, Work,
        };
        let open = world.row.as_ref().is_some_and(|row| !row.phase.ended());
        let mut actions = Vec::new();
        if !open && world.worker.is_none() && world.started < ROTATIONS {
            actions.extend([Start(Custody::Device), Start(Custody::Vault)]);
        }
        if open {
            actions.extend([ByHandOut, HandOut]);
        }
        match (&world.worker, open) {
            (Some(_), _) => actions.extend([Work, Crash]),
            (None, true) => actions.push(Take),
            (None, false) => {}
        }
        if open {
            actions.push(Tick);
        }
        if world.row.is_some() {
            actions.extend(world.up.iter().copied().map(Receive));
        }
        match world.connection {
            Some(_) if world.trying => actions.extend([Promote, GiveUp, PowerLoss]),
            Some(_) => {
                actions.extend(world.down.iter().copied().map(Hear));
                actions.push(PowerLoss);
            }
            None => {
                let by_hand = |down: &&Down| matches!(down, Down::HandedOut(..));
                let brought = world.down.iter().filter(by_hand);
                actions.push(Connect);
                actions.extend(brought.copied().map(Hear));
            }
        }
        if world
            .connection
            .is_some_and(|key| !world.certificates[key].works())
        {
            actions.push(Kick);
        }
        actions
    }

    /// The world after an action; nothing if the action changes nothing.
    fn step(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        match action {
            Action::Start(custody) => self.start(&mut world, custody),
            Action::ByHandOut => {
                let row = world.row.take()?.hand_out(world.now).ok()?;
                world.row = Some(normal(row));
            }
            Action::HandOut => self.hand_out(&mut world)?,
            Action::Take => self.take(&mut world)?,
            Action::Work => self.work(&mut world),
            Action::Crash => world.worker = None,
            Action::Tick => self.tick(&mut world)?,
            Action::Receive(message) => self.receive(&mut world, message),
            Action::Hear(message) => self.hear(&mut world, message),
            Action::Connect => self.connect(&mut world),
            Action::Promote => self.promote(&mut world),
            Action::GiveUp => {
                // The device's own storage or application would not have it.
                world.wallet.staged = None;
                Self::disconnect(&mut world);
            }
            Action::Kick | Action::PowerLoss => Self::disconnect(&mut world),
        }
        (world != *before).then_some(world)
    }

    fn start(&self, world: &mut World, custody: Custody) {
        let old = world
            .row
            .as_ref()
            .map_or(&self.names.ids[0], |row| row.proven())
            .clone();
        let id = self.names.rotations[usize::from(world.started)].clone();
        let row = Rotation::start(
            id,
            thing(),
            old,
            Issuer::AwsIot,
            WINDOWS,
            world.row.as_ref(),
            world.now,
        );
        let mut row = row.unwrap();
        let old = Some(self.names.id(&row.old));
        let held = world.objects.iter().position(|key| *key == old);
        row.old_key = held.map(|object| self.names.objects[object].clone());
        row.custody = custody;
        world.row = Some(normal(row));
        world.started += 1;
    }

    /// As often as is asked for: that a key is handed out once is another
    /// matter, and what is brought twice is heard twice.
    fn hand_out(&self, world: &mut World) -> Option<()> {
        let row = world.row.as_ref()?;
        let waits = row.phase == Phase::Issued && row.proven_at.is_none();
        let object = self.names.object(&row.new_key()?);
        let key = world.objects[object].filter(|_| waits)?;
        let rotation = self.names.rotation(&row.rotation_id);
        world.down.insert(Down::HandedOut(rotation, key));
        Some(())
    }

    fn take(&self, world: &mut World) -> Option<()> {
        let row = world.row.clone()?;
        let unknown = row.phase == Phase::Requested && row.wish.is_none();
        let mut row = row.lease(world.now, world.now.plus_millis(LEASE)).ok()?;
        if self.flaw == Flaw::LeaveKey && unknown && row.phase == Phase::Withdrawing {
            row = row.discarded(world.now);
        }
        match row.next() {
            Next::Do(work) => {
                world.row = Some(normal(row));
                world.worker = Some(Worker { work, done: 0 });
            }
            _ => world.row = Some(normal(row.release())),
        }
        Some(())
    }

    /// One effect; after the last one, the row.
    fn work(&self, world: &mut World) {
        let Some(worker) = &mut world.worker else {
            return;
        };
        let stored = |world: &World| {
            let name = world.row.as_ref().and_then(Rotation::new_key);
            name.and_then(|name| world.objects[self.names.object(&name)])
        };
        if let Some(effect) = worker.work.effects().get(worker.done) {
            worker.done += 1;
            self.effect(world, *effect);
            return;
        }
        let work = worker.work.clone();
        world.worker = None;
        let key = stored(world);
        let (row, now) = (world.row.take().unwrap(), world.now);
        let row = match work {
            Work::Tell(_) => row.told(),
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

    fn new_of(csr: &Csr) -> New {
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

    fn effect(&self, world: &mut World, effect: Effect) {
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
            Effect::Prepare => {}
            Effect::StoreKey => {
                let object = new_object.unwrap();
                if world.objects[object].is_none() && world.keys_made < KEYS {
                    world.objects[object] = Some(world.keys_made);
                    world.keys_made += 1;
                }
            }
            Effect::PurgeNew => purge(&mut world.objects, new_object),
            Effect::PurgeOld => purge(&mut world.objects, old_object),
            Effect::Publish(told) => {
                if let Some(reply) = row.saying(told) {
                    world.down.insert(self.down(&reply));
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
    fn tick(&self, world: &mut World) -> Option<()> {
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
            row.phase = Phase::Withdrawing;
        }
        Some(())
    }

    fn receive(&self, world: &mut World, up: Up) {
        let Some(row) = world.row.clone() else {
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
                world.down.extend(received.reply.map(|r| self.down(&r)));
                let mut row = received.rotation;
                if self.flaw == Flaw::RetireOnConnect && row.in_use && row.phase == Phase::Issued {
                    row.proven_at = Some(world.now);
                }
                world.row = Some(normal(row));
            }
            Err(_) => world.down.extend(about.map(Down::Rejected)),
        }
    }

    fn down(&self, reply: &Reply) -> Down {
        match reply {
            Reply::Renew(id, ..) => Down::Renew(self.names.rotation(id)),
            Reply::Accepted(id, new) => {
                Down::Accepted(self.names.rotation(id), self.names.key(&new.csr))
            }
            Reply::Retired(_, id) => Down::Retired(self.names.id(id)),
        }
    }

    fn hear(&self, world: &mut World, down: Down) {
        let rotation = |n: u8| &self.names.rotations[usize::from(n)];
        let mut wallet = world.wallet.clone();
        let mut connected = world.connection.is_some();
        if self.flaw == Flaw::TakeAnyHandOut {
            (wallet.proving, connected) = (None, true);
        }
        let (wallet, act) = match down {
            Down::HandedOut(n, key) => {
                wallet.handed_out(rotation(n), self.names.pair(key), connected)
            }
            Down::Renew(n) => {
                let act = wallet.renew(rotation(n));
                (wallet, act)
            }
            Down::Accepted(n, key) => wallet.accepted(rotation(n), self.names.pair(key)),
            Down::Rejected(n) => wallet.rejected(rotation(n)),
            Down::Retired(key) => (wallet.retired(&self.names.ids[key]), Act::Stay),
        };
        world.wallet = wallet;
        self.act(world, act);
    }

    fn act(&self, world: &mut World, act: Act) {
        match act {
            Act::Stay => {}
            Act::Connect(_) => Self::disconnect(world),
            Act::MakeKey(rotation) => {
                if world.keys_made < KEYS {
                    let public = self.names.csrs[world.keys_made].public_key().clone();
                    world.keys_made += 1;
                    let (wallet, act) = world.wallet.clone().stage(rotation, public);
                    world.wallet = wallet;
                    self.act(world, act);
                }
            }
            Act::Request(rotation) => {
                if let (Some(from), Some(staged)) = (world.connection, &world.wallet.staged) {
                    let key = self.names.key_of(&staged.public_key);
                    let n = self.names.rotation(&rotation);
                    world.up.insert(Up::Request(n, key, from));
                }
            }
            Act::Prove(rotation) => {
                if let Some(from) = world.connection {
                    let n = self.names.rotation(&rotation);
                    world.up.insert(Up::Proof(n, from));
                }
            }
        }
    }

    fn disconnect(world: &mut World) {
        world.trying = false;
        if let Some(key) = world.connection.take() {
            world.up.insert(Up::Disconnected(key));
        }
    }

    /// The pair that the device would connect with.
    fn tried(&self, wallet: &Wallet) -> (Tried, usize) {
        match (wallet.start(), &wallet.staged) {
            (Tried::Staged, Some(staged)) => (Tried::Staged, self.names.key_of(&staged.public_key)),
            _ => (
                Tried::Current,
                self.names.key_of(&wallet.current.public_key),
            ),
        }
    }

    fn connect(&self, world: &mut World) {
        let (tried, key) = self.tried(&world.wallet);
        if world.certificates[key].works() {
            world.connection = Some(key);
            world.up.insert(Up::Connected(key));
            match tried {
                Tried::Staged => world.trying = true,
                Tried::Current => {
                    let (wallet, act) = world.wallet.clone().connected(tried);
                    world.wallet = wallet;
                    self.act(world, act);
                }
            }
        } else {
            world.wallet = world.wallet.clone().refused(tried).0;
        }
    }

    fn promote(&self, world: &mut World) {
        world.trying = false;
        let (mut wallet, act) = world.wallet.clone().connected(Tried::Staged);
        if self.flaw == Flaw::ForgetFallback {
            wallet.fallback = None;
        }
        world.wallet = wallet;
        self.act(world, act);
    }

    /// What must be so in every state.
    fn broken(&self, world: &World) -> Option<&'static str> {
        let working: Vec<usize> = (0..KEYS)
            .filter(|key| world.certificates[*key].works())
            .collect();
        let row = world.row.as_ref();
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
        self.broken_custody(world)
    }

    /// The same of the keys in custody.
    fn broken_custody(&self, world: &World) -> Option<&'static str> {
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
    fn gets_in(&self, world: &World) -> bool {
        let mut wallet = world.wallet.clone();
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

fn thing() -> ThingName {
    ThingName::parse("l").unwrap()
}

/// Counters that only tell writes and attempts apart would make every state a
/// new one.
fn normal(mut row: Rotation) -> Rotation {
    row.version = 0;
    row.attempt = 0;
    row.started_at = Moment(0);
    row
}

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

/// Breadth first, so that what it finds is a shortest way there.
fn explore(model: &Model, from: Vec<World>, depth: usize) -> Explored {
    let hasher = std::hash::RandomState::new();
    let mut found = Explored::default();
    // For each state how it was reached: from which, and by what.
    let mut ways: Vec<(usize, Action)> = vec![(0, Action::Kick)];
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    let mut frontier: Vec<(usize, World)> = from.into_iter().map(|world| (0, world)).collect();
    for _ in 0..depth {
        let mut next = Vec::new();
        for (from, world) in &frontier {
            for action in Model::actions(world) {
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
        let by_hand_out = after.row.as_ref().is_some_and(Rotation::by_hand_out);
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

/// How many steps deep every interleaving of one rotation is looked at. The
/// shortest rotation takes 26.
const DEPTH: usize = 31;
/// And after it how many of the next one.
const NEXT_DEPTH: usize = 14;
/// After how many ends of the first, evenly chosen.
const ENDS: usize = 60;

#[test]
fn no_interleaving_locks_a_device_out() {
    let model = Model::new(Flaw::None);
    let first = explore(&model, vec![model.initial()], DEPTH);
    assert!(first.violation.is_none(), "{:#?}", first.violation);
    first.say("one rotation");
    assert!(first.done > 0 && first.rolled_back > 0 && first.superseded > 0);
    assert!(first.handed_out > 0 && first.handed_out < first.done);

    let every = first.ends.len().div_ceil(ENDS);
    let ends: Vec<_> = first.ends.into_iter().step_by(every).collect();
    assert!(ends.iter().any(|end| phase(end) == Some(Phase::Done)));
    let second = explore(&model, ends, NEXT_DEPTH);
    assert!(second.violation.is_none(), "{:#?}", second.violation);
    second.say("the next one, with the first one's messages about");
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
    ] {
        let model = Model::new(flaw);
        let found = explore(&model, vec![model.initial()], DEPTH);
        let (rule, _) = found
            .violation
            .unwrap_or_else(|| panic!("{flaw:?} is not found"));
        let expected = match flaw {
            Flaw::RetireOnConnect | Flaw::ForgetFallback => LOCKED_OUT,
            Flaw::PurgeUnproved | Flaw::PurgeOldFirst => KEY_GONE,
            Flaw::LeaveKey => KEY_LEFT,
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
    let way = std::iter::once(Start(Custody::Vault))
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
