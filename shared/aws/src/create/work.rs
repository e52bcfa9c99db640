//! What the steps of one creation share while it runs.

use std::sync::{Mutex, MutexGuard};

use lamplighter_domain::Failure;
use lamplighter_domain::create::{CreatePlan, Mint};
use lamplighter_domain::csr::Csr;
use lamplighter_domain::operation::Operation;

use crate::issuer::Minted;
use crate::vault::FreshKey;

/// One run of a plan.
pub(super) struct Work<'a> {
    pub(super) plan: &'a CreatePlan,
    pub(super) operation: &'a Operation,
    pub(super) key: Option<FreshKey>,
    pub(super) sealed: Vec<u8>,
    mint: Mutex<Option<Mint>>,
    minted: Mutex<Option<Minted>>,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        plan: &'a CreatePlan,
        operation: &'a Operation,
        key: Option<FreshKey>,
        sealed: Vec<u8>,
        mint: Option<Mint>,
    ) -> Self {
        Self {
            plan,
            operation,
            key,
            sealed,
            mint: Mutex::new(mint),
            minted: Mutex::default(),
        }
    }

    /// What is prepared or recorded for the key of a signing request.
    pub(super) fn mint_of(&self, csr: &Csr) -> Result<Option<Mint>, Failure> {
        let mint = open(&self.mint)?;
        Ok(mint
            .as_ref()
            .filter(|mint| mint.public_key == *csr.public_key())
            .cloned())
    }

    pub(super) fn set_mint(&self, mint: Mint) -> Result<(), Failure> {
        *open(&self.mint)? = Some(mint);
        Ok(())
    }

    /// Whether an earlier delivery had recorded a mint for this key, and so may
    /// have made its certificate.
    pub(super) fn repeats(&self, csr: &Csr) -> bool {
        let recorded = self.operation.mint.as_ref();
        recorded.is_some_and(|mint| mint.public_key == *csr.public_key())
    }

    pub(super) fn set_minted(&self, minted: Minted) -> Result<(), Failure> {
        *open(&self.minted)? = Some(minted);
        Ok(())
    }

    pub(super) fn minted(&self) -> Result<Minted, Failure> {
        let minted = open(&self.minted)?;
        minted
            .clone()
            .ok_or_else(|| Failure::bug("attaching before minting"))
    }
}

/// The signing request that counts as long as no other key is stored.
pub(super) fn csr<'a>(plan: &'a CreatePlan, key: Option<&'a FreshKey>) -> Result<&'a Csr, Failure> {
    plan.request
        .csr
        .as_ref()
        .or(key.map(|key| &key.csr))
        .ok_or_else(|| Failure::bug("neither a signing request nor a key"))
}

fn open<T>(lock: &Mutex<T>) -> Result<MutexGuard<'_, T>, Failure> {
    lock.lock().map_err(|_| Failure::bug("a poisoned lock"))
}
