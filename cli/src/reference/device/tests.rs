//! Devices against a broker that keeps to a script.

use lamplighter_domain::csr;
use lamplighter_domain::names::{CertificateId, OperationId};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::keys::KeysDir;
use crate::reference::Misbehaviour;
use crate::reference::testing::broker::{self, Answer, Seen};
use crate::reference::testing::{Authority, Scratch, thing};

const BASE: &str = "lamplighter/things/x/certificate/";

/// The service, as far as a device sees it.
struct Cloud {
    authority: Arc<Authority>,
    rotation: OperationId,
    old: CertificateId,
    new: Option<String>,
    /// What the device has published, without telemetry and what it asks of its
    /// jobs, and with which certificate.
    said: Vec<(CertificateId, String)>,
    telemetry: Vec<u64>,
    /// How many connections with the new certificate are hung up on.
    refusals: u32,
    /// How many proofs get lost.
    lost_proofs: u32,
    /// Whether the proof is rejected.
    rejects_proof: bool,
}

impl Cloud {
    fn answer(&mut self, who: &CertificateId, seen: &Seen) -> Answer {
        let is_new = *who != self.old;
        match seen {
            Seen::Connect if is_new && self.refusals > 0 => {
                self.refusals -= 1;
                Answer::HangUp
            }
            Seen::Connect => Answer::Nothing,
            Seen::Subscribe if is_new => Answer::Nothing,
            Seen::Subscribe => self.tell("renew", &json!({ "deadline": 1 })),
            Seen::Publish(topic, payload) => self.hear(who, topic, payload),
        }
    }

    fn hear(&mut self, who: &CertificateId, topic: &str, payload: &Value) -> Answer {
        if topic.ends_with("/telemetry") {
            self.telemetry.push(payload["sequence"].as_u64().unwrap());
            return Answer::Nothing;
        }
        if topic.starts_with("$aws/things/x/jobs/") {
            return Answer::Nothing;
        }
        self.said.push((who.clone(), topic.to_owned()));
        match topic.strip_prefix(BASE) {
            Some("request") => {
                let request = payload["csr"].as_str().unwrap();
                let pem = self.authority.certify(request);
                let pem = self.new.get_or_insert(pem).clone();
                let id = csr::certificate_id(&pem);
                self.tell(
                    "accepted",
                    &json!({ "certificatePem": pem, "certificateId": id }),
                )
            }
            Some("proof") if self.lost_proofs > 0 => {
                self.lost_proofs -= 1;
                Answer::Nothing
            }
            Some("proof") if self.rejects_proof => {
                self.tell("rejected", &json!({ "code": "Denied" }))
            }
            Some("proof") => self.tell("retired", &json!({ "certificateId": who })),
            _ => Answer::Nothing,
        }
    }

    fn tell(&self, word: &str, message: &Value) -> Answer {
        let mut message = message.clone();
        message["rotationId"] = json!(self.rotation);
        Answer::Send(format!("{BASE}{word}"), message)
    }
}

/// A device that runs.
struct Bench {
    cloud: Arc<Mutex<Cloud>>,
    heard: mpsc::UnboundedReceiver<Line>,
    vitals: Arc<Mutex<Vitals>>,
    stop: watch::Sender<bool>,
    device: JoinHandle<Result<(), Failure>>,
    keys: KeysDir,
    _scratch: Scratch,
}

