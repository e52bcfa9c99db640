//! The function is stopped before and after every call of every step of a
//! rotation, and loses every reply; delivered again, the rotation comes to the
//! same end, and at no moment is the certificate that the device last proved
//! out of force (invariants 1, 2, 3 and 6). The calls are those of recorded
//! runs.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use lamplighter_tests::cloud::Cloud;
use lamplighter_tests::device::trace;
use lamplighter_tests::faults::{self, CRASHES, Point};
use lamplighter_tests::inventory::{Inventory, describe, principals, state_of};
use lamplighter_tests::rotation::{Event, Light, delivered, invoke};
use serde_json::Value;

const AT_ONCE: usize = 24;

/// The events of a rotation to its end, each with the pause before it.
struct Course {
    name: &'static str,
    /// The first event that is struck; those before are another course's too.
    from: usize,
    events: &'static [(Event, Pause)],
    phase: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    None,
    /// Until the old certificate may be removed.
    Grace,
    /// Until the proof is late.
    Deadline,
}

const RENEWED: Course = Course {
    name: "renewed",
    from: 0,
    events: &[
        (Event::Step, Pause::None),
        (Event::Request, Pause::None),
        (Event::Step, Pause::None),
        (Event::Proof, Pause::None),
        (Event::Step, Pause::None),
        (Event::Step, Pause::Grace),
    ],
    phase: "DONE",
};

const ROLLED_BACK: Course = Course {
    name: "rolled back",
    from: 3,
    events: &[
        (Event::Step, Pause::None),
        (Event::Request, Pause::None),
        (Event::Step, Pause::None),
        (Event::Step, Pause::Deadline),
    ],
    phase: "ROLLED_BACK",
};

/// One event's delivery that is disturbed.
struct Struck<'a> {
    event: usize,
    point: &'a Point,
    mode: &'a str,
}

/// Runs a course. The struck delivery comes first under its trace and then
/// again; every other one as often as it takes.
async fn run(
    cloud: &Cloud,
    course: &Course,
    light: &Light,
    struck: Option<&Struck<'_>>,
) -> Result<Vec<String>, String> {
    let mut traces = Vec::new();
    for (index, (event, pause)) in course.events.iter().enumerate() {
        wait(cloud, light, *pause).await;
        let payload = light.event(cloud, *event).await;
        let trace = trace();
        match struck.filter(|struck| struck.event == index) {
            Some(struck) => {
                let fault = faults::strike(cloud, &trace, struck.point, struck.mode).await;
                invoke(cloud, &payload, Some(&trace)).await;
                if faults::fired(cloud, fault).await != 1 {
                    return Err("the point was not passed".to_owned());
                }
                in_force(cloud, light).await?;
                delivered(cloud, &payload, false).await;
            }
            None if struck.is_some() => {
                delivered(cloud, &payload, false).await;
            }
            None => {
                let reply = invoke(cloud, &payload, Some(&trace)).await;
                let failed = reply.json()["errorType"].is_string();
                if reply.status != 200 || failed {
                    return Err(format!("{event:?}: {} {}", reply.status, reply.text));
                }
            }
        }
        in_force(cloud, light).await?;
        traces.push(trace);
    }
    match light.phase(cloud).await {
        phase if phase == course.phase => Ok(traces),
        phase => Err(format!("it ends {phase}")),
    }
}

async fn wait(cloud: &Cloud, light: &Light, pause: Pause) {
    let until = match pause {
        Pause::None => return,
        Pause::Grace => "removeAt",
        Pause::Deadline => "deadline",
    };
    let row = light.row(cloud).await;
    let until = row[until]["N"]
        .as_str()
        .unwrap_or_else(|| panic!("no {until} in {row}"));
    let until: u64 = until.parse().expect("a number");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::SystemTime::UNIX_EPOCH)
        .expect("a clock after 1970")
        .as_millis();
    let left = u128::from(until).saturating_sub(now) + 50;
    tokio::time::sleep(Duration::from_millis(u64::try_from(left).unwrap_or(1000))).await;
}

/// The certificate that the device last proved is ACTIVE and attached.
async fn in_force(cloud: &Cloud, light: &Light) -> Result<(), String> {
    let row = light.row(cloud).await;
    let proved = if row["provenAt"].is_null() {
        light.old.clone()
    } else {
        light.new_id(cloud).await
    };
    let certificate = describe(cloud, &format!("/certificates/{proved}"))
        .await
        .json();
    let active = certificate["certificateDescription"]["status"] == "ACTIVE";
    let attached = principals(cloud, &light.thing).await;
    if !active || !attached.iter().any(|arn| arn.ends_with(&proved)) {
        return Err(format!("{proved} is proved and not in force: {row}"));
    }
    if attached.len() > 2 {
        return Err(format!("{} certificates at once", attached.len()));
    }
    Ok(())
}

async fn case(
    cloud: &Cloud,
    course: &Course,
    struck: Struck<'_>,
    undisturbed: &Value,
) -> Option<String> {
    let light = Light::new(cloud).await;
    let here = format!(
        "{}: {} {} #{} in event {} of {}",
        course.name,
        struck.mode,
        struck.point.operation,
        struck.point.nth,
        struck.event,
        light.thing
    );
    if let Err(wrong) = run(cloud, course, &light, Some(&struck)).await {
        return Some(format!("{here}: {wrong}"));
    }
    let state = state_of(cloud, &light.thing).await;
    (state != *undisturbed)
        .then(|| format!("{here}: the end is {state}, undisturbed it is {undisturbed}"))
}

async fn matrix(course: &Course) {
    let cloud = &Cloud::open();
    let light = Light::new(cloud).await;
    let traces = run(cloud, course, &light, None)
        .await
        .expect("an undisturbed run");
    let undisturbed = &state_of(cloud, &light.thing).await;
    let mut points = Vec::new();
    for (event, trace) in traces.iter().enumerate().skip(course.from) {
        let calls = faults::points(cloud, trace).await;
        assert!(!calls.is_empty(), "event {event} makes no call");
        points.extend(calls.into_iter().map(|call| (event, call)));
    }
    let before = Inventory::take(cloud).await;

    let cases = CRASHES.iter().flat_map(|mode| {
        points.iter().map(move |(event, point)| Struck {
            event: *event,
            point,
            mode,
        })
    });
    let outcomes: Vec<Option<String>> = stream::iter(cases)
        .map(|struck| case(cloud, course, struck, undisturbed))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    assert_eq!(outcomes.len(), points.len() * CRASHES.len());
    let mut wrong: Vec<_> = outcomes.into_iter().flatten().collect();

    let after = Inventory::take(cloud).await;
    let things = after.things.difference(&before.things).count();
    let certificates = after.certificates.difference(&before.certificates).count();
    if certificates != things {
        wrong.push(format!(
            "{things} things came, and {certificates} certificates"
        ));
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test]
async fn a_rotation_survives_every_crash() {
    // One after the other: each counts the certificates of the whole account.
    matrix(&RENEWED).await;
    matrix(&ROLLED_BACK).await;
}
