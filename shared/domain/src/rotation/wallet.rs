//! What a device keeps during a rotation, and what it does next.
//!
//! A device that follows these rules has, whenever it loses power and whatever
//! is lost on the way, a certificate that works (invariant 2): it adds before
//! it removes, it changes what it uses by one durable step, and it throws its
//! old certificate away only when it is told that the new one is the only one.
//!
//! Each method answers the wallet as it must be stored *before* the act that
//! comes with it is carried out.

use serde::{Deserialize, Serialize};

use crate::csr::PublicKeyId;
use crate::names::{CertificateId, OperationId};

/// How often a new certificate may be refused before it is given up. AWS IoT
/// may take minutes until an attachment is in force everywhere, so the first
/// refusal says little.
const MOST_REFUSALS: u8 = 5;

/// How long to wait before a new certificate is tried again, doubled with each
/// refusal.
const TRY_AGAIN_MILLIS: u64 = 5_000;

/// A key and the certificate for it; where they are stored is the device's.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pair {
    /// The certificate.
    pub certificate_id: CertificateId,
    /// The key it certifies.
    pub public_key: PublicKeyId,
}

/// A key that is to replace the current one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Staged {
    /// The rotation it was made for.
    pub rotation_id: OperationId,
    /// The key.
    pub public_key: PublicKeyId,
    /// The certificate, once it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_id: Option<CertificateId>,
    /// How often it was refused.
    #[serde(default)]
    pub refusals: u8,
    /// Whether a token brought it. Then there may be nothing else that works,
    /// and it is not given up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enrolled: bool,
}

/// Everything that survives a loss of power.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wallet {
    /// What the device connects with.
    pub current: Pair,
    /// What it goes back to when `current` is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Pair>,
    /// What it is trying to replace `current` by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<Staged>,
    /// The rotation in which `current` is still to be proved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proving: Option<OperationId>,
    /// The rotation that gave it `current`, once that was the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed: Option<OperationId>,
}

/// Which of the pairs a connection was tried with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tried {
    /// [`Wallet::current`].
    Current,
    /// [`Wallet::staged`], which has its certificate.
    Staged,
}

/// What the device does once the wallet is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Stay,
    /// Make a key, store it, and hand it to [`Wallet::stage`].
    MakeKey(OperationId),
    /// Publish the signing request for the staged key.
    Request(OperationId),
    /// Leave, and connect with this pair.
    Connect(Tried),
    /// Publish the proof, from a connection made with `current`.
    Prove(OperationId),
}

impl Wallet {
    /// A device fresh from its creation.
    pub fn new(current: Pair) -> Self {
        Self {
            current,
            fallback: None,
            staged: None,
            proving: None,
            renewed: None,
        }
    }

    /// A device was enrolled with a token: the answer named this rotation, and
    /// has this certificate. `before` is what the device had; nothing, if it has
    /// lost all of it, and then there is nothing that could be lost by taking
    /// the new pair at once.
    #[must_use]
    pub fn enrolled(before: Option<Self>, rotation: OperationId, pair: Pair) -> (Self, Act) {
        let mut wallet = before.unwrap_or_else(|| Self::new(pair.clone()));
        let tried = if wallet.current == pair {
            wallet.staged = None;
            wallet.proving = Some(rotation);
            Tried::Current
        } else {
            wallet.staged = Some(Staged {
                rotation_id: rotation,
                public_key: pair.public_key,
                certificate_id: Some(pair.certificate_id),
                refusals: 0,
                enrolled: true,
            });
            Tried::Staged
        };
        (wallet, Act::Connect(tried))
    }

    /// What a device connects with after a start.
    pub fn start(&self) -> Tried {
        match &self.staged {
            Some(staged) if staged.certificate_id.is_some() => Tried::Staged,
            _ => Tried::Current,
        }
    }

    /// What the device says again until it is answered: nothing, a request, or
    /// a proof.
    pub fn owes(&self) -> Act {
        match (&self.proving, &self.staged) {
            (Some(rotation), _) => Act::Prove(rotation.clone()),
            (None, Some(staged)) => Act::Request(staged.rotation_id.clone()),
            (None, None) => Act::Stay,
        }
    }

