//! A rotation with the power going at every step of every file.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;

use lamplighter_domain::csr;

use super::*;
use crate::reference::durable::power;
use crate::reference::protocol::Accepted;
use crate::reference::testing::{Authority, Scratch, thing};

/// The other side: which certificates are in force.
struct Cloud {
    authority: Authority,
    rotation: OperationId,
    in_force: Vec<String>,
    /// What was issued for which request.
    issued: Vec<(String, String)>,
}

impl Cloud {
    /// The certificate for a request; the same for the same request.
    fn issue(&mut self, request: &str) -> String {
        if let Some((_, pem)) = self.issued.iter().find(|(known, _)| known == request) {
            return pem.clone();
        }
        let pem = self.authority.certify(request);
        self.issued.push((request.to_owned(), pem.clone()));
        self.in_force.push(pem.clone());
        pem
    }

    /// The proof has come: this certificate stays, all others go.
    fn retire_all_but(&mut self, id: &CertificateId) {
        self.in_force
            .retain(|pem| csr::certificate_id(pem).as_ref() == Some(id));
    }
}

struct Bench {
    scratch: Scratch,
    keys: KeysDir,
    name: ThingName,
    cloud: Cloud,
}

impl Bench {
    fn new() -> Self {
        let (scratch, authority, name) = (Scratch::new(), Authority::new(), thing("x"));
        let keys = scratch.keys(&name, &authority);
        let first = keys.certificate(&name).unwrap().unwrap();
        Self {
            scratch,
            keys,
            name,
            cloud: Cloud {
                authority,
                rotation: OperationId::from_random([7; 16]),
                in_force: vec![first],
                issued: Vec::new(),
            },
        }
    }

    fn open(&self) -> Keeper {
        Keeper::open(&self.keys, &self.name).unwrap()
    }

    /// Lives from a start to the end of the rotation, or until the power goes.
    fn live(&mut self) -> Result<Keeper, Failure> {
        let rotation = self.cloud.rotation.clone();
        let mut keeper = Keeper::open(&self.keys, &self.name)?;
        let mut act = Act::Connect(keeper.wallet().start());
        loop {
            act = match act {
                Act::Connect(tried) => {
                    let works = self.works(&keeper, tried);
                    assert!(works, "the device connects with what is not in force");
                    match keeper.connected(tried)? {
                        Act::Stay if self.cloud.in_force.len() == 1 => {
                            if keeper.wallet().current.certificate_id != self.first() {
                                return Ok(keeper);
                            }
                            keeper.renew(&rotation)?
                        }
                        Act::Stay => keeper.renew(&rotation)?,
                        act => act,
                    }
                }
                Act::Request(_) => {
                    let request = keeper.signing_request()?.expect("a staged key");
                    let pem = self.cloud.issue(&request);
                    keeper.accepted(&rotation, pair(&pem), &pem)?
                }
                Act::Prove(_) => {
                    let proved = keeper.certificate_id(Tried::Current);
                    self.cloud.retire_all_but(&proved);
                    keeper.retired(&proved)?;
                    return Ok(keeper);
                }
                Act::Stay | Act::MakeKey(_) => panic!("the rotation has come to a halt"),
            };
        }
    }

    /// The certificate that the device was created with.
    fn first(&self) -> CertificateId {
        let pem = self.keys.certificate(&self.name).unwrap().unwrap();
        csr::certificate_id(&pem).unwrap()
    }

    /// Whether a TLS client with the pair would be let in.
    fn works(&self, keeper: &Keeper, tried: Tried) -> bool {
        let identity = keeper.identity(tried).unwrap();
        let public_key = csr::PublicKeyId::of_certificate(&identity.certificate).unwrap();
        let fits =
            crate::keys::public_key_id(&identity.key).as_deref() == Some(public_key.as_str());
        fits && self.cloud.in_force.contains(&identity.certificate)
    }

