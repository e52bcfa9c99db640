//! Every interleaving of a rotation, to a stated depth.
//!
//! The row's transitions, the works' effects and the device's wallet are the
//! code that the function and the device run; what stands here is the world
//! around them: AWS, a network that loses, repeats and reorders, a worker that
//! dies between any two calls, a device that loses power, an operator who
//! brings it a key that was made here, and a clock.

mod device;
mod explore;
mod invariants;
mod kept;
mod service;

use std::collections::BTreeSet;

use kept::Kept;

use super::wallet::{Act, Pair, Tried, Wallet};
use super::{Effect, Message, Messenger, New, Next, Phase, Reply, Rotation, Windows, Work};
use crate::create::Mint;
use crate::csr::Csr;
use crate::custody;
use crate::device::Custody;
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
/// Invariant 3, for jobs.
const JOB_LEFT: &str = "3: a job is left over";

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
    /// A rotation that comes to nothing leaves the job alone that carried its
    /// word.
    LeaveJob,
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
    work: Kept<Work>,
    done: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: Moment,
    certificates: [Certificate; KEYS],
    /// Which key lies in each key object.
    objects: [Option<usize>; 1 + ROTATIONS as usize],
    /// Whether a rotation's job is there.
    jobs: [bool; ROTATIONS as usize],
    row: Option<Kept<Rotation>>,
    worker: Option<Worker>,
    wallet: Kept<Wallet>,
    /// The certificate the device is connected with.
    connection: Option<usize>,
    /// Connected with the staged pair, which is not promoted yet.
    trying: bool,
    keys_made: usize,
    started: u8,
    up: Kept<BTreeSet<Up>>,
    down: Kept<BTreeSet<Down>>,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Start(Custody, Messenger),
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
    /// The same, and a job carries the word.
    Job,
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
            jobs: [false; ROTATIONS as usize],
            row: None,
            worker: None,
            wallet: Kept::new(Wallet::new(self.names.pair(0))),
            connection: Some(0),
            trying: false,
            keys_made: 1,
            started: 0,
            up: Kept::new(BTreeSet::new()),
            down: Kept::new(BTreeSet::new()),
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
            if !matches!(self.ways, Ways::HandOut | Ways::Job) {
                actions.push(Start(Custody::Device, Messenger::Mqtt));
            }
            if matches!(self.ways, Ways::Job | Ways::All) {
                actions.push(Start(Custody::Device, Messenger::Job));
            }
            if matches!(self.ways, Ways::HandOut | Ways::All) {
                actions.push(Start(Custody::Vault, Messenger::Mqtt));
            }
        }
        if open && !matches!(self.ways, Ways::Request | Ways::Job) {
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
            Action::Start(custody, by) => self.start(&mut world, custody, by),
            Action::ByHandOut => {
                let row = world.row.take()?.own().hand_out(world.now).ok()?;
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
                world.wallet.change(|wallet| wallet.staged = None);
                Self::disconnect(&mut world);
            }
            Action::Kick | Action::PowerLoss => Self::disconnect(&mut world),
        }
        (world != *before).then_some(world)
    }
}

fn thing() -> ThingName {
    ThingName::parse("l").unwrap()
}

/// Counters that only tell writes and attempts apart would make every state a
/// new one.
fn normal(mut row: Rotation) -> Kept<Rotation> {
    row.version = 0;
    row.attempt = 0;
    row.started_at = Moment(0);
    Kept::new(row)
}
