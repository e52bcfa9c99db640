//! The wallet and its files, taken as one: whatever the wallet decides is on
//! the disk before anybody acts on it.

use lamplighter_domain::names::{CertificateId, OperationId, ThingName};
use lamplighter_domain::rotation::wallet::{Act, Pair, Tried, Wallet};

use super::store::{self, Identity, Store};
use crate::failure::Failure;
use crate::keys::KeysDir;

/// A device's keys and certificates.
#[derive(Debug)]
pub(crate) struct Keeper {
    thing: ThingName,
    keys: KeysDir,
    store: Store,
    wallet: Wallet,
}

/// A pair that an operator was handed out, taken into the wallet.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) rotation_id: OperationId,
    pub(super) certificate_id: CertificateId,
    /// What is to be done with it.
    pub(super) act: Act,
}

impl Keeper {
    /// Opens what `lamp device create`, or an earlier run, has left.
    ///
    /// # Errors
    /// When another process runs the device, and when there is no pair.
    pub(crate) fn open(keys: &KeysDir, thing: &ThingName) -> Result<Self, Failure> {
        let (store, wallet) = Store::open(keys, thing)?;
        Ok(Self {
            thing: thing.clone(),
            keys: keys.clone(),
            store,
            wallet,
        })
    }

    /// The wallet, as it is on the disk.
    pub(super) fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// The id of the certificate to connect with.
    pub(super) fn certificate_id(&self, tried: Tried) -> CertificateId {
        self.pair(tried).certificate_id
    }

    /// The key and the certificate to connect with.
    pub(super) fn identity(&self, tried: Tried) -> Result<Identity, Failure> {
        self.store.identity(&self.pair(tried))
    }

    fn pair(&self, tried: Tried) -> Pair {
        match (tried, &self.wallet.staged) {
            (Tried::Staged, Some(staged)) => Pair {
                certificate_id: match &staged.certificate_id {
                    Some(id) => id.clone(),
                    None => return self.wallet.current.clone(),
                },
                public_key: staged.public_key.clone(),
            },
            _ => self.wallet.current.clone(),
        }
    }

    /// The signing request for the key that is staged.
    pub(super) fn signing_request(&self) -> Result<Option<String>, Failure> {
        let staged = self.wallet.staged.as_ref();
        staged
            .map(|staged| self.store.signing_request(&staged.public_key))
            .transpose()
    }

    /// `renew` came.
    pub(super) fn renew(&mut self, rotation: &OperationId) -> Result<Act, Failure> {
        match self.wallet.renew(rotation) {
            Act::MakeKey(rotation) => self.make_key(rotation),
            act => Ok(act),
        }
    }

    /// Makes a key for a rotation, in place of one that is staged.
    pub(super) fn make_key(&mut self, rotation: OperationId) -> Result<Act, Failure> {
        let public_key = self.store.make_key(&self.thing)?;
        self.keep(self.wallet.clone().stage(rotation, public_key))
    }

    /// Takes the pair that lies beside, if there is one and the wallet has room
    /// for it. Its file goes once the wallet names the pair: a loss of power in
    /// between leaves it to be taken again.
    ///
    /// # Errors
    /// When it is no pair, or the disk fails.
    pub(super) fn take_renewed(&mut self, connected: bool) -> Result<Option<Taken>, Failure> {
        let Some(renewed) = self.keys.renewed(&self.thing)? else {
            return Ok(None);
        };
        let pair = store::pair_of(&renewed)?;
        let certificate_id = pair.certificate_id.clone();
        let (wallet, act) =
            self.wallet
                .clone()
                .handed_out(&renewed.rotation_id, pair.clone(), connected);
        let taken = match act {
            Act::Connect(Tried::Staged) => {
                self.store.keep_renewed(&self.thing, &pair, &renewed)?;
                true
            }
            _ => wallet.current == pair,
        };
        if !taken {
            return Ok(None);
        }
        let act = self.keep((wallet, act))?;
        store::remove_renewed(&self.keys, &self.thing)?;
        Ok(Some(Taken {
            rotation_id: renewed.rotation_id,
            certificate_id,
            act,
        }))
    }

    /// `accepted` came, with a certificate.
    pub(super) fn accepted(
        &mut self,
        rotation: &OperationId,
        pair: Pair,
        pem: &str,
    ) -> Result<Act, Failure> {
        let certificate_id = pair.certificate_id.clone();
        let (wallet, act) = self.wallet.clone().accepted(rotation, pair);
        if act == Act::Connect(Tried::Staged) {
            self.store.keep_certificate(&certificate_id, pem)?;
        }
        self.keep((wallet, act))
    }

    /// The broker took the connection.
    pub(super) fn connected(&mut self, tried: Tried) -> Result<Act, Failure> {
        self.keep(self.wallet.clone().connected(tried))
    }

    /// The broker refused the certificate.
    pub(super) fn refused(&mut self, tried: Tried) -> Result<Act, Failure> {
        self.keep(self.wallet.clone().refused(tried))
    }

    /// `rejected` came.
    pub(super) fn rejected(&mut self, rotation: &OperationId) -> Result<Act, Failure> {
        self.keep(self.wallet.clone().rejected(rotation))
    }

    /// `retired` came.
    pub(super) fn retired(&mut self, only: &CertificateId) -> Result<Act, Failure> {
        self.keep((self.wallet.clone().retired(only), Act::Stay))
    }

    fn keep(&mut self, (wallet, act): (Wallet, Act)) -> Result<Act, Failure> {
        if wallet != self.wallet {
            self.store.save(&wallet)?;
            self.wallet = wallet;
        }
        Ok(act)
    }
}

#[cfg(test)]
mod tests;