    /// For how long, in milliseconds, the device stays with the current pair
    /// before it tries the staged one: not at all at first.
    pub fn try_after_millis(&self) -> u64 {
        match &self.staged {
            Some(staged) if staged.refusals > 0 => TRY_AGAIN_MILLIS << staged.refusals.min(8),
            _ => 0,
        }
    }

    /// `…/certificate/renew` came.
    pub fn renew(&self, rotation: &OperationId) -> Act {
        match (&self.proving, &self.staged) {
            // One thing at a time: the proof will be answered.
            (Some(proving), _) => Act::Prove(proving.clone()),
            (None, Some(staged)) if staged.rotation_id == *rotation => {
                if staged.certificate_id.is_some() {
                    Act::Connect(Tried::Staged)
                } else {
                    Act::Request(rotation.clone())
                }
            }
            // Its word came late, or once more.
            (None, None) if self.renewed.as_ref() == Some(rotation) => Act::Stay,
            (None, _) => Act::MakeKey(rotation.clone()),
        }
    }

    /// A key was made and stored for a rotation; another rotation's is dropped.
    #[must_use]
    pub fn stage(mut self, rotation: OperationId, public_key: PublicKeyId) -> (Self, Act) {
        self.staged = Some(Staged {
            rotation_id: rotation.clone(),
            public_key,
            certificate_id: None,
            refusals: 0,
            enrolled: false,
        });
        (self, Act::Request(rotation))
    }

    /// `…/certificate/accepted` came, with a certificate for this key.
    #[must_use]
    pub fn accepted(mut self, rotation: &OperationId, certificate: Pair) -> (Self, Act) {
        // Promoted already, and asked for once more: the proof may have been
        // lost, or forgotten on the way back from a refusal.
        if self.current == certificate {
            self.proving = Some(rotation.clone());
            return (self, Act::Prove(rotation.clone()));
        }
        match &mut self.staged {
            Some(staged)
                if staged.rotation_id == *rotation
                    && staged.public_key == certificate.public_key =>
            {
                staged.certificate_id = Some(certificate.certificate_id);
                (self, Act::Connect(Tried::Staged))
            }
            _ => (self, Act::Stay),
        }
    }

    /// The operator brought a pair that was made for this device in a rotation.
    /// Staged whole, it is tried as one that was accepted.
    ///
    /// It is taken while the current pair works, as an `accepted` is that can
    /// only come over a connection: what is promoted makes the current pair the
    /// fallback, and pushes out a fallback that may be the only one in force.
    /// Until then it is to be offered again.
    #[must_use]
    pub fn handed_out(
        mut self,
        rotation: &OperationId,
        pair: Pair,
        connected: bool,
    ) -> (Self, Act) {
        if self.current == pair {
            self.proving = Some(rotation.clone());
            return (self, Act::Prove(rotation.clone()));
        }
        if let Some(proving) = &self.proving {
            let act = Act::Prove(proving.clone());
            return (self, act);
        }
        if self.fallback.is_some() && !connected {
            return (self, Act::Stay);
        }
        self.staged = Some(Staged {
            rotation_id: rotation.clone(),
            public_key: pair.public_key,
            certificate_id: Some(pair.certificate_id),
            refusals: 0,
            enrolled: false,
        });
        (self, Act::Connect(Tried::Staged))
    }

    /// AWS IoT took the connection. The staged pair, having worked, becomes the
    /// current one, in one step.
    #[must_use]
    pub fn connected(mut self, tried: Tried) -> (Self, Act) {
        if tried == Tried::Staged
            && let Some(Staged {
                rotation_id,
                public_key,
                certificate_id: Some(certificate_id),
                ..
            }) = self.staged.take()
        {
            let promoted = Pair {
                certificate_id,
                public_key,
            };
            self.fallback = Some(std::mem::replace(&mut self.current, promoted));
            self.proving = Some(rotation_id);
        }
        let act = self.owes();
        (self, act)
    }

