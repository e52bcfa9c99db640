//! The function is stopped before and after every call of every step of a
//! rotation, and loses every reply; delivered again, the rotation comes to the
//! same end, and at no moment is the certificate that the device last proved
//! out of force (invariants 1, 2, 3 and 6). The calls are those of recorded
//! runs.

use futures_util::StreamExt as _;
use futures_util::stream;
use lamplighter_tests::cloud::Cloud;
use lamplighter_tests::faults::CRASHES;
use lamplighter_tests::inventory::{Ended, Inventory, differing, state_of};
use lamplighter_tests::rotation::course::{
    Course, HANDED_OUT, HANDED_OUT_IN_VAIN, HANDED_OUT_TOO_LATE, JOB_IN_VAIN, Mode, RENEWED,
    RENEWED_BY_JOB, ROLLED_BACK, Recorded, Round,
};

/// Most of a case is waiting for the lease of the process that was stopped.
const AT_ONCE: usize = 12;

async fn case(cloud: &Cloud, course: &Course, round: &Round, mode: Mode) -> Result<Ended, String> {
    let light = course.light(cloud).await;
    let case = format!(
        "{}: {} {round:?} of {}",
        course.name, mode.name, light.thing
    );
    match course.run(cloud, &light, round, mode).await {
        Ok(_) => Ok(Ended {
            case,
            thing: light.thing,
        }),
        Err(wrong) => Err(format!("{case}: {wrong}")),
    }
}

/// What is wrong.
async fn matrix(cloud: &Cloud, course: &Course, key_versions: usize) -> Vec<String> {
    let Recorded { light, rounds, .. } = &course.record(cloud).await;
    let undisturbed = state_of(cloud, &light.thing).await;
    assert_eq!(undisturbed["keyVersions"], key_versions, "{undisturbed}");
    assert_eq!(undisturbed["jobs"], 0, "{undisturbed}");

    let modes = CRASHES.map(|name| Mode { name, times: 1 });
    let cases = modes
        .iter()
        .flat_map(|mode| rounds.iter().map(|round| case(cloud, course, round, *mode)));
    let outcomes: Vec<_> = stream::iter(cases)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let (ended, wrong): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    let mut wrong: Vec<_> = wrong.into_iter().filter_map(Result::err).collect();
    let ended = ended.into_iter().filter_map(Result::ok);
    wrong.extend(differing(cloud, ended, &undisturbed).await);
    wrong
}

#[tokio::test]
async fn a_rotation_survives_every_crash() {
    let cloud = &Cloud::open();
    let before = Inventory::take(cloud).await;
    // No key is left in custody but that of the certificate that is in force.
    let found = tokio::join!(
        matrix(cloud, &RENEWED, 0),
        matrix(cloud, &ROLLED_BACK, 0),
        matrix(cloud, &HANDED_OUT, 0),
        matrix(cloud, &HANDED_OUT_IN_VAIN, 1),
        matrix(cloud, &HANDED_OUT_TOO_LATE, 1),
        matrix(cloud, &RENEWED_BY_JOB, 0),
        matrix(cloud, &JOB_IN_VAIN, 0),
    );
    let mut wrong = [
        found.0, found.1, found.2, found.3, found.4, found.5, found.6,
    ]
    .concat();

    let after = Inventory::take(cloud).await;
    wrong.extend(after.unmatched_since(&before));
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
