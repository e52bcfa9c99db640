//! The function is stopped before and after every call that a creation makes,
//! and loses every reply; delivered again, the creation comes to the same end
//! (invariants 1, 3 and 6). The calls are those of a recorded run.

use futures_util::StreamExt as _;
use futures_util::stream;
use lamplighter_tests::authority::{openssl_accepts, ready};
use lamplighter_tests::cloud::{Ask, Cloud, Reply};
use lamplighter_tests::delivery::{deliver, invites_repetition, lease_over};
use lamplighter_tests::device::{Key, public_key_of_certificate, trace, unique};
use lamplighter_tests::faults::{self, CRASHES, Point};
use lamplighter_tests::inventory::{Ended, Inventory, differing, principals, state_of};
use serde_json::json;

const AT_ONCE: usize = 8;

/// What is created: by which issuer, and with whose key.
#[derive(Clone, Copy, Debug)]
struct Kind {
    issuer: &'static str,
    vault: bool,
}

struct Device {
    thing: String,
    kind: Kind,
    key: Option<Key>,
}

impl Device {
    fn new(kind: Kind) -> Self {
        let thing = unique("crash");
        let key = (!kind.vault).then(|| Key::make(&thing));
        Self { thing, kind, key }
    }

    fn ask(&self) -> Ask {
        let mut body = json!({
            "thingName": self.thing, "attributes": {"city": "milan"}, "issuer": self.kind.issuer,
        });
        if let Some(key) = &self.key {
            body["csr"] = key.csr.clone().into();
        }
        Ask::create(&body)
    }

    fn check(&self, reply: &Reply) {
        let answer = reply.json();
        let certificate = answer["certificatePem"].as_str().expect("a certificate");
        if let Some(key) = &self.key {
            assert_eq!(public_key_of_certificate(certificate), key.id);
        }
        if let Some(issuer) = answer["issuerPem"].as_str() {
            assert!(openssl_accepts(issuer, certificate), "{certificate}");
        }
        assert_eq!(
            answer["issuerPem"].is_string(),
            self.kind.issuer == "kms-ca"
        );
    }
}

/// Strikes one call of one creation; tells what is not as it must be.
async fn case(cloud: &Cloud, kind: Kind, point: &Point, mode: &str) -> Result<Ended, String> {
    let device = Device::new(kind);
    let case = format!(
        "{kind:?}: {mode} {} #{} of {}",
        point.operation, point.nth, device.thing
    );
    let trace = trace();
    let fault = faults::strike(cloud, &trace, point, mode).await;
    let first = cloud.api(&device.ask().trace(&trace)).await;
    if faults::fired(cloud, fault).await != 1 {
        return Err(format!("{case}: the point was not passed"));
    }
    if !matches!(first.status, 200 | 201) && !invites_repetition(&first) {
        return Err(format!(
            "{case}: the caller is told {} {}",
            first.status, first.text
        ));
    }
    lease_over(cloud, &device.thing).await;
    let again = deliver(cloud, &device.ask()).await;
    if !matches!(again.status, 200 | 201) {
        return Err(format!(
            "{case}: delivered again, it is {} {}",
            again.status, again.text
        ));
    }
    device.check(&again);
    Ok(Ended {
        case,
        thing: device.thing,
    })
}

async fn matrix(cloud: &Cloud, kind: Kind) {
    let device = Device::new(kind);
    let recorded = trace();
    // Warm, so that a cold start makes no difference.
    deliver(cloud, &Device::new(kind).ask()).await.expect(201);
    let reply = cloud.api(&device.ask().trace(&recorded)).await;
    reply.expect(201);
    let points = faults::points(cloud, &recorded).await;
    assert!(
        points.len() >= 8,
        "too few calls for a creation: {points:?}"
    );
    let undisturbed = state_of(cloud, &device.thing).await;

    let before = Inventory::take(cloud).await;
    let cases = CRASHES
        .iter()
        .flat_map(|mode| points.iter().map(move |point| (*mode, point)));
    let outcomes: Vec<_> = stream::iter(cases)
        .map(|(mode, point)| case(cloud, kind, point, mode))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert_eq!(outcomes.len(), points.len() * CRASHES.len());
    let (ended, wrong): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let mut wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).collect();
    let ended = ended.into_iter().filter_map(Result::ok);
    wrong.extend(differing(cloud, ended, &undisturbed).await);
    wrong.extend(unexplained(cloud, &before).await);
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        points.len() * CRASHES.len(),
        wrong.join("\n")
    );
}

/// Certificates that came since and hang on no thing that came since.
async fn unexplained(cloud: &Cloud, before: &Inventory) -> Vec<String> {
    let after = Inventory::take(cloud).await;
    let mut left = after.certificates.clone();
    left.retain(|id| !before.certificates.contains(id));
    for thing in after.things.difference(&before.things) {
        for arn in principals(cloud, thing).await {
            left.remove(arn.rsplit('/').next().expect("an id"));
        }
    }
    left.into_iter()
        .map(|id| format!("certificate {id} hangs on nothing"))
        .collect()
}

#[tokio::test]
async fn creation_by_either_issuer_with_and_without_a_signing_request_survives_every_crash() {
    let cloud = Cloud::open();
    ready(&cloud).await;
    // One after the other: each counts the certificates of the whole account.
    for issuer in ["aws-iot", "kms-ca"] {
        for vault in [false, true] {
            matrix(&cloud, Kind { issuer, vault }).await;
        }
    }
}