    fn files(&self) -> BTreeSet<String> {
        fs::read_dir(self.scratch.path().join("keys/x.wallet"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

fn pair(pem: &str) -> Pair {
    Pair {
        certificate_id: csr::certificate_id(pem).unwrap(),
        public_key: csr::PublicKeyId::of_certificate(pem).unwrap(),
    }
}

/// After a loss of power the device starts with a pair that works, and gets to
/// the end of its rotation.
#[test]
fn the_power_may_go_at_every_step() {
    let mut steps = 0;
    loop {
        let mut bench = Bench::new();
        power::lasts(steps);
        let lived = bench.live();
        let taken = power::back().len();
        let done = lived.is_ok();
        drop(lived);
        let keeper = bench.open();
        let start = keeper.wallet().start();
        assert!(bench.works(&keeper, start), "after {steps} steps");
        drop(keeper);
        let keeper = bench.live().unwrap();
        assert_ne!(keeper.wallet().current.certificate_id, bench.first());
        assert_eq!(keeper.wallet().fallback, None, "after {steps} steps");
        assert_eq!(bench.files().len(), 4, "{:?}", bench.files());
        if done {
            assert!(taken > 25, "{taken} steps are no whole rotation");
            break;
        }
        steps += 1;
    }
}

#[test]
fn the_old_pair_is_kept_until_the_device_hears_that_it_is_retired() {
    let mut bench = Bench::new();
    let rotation = bench.cloud.rotation.clone();
    let mut keeper = bench.open();
    let old = keeper.certificate_id(Tried::Current);
    keeper.connected(Tried::Current).unwrap();
    keeper.renew(&rotation).unwrap();
    let request = keeper.signing_request().unwrap().unwrap();
    let pem = bench.cloud.issue(&request);
    keeper.accepted(&rotation, pair(&pem), &pem).unwrap();
    let new = keeper.certificate_id(Tried::Staged);
    assert!(bench.works(&keeper, Tried::Staged) && bench.works(&keeper, Tried::Current));
    keeper.connected(Tried::Staged).unwrap();
    assert_eq!(keeper.certificate_id(Tried::Current), new);
    // Refused after all: the old pair is there still, and so is the new one.
    keeper.refused(Tried::Current).unwrap();
    assert_eq!(keeper.certificate_id(Tried::Current), old);
    assert!(bench.works(&keeper, Tried::Current));
    keeper.refused(Tried::Current).unwrap();
    assert_eq!(keeper.certificate_id(Tried::Current), new);
    keeper.retired(&new).unwrap();
    let kept = bench.files();
    assert!(!kept.contains(&format!("{old}.cert.pem")), "{kept:?}");
    assert!(kept.contains(&format!("{new}.cert.pem")), "{kept:?}");
}

#[test]
fn keys_are_their_owners_only() {
    let bench = Bench::new();
    let mut keeper = bench.open();
    keeper.renew(&bench.cloud.rotation).unwrap();
    let wallet = bench.scratch.path().join("keys/x.wallet");
    let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(wallet.clone()), 0o700);
    let keys: Vec<_> = bench.files().into_iter().collect();
    let keys: Vec<_> = keys.iter().filter(|n| n.ends_with(".key.pem")).collect();
    assert_eq!(keys.len(), 2, "the current one and the staged one");
    for key in keys {
        assert_eq!(mode(wallet.join(key)), 0o600);
    }
}

#[test]
fn one_process_runs_a_device() {
    let bench = Bench::new();
    let keeper = bench.open();
    let refusal = Keeper::open(&bench.keys, &bench.name).unwrap_err();
    assert!(refusal.reason.contains("another process"), "{refusal:?}");
    drop(keeper);
    bench.open();
}

#[test]
fn a_device_that_is_created_anew_starts_anew() {
    let mut bench = Bench::new();
    let rotated = bench.live().unwrap().certificate_id(Tried::Current);
    // A repeated `lamp device create` leaves the certificate of this day.
    let issued = bench.cloud.issued[0].1.clone();
    bench.keys.keep_certificate(&bench.name, &issued).unwrap();
    assert_eq!(bench.open().certificate_id(Tried::Current), rotated);
    // One for a device made anew is for the key that it was made with.
    let request = bench.keys.request(&bench.name).unwrap();
    let anew = bench.cloud.authority.certify(&request);
    bench.keys.keep_certificate(&bench.name, &anew).unwrap();
    for _ in 0..2 {
        let id = bench.open().certificate_id(Tried::Current);
        assert_eq!(Some(id), csr::certificate_id(&anew));
    }
}

#[test]
fn without_a_pair_the_remedy_is_named() {
    let scratch = Scratch::new();
    let keys = KeysDir::open(scratch.path()).unwrap();
    let refusal = Keeper::open(&keys, &thing("x")).unwrap_err();
    let remedy = refusal.remedy.unwrap_or_default();
    assert!(remedy.contains("lamp device create"), "{remedy}");
}

/// The wallet of the example in the protocol's tests is what `accepted` reads.
#[test]
fn a_certificate_for_another_key_is_not_taken() {
    let mut bench = Bench::new();
    let rotation = bench.cloud.rotation.clone();
    let mut keeper = bench.open();
    keeper.renew(&rotation).unwrap();
    let (_, other) = crate::keys::new_key(&bench.name).unwrap();
    let pem = bench.cloud.issue(&other);
    let text = serde_json::json!({
        "rotationId": rotation, "certificatePem": pem,
        "certificateId": csr::certificate_id(&pem),
    });
    let accepted: Accepted = serde_json::from_value(text).unwrap();
    let pair = accepted.pair().unwrap();
    let act = keeper.accepted(&rotation, pair, &pem).unwrap();
    assert_eq!(act, Act::Stay);
    assert!(!bench.files().iter().any(|name| pem_of(name, &pem)));
}

fn pem_of(file: &str, pem: &str) -> bool {
    csr::certificate_id(pem).is_some_and(|id| file == format!("{id}.cert.pem"))
}

/// A pair that was made for the device, as `lamp device credentials` leaves it.
fn bring(bench: &mut Bench) -> String {
    let (key, request) = crate::keys::new_key(&bench.name).unwrap();
    let pem = bench.cloud.issue(&request);
    let renewed = crate::keys::Renewed {
        rotation_id: bench.cloud.rotation.clone(),
        certificate_pem: pem.clone(),
        private_key_pem: key,
    };
    bench.keys.keep_renewed(&bench.name, &renewed).unwrap();
    pem
}

fn is_there(bench: &Bench) -> bool {
    bench.keys.renewed_path(&bench.name).exists()
}

/// Takes what was brought, tries it, and proves it.
fn take(bench: &mut Bench, pem: &str) -> Result<(), Failure> {
    let mut keeper = Keeper::open(&bench.keys, &bench.name)?;
    if let Some(taken) = keeper.take_renewed(false)? {
        assert_eq!(Some(taken.certificate_id), csr::certificate_id(pem));
    }
    let start = keeper.wallet().start();
    assert!(bench.works(&keeper, start));
    keeper.connected(start)?;
    let proved = keeper.certificate_id(Tried::Current);
    assert_eq!(Some(&proved), csr::certificate_id(pem).as_ref());
    bench.cloud.retire_all_but(&proved);
    keeper.retired(&proved).map(drop)
}

#[test]
fn the_power_may_go_at_every_step_of_a_hand_out() {
    for steps in 0.. {
        let mut bench = Bench::new();
        let pem = bring(&mut bench);
        power::lasts(steps);
        let done = take(&mut bench, &pem).is_ok();
        power::back();
        let keeper = bench.open();
        let start = keeper.wallet().start();
        assert!(bench.works(&keeper, start), "after {steps} steps");
        drop(keeper);
        take(&mut bench, &pem).unwrap();
        assert!(!is_there(&bench), "after {steps} steps");
        assert_eq!(bench.files().len(), 4, "{:?}", bench.files());
        if done {
            assert!(steps > 25, "{steps} steps are no whole hand-out");
            break;
        }
    }
}

#[test]
fn what_is_brought_waits_while_a_proof_is_outstanding() {
    let mut bench = Bench::new();
    let first = bring(&mut bench);
    let mut keeper = bench.open();
    assert!(keeper.take_renewed(true).unwrap().is_some());
    keeper.connected(Tried::Staged).unwrap();
    bench.cloud.rotation = OperationId::from_random([8; 16]);
    let second = bring(&mut bench);
    assert!(keeper.take_renewed(true).unwrap().is_none());
    assert!(is_there(&bench));
    keeper
        .retired(&csr::certificate_id(&first).unwrap())
        .unwrap();
    let taken = keeper.take_renewed(true).unwrap().unwrap();
    assert_eq!(Some(taken.certificate_id), csr::certificate_id(&second));
    // Refused at first, it is asked for by a request for the same key.
    keeper.refused(Tried::Staged).unwrap();
    let request = keeper.signing_request().unwrap().unwrap();
    let key = csr::Csr::parse(&request).unwrap();
    assert_eq!(*key.public_key(), pair(&second).public_key);
}

#[test]
fn a_device_without_a_pair_starts_with_what_is_brought_and_a_foreign_key_is_refused() {
    let mut bench = Bench::new();
    let pem = bring(&mut bench);
    fs::remove_file(bench.keys.key_path(&bench.name)).unwrap();
    let keeper = bench.open();
    assert_eq!(
        Some(keeper.certificate_id(Tried::Current)),
        csr::certificate_id(&pem)
    );
    assert_eq!(
        keeper.wallet().owes(),
        Act::Prove(bench.cloud.rotation.clone())
    );
    drop(keeper);

    let mut bench = Bench::new();
    let pem = bring(&mut bench);
    let mut renewed = bench.keys.renewed(&bench.name).unwrap().unwrap();
    renewed.private_key_pem = crate::keys::new_key(&bench.name).unwrap().0;
    bench.keys.keep_renewed(&bench.name, &renewed).unwrap();
    let mut keeper = bench.open();
    let refusal = keeper.take_renewed(true).unwrap_err();
    assert!(
        refusal.reason.contains("not a key and its certificate"),
        "{refusal:?}"
    );
    assert!(!bench.files().iter().any(|name| pem_of(name, &pem)));
    let path = bench.keys.renewed_path(&bench.name);
    assert_eq!(
        fs::metadata(path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}
