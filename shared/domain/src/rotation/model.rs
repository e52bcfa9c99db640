//! Every interleaving of a rotation, to a stated depth.
//!
//! The row's transitions, the works' effects and the device's wallet are the
//! code that the function and the device run; what stands here is the world
//! around them: AWS, a network that loses, repeats and reorders, a worker that
//! dies between any two calls, a device that loses power, an operator who
//! brings it a key that was made here, and a clock.

mod explore;

use std::collections::BTreeSet;

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

/// How rotations are begun, and go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ways {
    /// By the device's own signing request.
    Request,
    /// By a key that is made here and handed out.
    HandOut,
    /// As the first, and an operator may turn each into the second.
    Turned,
    /// Any.
    All,
}

struct Model {
    names: Names,
    flaw: Flaw,
    ways: Ways,
}

impl Model {
    fn new(flaw: Flaw) -> Self {
        Self {
            names: Names::new(),
            flaw,
            ways: Ways::All,
        }
    }

    fn going(mut self, ways: Ways) -> Self {
        self.ways = ways;
        self
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

    fn actions(&self, world: &World) -> Vec<Action> {
        use Action::{
            ByHandOut, Connect, Crash, GiveUp, HandOut, Hear, Kick, PowerLoss, Promote, Receive,
            Start, Take, Tick, Work,
        };
        let open = world.row.as_ref().is_some_and(|row| !row.phase.ended());
        let mut actions = Vec::new();
        if !open && world.worker.is_none() && world.started < ROTATIONS {
            if self.ways != Ways::HandOut {
                actions.push(Start(Custody::Device));
            }
            if matches!(self.ways, Ways::HandOut | Ways::All) {
                actions.push(Start(Custody::Vault));
            }
        }
        if open && self.ways != Ways::Request {
            actions.push(HandOut);
        }
        if open && matches!(self.ways, Ways::Turned | Ways::All) {
            actions.push(ByHandOut);
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
