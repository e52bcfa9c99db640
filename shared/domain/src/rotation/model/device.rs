//! What the device does in the model, and its connection.

use super::*;

impl Model {
    pub(super) fn hear(&self, world: &mut World, down: Down) {
        let rotation = |n: u8| &self.names.rotations[usize::from(n)];
        let mut wallet = world.wallet.own();
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
        world.wallet = Kept::new(wallet);
        self.act(world, act);
    }

    pub(super) fn act(&self, world: &mut World, act: Act) {
        match act {
            Act::Stay => {}
            Act::Connect(_) => Self::disconnect(world),
            Act::MakeKey(rotation) => {
                if world.keys_made < KEYS {
                    let public = self.names.csrs[world.keys_made].public_key().clone();
                    world.keys_made += 1;
                    let (wallet, act) = world.wallet.own().stage(rotation, public);
                    world.wallet = Kept::new(wallet);
                    self.act(world, act);
                }
            }
            Act::Request(rotation) => {
                if let (Some(from), Some(staged)) = (world.connection, &world.wallet.staged) {
                    let key = self.names.key_of(&staged.public_key);
                    let n = self.names.rotation(&rotation);
                    world.up.change(|up| up.insert(Up::Request(n, key, from)));
                }
            }
            Act::Prove(rotation) => {
                if let Some(from) = world.connection {
                    let n = self.names.rotation(&rotation);
                    world.up.change(|up| up.insert(Up::Proof(n, from)));
                }
            }
        }
    }

    pub(super) fn disconnect(world: &mut World) {
        world.trying = false;
        if let Some(key) = world.connection.take() {
            world.up.change(|up| up.insert(Up::Disconnected(key)));
        }
    }

    /// The pair that the device would connect with.
    pub(super) fn tried(&self, wallet: &Wallet) -> (Tried, usize) {
        match (wallet.start(), &wallet.staged) {
            (Tried::Staged, Some(staged)) => (Tried::Staged, self.names.key_of(&staged.public_key)),
            _ => (
                Tried::Current,
                self.names.key_of(&wallet.current.public_key),
            ),
        }
    }

    pub(super) fn connect(&self, world: &mut World) {
        let (tried, key) = self.tried(&world.wallet);
        if world.certificates[key].works() {
            world.connection = Some(key);
            world.up.change(|up| up.insert(Up::Connected(key)));
            match tried {
                Tried::Staged => world.trying = true,
                Tried::Current => {
                    let (wallet, act) = world.wallet.own().connected(tried);
                    world.wallet = Kept::new(wallet);
                    self.act(world, act);
                }
            }
        } else {
            world.wallet = Kept::new(world.wallet.own().refused(tried).0);
        }
    }

    pub(super) fn promote(&self, world: &mut World) {
        world.trying = false;
        let (mut wallet, act) = world.wallet.own().connected(Tried::Staged);
        if self.flaw == Flaw::ForgetFallback {
            wallet.fallback = None;
        }
        world.wallet = Kept::new(wallet);
        self.act(world, act);
    }
}
