//! Every call of an enrolment is struck: the function is stopped before and
//! after it, loses its reply, is throttled, fails, is reset, is answered late or
//! never. The same request sent again brings the same certificate, and the
//! device comes to the same end; at no moment is the certificate that it last
//! proved out of force (invariants 1, 2, 3 and 6).

use futures_util::StreamExt as _;
use futures_util::stream;
use lamplighter_tests::cases::certificate;
use lamplighter_tests::cloud::Cloud;
use lamplighter_tests::device::trace;
use lamplighter_tests::enrolment::{Lost, sent};
use lamplighter_tests::faults::{self, CRASHES, Point};
use lamplighter_tests::inventory::{Ended, Inventory, differing, principals, state_of};
use lamplighter_tests::removal::ended;
use lamplighter_tests::rotation::{Event, delivered};

const AT_ONCE: usize = 12;

/// How a call is struck, and how often in a row.
const TROUBLES: [(&str, u64); 6] = [
    ("never", 3),
    ("late", 1),
    ("error", 3),
    ("throttle", 1),
    ("error", 1),
    ("reset", 1),
];

/// The calls of a request that does not depend on how soon the workflow is:
/// those until the rotation is looked at, or all, of one that comes again.
async fn calls(cloud: &Cloud, trace: &str, looks: u64) -> Vec<Point> {
    let made = faults::points(cloud, trace).await;
    let known = |point: &Point| point.operation != "dynamodb:GetItem" || point.nth <= looks;
    let known: Vec<_> = made.into_iter().filter(known).collect();
    assert!(known.len() as u64 >= looks, "{known:?}");
    known
}

/// Whether the request that is struck is the first, or comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    First,
    Again,
}

/// An enrolment, one call of one of its requests struck; answers the device.
async fn run(
    cloud: &Cloud,
    which: Which,
    struck: Option<(&Point, &str, u64)>,
    trace: &str,
) -> Result<String, String> {
    let lost = Lost::new(cloud).await;
    let (thing, old) = (lost.thing.clone(), lost.old.clone());
    let mut answer = None;
    if which == Which::Again {
        answer = Some(sent(cloud, &lost.ask()).await.expect(201));
    }
    let fault = match struck {
        Some((point, mode, times)) => {
            Some(faults::strike_from(cloud, trace, point, mode, times).await)
        }
        None => None,
    };
    cloud.unsigned(&lost.ask().trace(trace)).await;
    if let Some(fault) = fault
        && faults::fired(cloud, fault).await == 0
    {
        return Err("the point was not passed".to_owned());
    }
    if certificate(cloud, &old).await.0 != "ACTIVE" {
        return Err(format!("{old} is proved and not in force"));
    }
    let again = sent(cloud, &lost.ask()).await;
    if again.status != 201 {
        return Err(format!("{} {}", again.status, again.text));
    }
    let again = again.json();
    if answer.is_some_and(|answer| answer != again) {
        return Err(format!("another answer: {again}"));
    }
    let attached = principals(cloud, &thing).await;
    if attached.len() != 2 || !attached.iter().any(|arn| arn.ends_with(&old)) {
        return Err(format!("{attached:?}"));
    }
    let light = lost.light(&again);
    let proof = light.event(cloud, Event::Proof).await;
    delivered(cloud, &proof, None).await;
    match ended(cloud, &light.rotation).await.as_str() {
        "DONE" => Ok(thing),
        other => Err(format!("it ends {other}")),
    }
}

#[tokio::test]
async fn an_enrolment_survives_every_crash_and_every_trouble() {
    let cloud = &Cloud::open();
    let mut cases = Vec::new();
    let mut undisturbed = None;
    for (which, looks) in [(Which::First, 5), (Which::Again, 3)] {
        let trace = trace();
        let thing = run(cloud, which, None, &trace).await.expect("undisturbed");
        undisturbed = Some(state_of(cloud, &thing).await);
        let points = calls(cloud, &trace, looks).await;
        let crashes = CRASHES.map(|mode| (mode, 1));
        for (mode, times) in TROUBLES.into_iter().chain(crashes) {
            let each = points
                .iter()
                .map(|point| (which, point.clone(), mode, times));
            cases.extend(each);
        }
    }
    let before = Inventory::take(cloud).await;
    let outcomes: Vec<_> = stream::iter(cases)
        .map(async |(which, point, mode, times)| {
            let case = format!(
                "{which:?} {mode} x{times} {} #{}",
                point.operation, point.nth
            );
            match run(cloud, which, Some((&point, mode, times)), &trace()).await {
                Ok(thing) => Ok(Ended { case, thing }),
                Err(wrong) => Err(format!("{case}: {wrong}")),
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (ended, wrong): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let mut wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).collect();
    let ended: Vec<_> = ended.into_iter().filter_map(Result::ok).collect();
    assert!(
        ended.len() > 50 || !wrong.is_empty(),
        "{} cases",
        ended.len()
    );
    wrong.extend(differing(cloud, ended, &undisturbed.expect("a state")).await);
    let after = Inventory::take(cloud).await;
    wrong.extend(after.unmatched_since(&before));
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
