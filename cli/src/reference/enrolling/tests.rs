//! An enrolment with the power going at every step of every file.

use std::fs;

use lamplighter_domain::csr;
use lamplighter_domain::names::OperationId;
use lamplighter_domain::rotation::wallet::{Act, Tried};
use serde_json::json;

use super::*;
use crate::reference::Keeper;
use crate::reference::durable::power;
use crate::reference::testing::{Authority, Scratch, thing};

/// What the device has left of its first pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Nothing,
    /// The pair, which is refused.
    Expired,
    /// The same, and it was run before.
    Run,
}

struct Bench {
    _scratch: Scratch,
    keys: KeysDir,
    name: ThingName,
    authority: Authority,
    /// What the token was used for, and the answer.
    used: Option<(String, Value)>,
}

impl Bench {
    fn new(left: Left) -> Self {
        let (scratch, authority, name) = (Scratch::new(), Authority::new(), thing("x"));
        let keys = scratch.keys(&name, &authority);
        match left {
            Left::Nothing => {
                for file in [keys.key_path(&name), keys.certificate_path(&name)] {
                    fs::remove_file(file).unwrap();
                }
            }
            Left::Expired => {}
            Left::Run => drop(Keeper::open(&keys, &name).unwrap()),
        }
        Self {
            _scratch: scratch,
            keys,
            name,
            authority,
            used: None,
        }
    }

    /// The service: one token, one key, one certificate.
    fn answer(&mut self, request: &str) -> Value {
        let (known, answer) = self.used.get_or_insert_with(|| {
            let pem = self.authority.certify(request);
            let answer = json!({
                "rotationId": OperationId::from_random([7; 16]), "thingName": "x",
                "certificateId": csr::certificate_id(&pem), "certificatePem": pem,
            });
            (request.to_owned(), answer)
        });
        assert_eq!(known, request, "the token came with another key");
        answer.clone()
    }

    /// From the token to the proof, or until the power goes.
    fn live(&mut self) -> Result<(), Failure> {
        let token = Token::from_random([1; 32]);
        let enrolling = Enrolling::open(&self.keys, &self.name, &token)?;
        let request = enrolling.signing_request()?;
        let answer = self.answer(&request);
        let id = enrolling.enrolled(&answer)?;
        let mut keeper = Keeper::open(&self.keys, &self.name)?;
        let mut tried = keeper.wallet().start();
        // The new certificate takes a while until it is in force everywhere.
        let mut refusals = 3;
        loop {
            let act = if keeper.certificate_id(tried) == id && refusals == 0 {
                keeper.connected(tried)?
            } else {
                refusals -= u32::from(refusals > 0);
                keeper.refused(tried)?
            };
            match act {
                Act::Connect(next) => tried = next,
                Act::Prove(_) => break,
                // A proof that was forgotten on the way is asked for again.
                Act::Stay => {
                    let pem = answer["certificatePem"].as_str().unwrap();
                    let accepted: Accepted = serde_json::from_value(answer.clone()).unwrap();
                    let pair = accepted.pair().unwrap();
                    keeper.accepted(&accepted.rotation_id, pair, pem)?;
                    break;
                }
                act => panic!("{act:?}"),
            }
        }
        assert_eq!(keeper.certificate_id(Tried::Current), id);
        keeper.retired(&id)?;
        Ok(())
    }

    /// Whether the device runs with the certificate that it was enrolled with,
    /// and owes nothing.
    fn is_done(&self) -> bool {
        let Ok(keeper) = Keeper::open(&self.keys, &self.name) else {
            return false;
        };
        let id = keeper.certificate_id(Tried::Current);
        let enrolled = self
            .used
            .as_ref()
            .map(|(_, answer)| &answer["certificateId"]);
        enrolled == Some(&json!(id)) && done(keeper.wallet())
    }

    fn files(&self) -> usize {
        fs::read_dir(self.keys.wallet_path(&self.name))
            .unwrap()
            .count()
    }
}

/// Whenever the power goes, the same token brings the device back, with the
/// same key.
#[test]
fn the_power_may_go_at_every_step() {
    for left in [Left::Nothing, Left::Expired, Left::Run] {
        let mut steps = 0;
        loop {
            let mut bench = Bench::new(left);
            power::lasts(steps);
            let lived = bench.live();
            let taken = power::back().len();
            if lived.is_ok() {
                assert!(taken > 25, "{taken} steps are no whole enrolment");
                // The key, its certificate, the wallet and the lock.
                assert_eq!(bench.files(), 4, "{left:?}");
                break;
            }
            // What comes in between throws nothing away.
            if !bench.is_done() {
                bench.live().unwrap();
            }
            assert_eq!(bench.files(), 4, "{left:?} after {steps} steps");
            steps += 1;
        }
    }
}

#[test]
fn another_token_has_another_key() {
    let bench = Bench::new(Left::Nothing);
    let request = |n| {
        let token = Token::from_random([n; 32]);
        let enrolling = Enrolling::open(&bench.keys, &bench.name, &token).unwrap();
        enrolling.signing_request().unwrap()
    };
    let first = request(1);
    assert_eq!(request(1), first);
    assert_ne!(request(2), first);
}

#[test]
fn an_answer_for_another_key_is_not_taken() {
    let bench = Bench::new(Left::Nothing);
    let (_, other) = crate::keys::new_key(&bench.name).unwrap();
    let pem = bench.authority.certify(&other);
    let token = Token::from_random([1; 32]);
    for answer in [
        json!({}),
        json!({
            "rotationId": OperationId::from_random([7; 16]),
            "certificateId": csr::certificate_id(&pem), "certificatePem": pem,
        }),
    ] {
        let enrolling = Enrolling::open(&bench.keys, &bench.name, &token).unwrap();
        enrolling.enrolled(&answer).unwrap_err();
        assert!(Keeper::open(&bench.keys, &bench.name).is_err());
    }
}

/// Whether nothing is left to do for the rotation.
fn done(wallet: &Wallet) -> bool {
    let mut only = Wallet::new(wallet.current.clone());
    only.renewed.clone_from(&wallet.renewed);
    *wallet == only
}
