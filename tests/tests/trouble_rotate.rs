//! Every call of a rotation is throttled, fails, is reset, is answered too late
//! or never; the rotation comes to the same end, Lambda has to end no invocation,
//! and repetition does not multiply the calls (invariants 1, 2, 3 and 6).

use std::collections::BTreeMap;

use futures_util::StreamExt as _;
use futures_util::stream;
use lamplighter_tests::cloud::Cloud;
use lamplighter_tests::inventory::{Ended, differing, state_of};
use lamplighter_tests::rotation::course::{
    Course, HANDED_OUT, Mode, RENEWED, ROLLED_BACK, Recorded, Round,
};
use tokio::sync::Semaphore;

/// Most of a case is waiting for answers that do not come.
const AT_ONCE: usize = 48;
/// Not so the creation of its light: too many at once, and some run out of time,
/// are undone, and leave an operation more behind.
static CREATING: Semaphore = Semaphore::const_new(6);

/// One bad answer, which the SDK repeats, and bad answers until it gives up.
/// Those that take longest begin.
const MODES: [Mode; 6] = [
    trouble("never", 3),
    trouble("late", 1),
    trouble("error", 3),
    trouble("throttle", 1),
    trouble("error", 1),
    trouble("reset", 1),
];

/// How many calls are made for each call of an undisturbed run, when each event
/// has met one bad answer.
const MOST_AMPLIFIED: f64 = 1.3;

const fn trouble(name: &'static str, times: u64) -> Mode {
    Mode { name, times }
}

/// A run and what it came to: with how many calls, or why not.
struct Outcome {
    mode: Mode,
    came_to: Result<(Ended, usize), String>,
}

async fn case(cloud: &Cloud, course: &Course, round: &Round, mode: Mode) -> Outcome {
    let permit = CREATING.acquire().await;
    let light = course.light(cloud).await;
    drop(permit);
    let case = format!("{}: {mode:?} {round:?} of {}", course.name, light.thing);
    let came_to = match course.run(cloud, &light, round, mode).await {
        Ok(calls) => Ok((
            Ended {
                case,
                thing: light.thing,
            },
            calls,
        )),
        Err(wrong) => Err(format!("{case}: {wrong}")),
    };
    Outcome { mode, came_to }
}

/// What is wrong.
async fn matrix(cloud: &Cloud, course: &Course) -> Vec<String> {
    let Recorded {
        light,
        calls: usual,
        rounds,
    } = &course.record(cloud).await;
    let undisturbed = state_of(cloud, &light.thing).await;
    let cases = MODES
        .iter()
        .flat_map(|mode| rounds.iter().map(|round| case(cloud, course, round, *mode)));
    let outcomes: Vec<_> = stream::iter(cases)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;

    let (mut wrong, mut ended) = (Vec::new(), Vec::new());
    let mut calls = BTreeMap::<_, (usize, usize)>::new();
    for Outcome { mode, came_to } in outcomes {
        match came_to {
            Ok((end, made)) => {
                ended.push(end);
                let sum = calls.entry((mode.name, mode.times)).or_default();
                *sum = (sum.0 + made, sum.1 + usual);
            }
            Err(what) => wrong.push(what),
        }
    }
    wrong.extend(differing(cloud, ended, &undisturbed).await);
    let once = calls
        .into_iter()
        .filter(|((name, times), _)| *times == 1 && *name != "late");
    for (mode, (made, undisturbed)) in once {
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let amplified = made as f64 / undisturbed as f64;
        if amplified > MOST_AMPLIFIED {
            wrong.push(format!(
                "{}: {mode:?}: {amplified:.2} calls for each",
                course.name
            ));
        }
    }
    wrong
}

#[tokio::test]
async fn a_rotation_survives_every_trouble() {
    let cloud = &Cloud::open();
    let (mut wrong, rolled_back, handed_out) = tokio::join!(
        matrix(cloud, &RENEWED),
        matrix(cloud, &ROLLED_BACK),
        matrix(cloud, &HANDED_OUT)
    );
    wrong.extend(rolled_back.into_iter().chain(handed_out));
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}