    /// AWS IoT refused the certificate itself; a network that fails is another
    /// matter and changes nothing.
    #[must_use]
    pub fn refused(mut self, tried: Tried) -> (Self, Act) {
        match tried {
            // Kept for a while, and asked for again from the current one.
            Tried::Staged => {
                self.staged = self.staged.and_then(|staged| {
                    let refusals = staged.refusals.saturating_add(1);
                    let certificate_id = staged.certificate_id.filter(|_| staged.enrolled);
                    (refusals < MOST_REFUSALS || staged.enrolled).then_some(Staged {
                        certificate_id,
                        refusals,
                        ..staged
                    })
                });
                (self, Act::Connect(Tried::Current))
            }
            Tried::Current => {
                // Without another pair there is nowhere to go back to.
                if self.fallback.is_some() {
                    self.go_back();
                }
                let next = self.start();
                (self, Act::Connect(next))
            }
        }
    }

    /// `…/certificate/rejected` came: this rotation comes to nothing.
    #[must_use]
    pub fn rejected(mut self, rotation: &OperationId) -> (Self, Act) {
        if self.proving.as_ref() == Some(rotation) {
            self.go_back();
            return (self, Act::Connect(Tried::Current));
        }
        match &self.staged {
            Some(staged) if staged.rotation_id == *rotation => {
                self.staged = None;
                (self, Act::Stay)
            }
            _ => (self, Act::Stay),
        }
    }

    /// `…/certificate/retired` came: this certificate is the device's only one.
    #[must_use]
    pub fn retired(mut self, only: &CertificateId) -> Self {
        if self.current.certificate_id == *only {
            self.fallback = None;
            self.renewed = self.proving.take().or(self.renewed);
        }
        self
    }