impl Bench {
    async fn start(misbehaviour: Option<Misbehaviour>, set: impl FnOnce(&mut Cloud)) -> Self {
        let (scratch, authority, name) = (Scratch::new(), Arc::new(Authority::new()), thing("x"));
        let keys = scratch.keys(&name, &authority);
        let first = keys.certificate(&name).unwrap().unwrap();
        let mut cloud = Cloud {
            authority: Arc::clone(&authority),
            rotation: OperationId::from_random([7; 16]),
            old: csr::certificate_id(&first).unwrap(),
            new: None,
            said: Vec::new(),
            telemetry: Vec::new(),
            refusals: 0,
            lost_proofs: 0,
            rejects_proof: false,
        };
        set(&mut cloud);
        let cloud = Arc::new(Mutex::new(cloud));
        let answers = Arc::clone(&cloud);
        let script = Arc::new(Mutex::new(move |who: &CertificateId, seen: &Seen| {
            answers.lock().unwrap().answer(who, seen)
        }));
        let (port, ca) = broker::start(&scratch, &authority, script).await;
        let endpoint = format!("localhost:{port}").parse().unwrap();
        let dialer = Arc::new(Dialer::new(endpoint, Some(&ca)).unwrap());
        let (wire, heard) = mpsc::unbounded_channel();
        let (stop, stopping) = watch::channel(false);
        let habits = Habits {
            first_firmware: "1.0.0".into(),
            jobs: scratch.jobs(),
            tunnels: Arc::default(),
            telemetry_every: Duration::from_millis(20),
            repeat_every: Duration::from_millis(100),
            misbehaviour,
        };
        let keeper = Keeper::open(&keys, &name).unwrap();
        let device = Device::new(name, keeper, dialer, habits, wire).unwrap();
        let vitals = device.vitals();
        Self {
            cloud,
            heard,
            vitals,
            stop,
            device: tokio::spawn(device.run(stopping)),
            keys,
            _scratch: scratch,
        }
    }

    /// What happens until an event comes for the n-th time, in order.
    async fn until(&mut self, last: &str, mut times: u32) -> Vec<String> {
        let mut events = Vec::new();
        while times > 0 {
            let line = tokio::time::timeout(Duration::from_secs(20), self.heard.recv());
            let line = line
                .await
                .unwrap_or_else(|_| panic!("no {last} after {events:?}"));
            let event = line.unwrap().document()["event"]
                .as_str()
                .unwrap()
                .to_owned();
            times -= u32::from(event == last);
            events.push(event);
        }
        events
    }

    /// Stops the device, and gives what it has kept.
    async fn stop(self) -> (Keeper, Vitals, Arc<Mutex<Cloud>>) {
        self.stop.send(true).unwrap();
        self.device.await.unwrap().unwrap();
        let vitals = *self.vitals.lock().unwrap();
        let keeper = Keeper::open(&self.keys, &thing("x")).unwrap();
        (keeper, vitals, self.cloud)
    }
}

#[tokio::test]
async fn a_rotation_from_renew_to_retired() {
    let mut bench = Bench::start(None, |_| {}).await;
    let events = bench.until("retired", 1).await;
    assert_eq!(
        events,
        [
            "connected",
            "renew",
            "requested",
            "accepted",
            "connected",
            "promoted",
            "proved",
            "retired"
        ]
    );
    let (keeper, vitals, cloud) = bench.stop().await;
    let cloud = cloud.lock().unwrap();
    let new = keeper.certificate_id(Tried::Current);
    assert_eq!(
        Some(&new),
        csr::certificate_id(cloud.new.as_ref().unwrap()).as_ref()
    );
    assert_eq!(keeper.wallet().fallback, None);
    let shadow = "$aws/things/x/shadow/update";
    let (request, proof) = (format!("{BASE}request"), format!("{BASE}proof"));
    let said: Vec<_> = cloud
        .said
        .iter()
        .map(|(who, topic)| (who, topic.as_str()))
        .collect();
    let old = &cloud.old;
    assert_eq!(
        said,
        [
            (old, shadow),
            (old, request.as_str()),
            (&new, shadow),
            (&new, proof.as_str())
        ]
    );
    assert_eq!((vitals.rotated, vitals.connections), (1, 2));
    assert!(vitals.gaps.acknowledged > 4, "{vitals:?}");
    let counted: Vec<_> = (0..).take(cloud.telemetry.len()).collect();
    assert_eq!(cloud.telemetry, counted, "nothing was lost on the way");
}