    /// The two pairs change places: neither is thrown away, so that whichever
    /// works is found.
    fn go_back(&mut self) {
        self.proving = None;
        if let Some(fallback) = self.fallback.take() {
            self.fallback = Some(std::mem::replace(&mut self.current, fallback));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(name: &str) -> Pair {
        let text = crate::csr::sha256_hex(name.as_bytes());
        Pair {
            certificate_id: CertificateId::of_der(name.as_bytes()),
            public_key: serde_json::from_value(text.into()).unwrap(),
        }
    }

    fn rotation() -> OperationId {
        OperationId::from_random([1; 16])
    }

    /// A device whose rotation has ended.
    fn renewed(name: &str) -> Wallet {
        let mut wallet = Wallet::new(pair(name));
        wallet.renewed = Some(rotation());
        wallet
    }

    /// A device that has stored the certificate it was given.
    fn accepted() -> Wallet {
        let new = pair("new");
        let (wallet, _) = Wallet::new(pair("old")).stage(rotation(), new.public_key.clone());
        let (wallet, act) = wallet.accepted(&rotation(), new);
        assert_eq!(act, Act::Connect(Tried::Staged));
        wallet
    }

    #[test]
    fn a_refused_certificate_is_asked_for_again_and_given_up_in_the_end() {
        let mut wallet = accepted();
        let mut waits = Vec::new();
        while wallet.staged.is_some() {
            waits.push(wallet.try_after_millis());
            let act;
            (wallet, act) = wallet.refused(Tried::Staged);
            assert_eq!(act, Act::Connect(Tried::Current));
            assert_eq!(wallet.start(), Tried::Current);
            assert_eq!(wallet.current, pair("old"));
            if wallet.staged.is_some() {
                assert_eq!(wallet.owes(), Act::Request(rotation()));
                wallet = wallet.accepted(&rotation(), pair("new")).0;
            }
        }
        assert_eq!(waits, [0, 10_000, 20_000, 40_000, 80_000]);
        assert_eq!(wallet.owes(), Act::Stay);
    }

    /// Whatever is refused, an enrolled device goes round all that it has.
    #[test]
    fn an_enrolled_device_tries_all_that_it_has_until_something_works() {
        for lost in [true, false] {
            let before = (!lost).then(|| accepted().connected(Tried::Staged).0);
            let had: Vec<_> = before.iter().map(|wallet| wallet.current.clone()).collect();
            let (mut wallet, mut act) = Wallet::enrolled(before, rotation(), pair("enrolled"));
            let mut counts = std::collections::BTreeMap::<_, u32>::new();
            for _ in 0..600 {
                let Act::Connect(tried) = act else {
                    panic!("{act:?}")
                };
                let with = match (tried, &wallet.staged) {
                    (Tried::Staged, Some(staged)) => staged.certificate_id.clone().unwrap(),
                    _ => wallet.current.certificate_id.clone(),
                };
                *counts.entry(with.as_str().to_owned()).or_default() += 1;
                (wallet, act) = wallet.refused(tried);
            }
            let names = if lost { vec![] } else { vec!["old", "new"] };
            for name in [vec!["enrolled"], names].concat() {
                let id = pair(name).certificate_id;
                assert!(counts[id.as_str()] > 100, "{name}: {counts:?}");
            }
            assert_eq!(had.len(), usize::from(!lost));
            let tried = wallet.start();
            let (wallet, act) = wallet.connected(tried);
            assert_eq!(wallet.current, pair("enrolled"));
            assert_eq!(act, Act::Prove(rotation()), "the proof is not forgotten");
            let wallet = wallet.retired(&pair("enrolled").certificate_id);
            assert_eq!(wallet, renewed("enrolled"));
        }
    }

    #[test]
    fn an_enrolment_that_is_repeated_changes_nothing() {
        for before in [None, Some(Wallet::new(pair("old"))), Some(accepted())] {
            let (wallet, act) = Wallet::enrolled(before, rotation(), pair("enrolled"));
            let again = Wallet::enrolled(Some(wallet.clone()), rotation(), pair("enrolled"));
            assert_eq!(again, (wallet.clone(), act));
            let (promoted, prove) = wallet.clone().connected(wallet.start());
            assert_eq!(prove, Act::Prove(rotation()));
            let again = Wallet::enrolled(Some(promoted.clone()), rotation(), pair("enrolled"));
            assert_eq!(again, (promoted, Act::Connect(Tried::Current)));
        }
    }

    #[test]
    fn a_proof_that_was_forgotten_is_given_when_the_certificate_comes_again() {
        let (wallet, act) = accepted().connected(Tried::Staged);
        assert_eq!(act, Act::Prove(rotation()));
        // Refused twice by accident: back to the old one, and to the new one.
        let (wallet, _) = wallet.refused(Tried::Current);
        assert_eq!(wallet.current, pair("old"));
        let (wallet, _) = wallet.refused(Tried::Current);
        assert_eq!((&wallet.current, wallet.owes()), (&pair("new"), Act::Stay));
        let (wallet, act) = wallet.accepted(&rotation(), pair("new"));
        assert_eq!(act, Act::Prove(rotation()));
        assert_eq!(wallet.owes(), act, "until it is answered");
        let wallet = wallet.retired(&pair("new").certificate_id);
        assert_eq!(wallet, renewed("new"));
        assert_eq!(wallet.renew(&rotation()), Act::Stay, "it is over");
        let next = OperationId::from_random([3; 16]);
        assert_eq!(wallet.renew(&next), Act::MakeKey(next));
    }

    #[test]
    fn what_is_handed_out_is_taken_when_it_pushes_nothing_out() {
        let rotation = OperationId::from_random([2; 16]);
        let (fresh, proving) = (
            Wallet::new(pair("old")),
            accepted().connected(Tried::Staged).0,
        );
        let back = proving.clone().refused(Tried::Current).0;
        let prove = |id: &OperationId| Act::Prove(id.clone());
        for (name, wallet, given, connected, act) in [
            ("fresh", &fresh, "new", false, Act::Connect(Tried::Staged)),
            (
                "busy",
                &accepted(),
                "other",
                true,
                Act::Connect(Tried::Staged),
            ),
            ("proving", &proving, "other", true, prove(&self::rotation())),
            ("promoted", &proving, "new", false, prove(&rotation)),
            ("went back, out", &back, "other", false, Act::Stay),
            (
                "went back, in",
                &back,
                "other",
                true,
                Act::Connect(Tried::Staged),
            ),
        ] {
            let (after, did) = wallet.clone().handed_out(&rotation, pair(given), connected);
            assert_eq!(did, act, "{name}");
            let staged = after.staged.as_ref().and_then(|s| s.certificate_id.clone());
            let taken = (act == Act::Connect(Tried::Staged)).then(|| pair(given).certificate_id);
            assert_eq!(staged, taken, "{name}");
            assert_eq!(after.current, wallet.current, "{name}");
            if taken.is_none() && given == "other" {
                assert_eq!(after, *wallet, "{name}: offered again later");
            }
        }
    }
}