#[tokio::test]
async fn a_proof_is_repeated_until_it_is_answered() {
    let mut bench = Bench::start(None, |cloud| cloud.lost_proofs = 2).await;
    let events = bench.until("retired", 1).await;
    let proofs = events.iter().filter(|event| *event == "proved");
    assert_eq!(proofs.count(), 3, "{events:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_new_certificate_that_is_refused_leaves_the_old_in_use() {
    let mut bench = Bench::start(None, |cloud| cloud.refusals = 1).await;
    let events = bench.until("accepted", 2).await;
    let after: Vec<_> = events
        .iter()
        .skip_while(|event| *event != "refused")
        .collect();
    assert!(after.contains(&&"connected".to_owned()), "{events:?}");
    let (keeper, _, cloud) = bench.stop().await;
    let cloud = cloud.lock().unwrap();
    assert_eq!(keeper.certificate_id(Tried::Current), cloud.old);
    let staged = keeper.wallet().staged.as_ref().unwrap();
    assert_eq!(staged.refusals, 1, "it will be tried again");
}

#[tokio::test]
async fn a_proof_that_is_rejected_leads_back_to_the_old_certificate() {
    let mut bench = Bench::start(None, |cloud| cloud.rejects_proof = true).await;
    bench.until("rejected", 1).await;
    bench.until("connected", 1).await;
    let (keeper, vitals, cloud) = bench.stop().await;
    assert_eq!(
        keeper.certificate_id(Tried::Current),
        cloud.lock().unwrap().old
    );
    assert_eq!((vitals.rotated, vitals.rejected), (0, 1));
}

#[tokio::test]
async fn devices_break_the_protocol_when_told_to() {
    let mut bench = Bench::start(Some(Misbehaviour::RefuseProof), |_| {}).await;
    bench.until("promoted", 1).await;
    let (_, _, cloud) = bench.stop().await;
    let proof = |cloud: &Cloud| {
        cloud
            .said
            .iter()
            .any(|(_, topic)| topic.ends_with("/proof"))
    };
    assert!(!proof(&cloud.lock().unwrap()));

    let mut bench = Bench::start(Some(Misbehaviour::Ignore), |_| {}).await;
    bench.until("renew", 1).await;
    let (keeper, _, _) = bench.stop().await;
    assert_eq!(keeper.wallet().staged, None);

    let mut bench = Bench::start(Some(Misbehaviour::NoStore), |_| {}).await;
    let events = bench.until("requested", 2).await;
    assert!(!events.contains(&"promoted".to_owned()), "{events:?}");
    bench.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_waited_for() {
    let (scratch, authority, name) = (Scratch::new(), Authority::new(), thing("x"));
    let keys = scratch.keys(&name, &authority);
    let ca = keys.certificate_path(&name);
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    let dialer = Arc::new(Dialer::new(endpoint, Some(&ca)).unwrap());
    let keeper = Keeper::open(&keys, &name).unwrap();
    let (wire, mut heard) = mpsc::unbounded_channel();
    let (stop, stopping) = watch::channel(false);
    let habits = Habits {
        first_firmware: "1.0.0".into(),
        jobs: scratch.jobs(),
        tunnels: Arc::default(),
        telemetry_every: Duration::from_secs(1),
        repeat_every: Duration::from_secs(1),
        misbehaviour: None,
    };
    let before = keeper.wallet().clone();
    let device = Device::new(name.clone(), keeper, dialer, habits, wire).unwrap();
    let device = tokio::spawn(device.run(stopping));
    for _ in 0..2 {
        let line = heard.recv().await.unwrap();
        assert!(matches!(line.news, News::Disconnected { .. }), "{line:?}");
    }
    stop.send(true).unwrap();
    device.await.unwrap().unwrap();
    let keeper = Keeper::open(&keys, &name).unwrap();
    assert_eq!(
        *keeper.wallet(),
        before,
        "a network that fails changes nothing"
    );
}
