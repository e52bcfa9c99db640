//! What comes after a wave's end, and who lets the next begin.

use serde_json::{Value, json};

use super::{MINUTE, end_wave, end_wave_telling, running, spec, tally};
use crate::rollout::tally::{Fault, Tally};
use crate::rollout::trail::{self, Cause, What};
use crate::rollout::view::RolloutView;
use crate::rollout::{Command, Next, Phase, Reason, Rollout};
use crate::time::Moment;

const NOW: Moment = Moment(24 * 60 * MINUTE);

fn begun(in_progress: u64, tally: Tally) -> Tally {
    Tally {
        in_progress,
        ..tally
    }
}

/// A first wave of ten that has ended, by its deadline or by somebody's pause,
/// with these counts.
fn ended(more: Value, pause: bool, tally: &Tally) -> Rollout {
    let mut row = running(spec(more), 10);
    if pause {
        row.obey(Command::Pause, NOW).unwrap();
    }
    let now = if pause { Moment(MINUTE) } else { NOW };
    let row = end_wave(row, tally, now);
    let paused = pause.then_some(Reason::Operator);
    assert_eq!((row.phase, &row.paused), (Phase::Between, &paused));
    row
}

fn check(pause: bool, then: Tally, later: Tally, fault: Option<Fault>) {
    let more =
        json!({"mostFailedPercent": 10, "leastSucceededPercent": 80, "mostUnreachedPercent": 50});
    let mut row = ended(more.clone(), pause, &then);
    // Nothing is judged while somebody has it rest.
    row = row.settle(&later, 0, NOW);
    if pause {
        assert_eq!(row.paused, Some(Reason::Operator), "{later:?}");
        row.obey(Command::Resume, NOW).unwrap();
    }
    let begins = row.not_before.max(NOW);
    let mut row = row.settle(&later, 0, begins);
    let paused = fault.map(|fault| Reason::Wave(1, fault));
    assert_eq!(row.paused, paused, "{then:?} {later:?}");
    if fault.is_some() {
        assert_eq!(row.phase, Phase::Between);
        row.obey(Command::Resume, begins).unwrap();
        row = row.settle(&later, 0, begins);
    }
    assert_eq!(row.phase, Phase::Filling, "who has seen it goes on");

    let stop = json!({"onFailure": "stop", "mostFailedPercent": 10, "leastSucceededPercent": 80, "mostUnreachedPercent": 50});
    let mut row = ended(stop, pause, &then);
    row.obey(Command::Resume, NOW).unwrap();
    let row = row.settle(&later, 0, begins);
    assert_eq!(row.phase == Phase::Stopped, fault.is_some(), "{later:?}");
    let stopped = fault.map(|fault| Reason::Wave(1, fault));
    assert_eq!(row.stopped, stopped);
}

#[test]
fn who_fails_after_its_wave_is_counted_before_the_next() {
    let five = || begun(5, tally(5, 0, 0));
    let too_many = Some(Fault::TooManyFailed);
    for pause in [false, true] {
        check(pause, five(), five(), None);
        check(pause, five(), tally(10, 0, 0), None);
        check(pause, five(), begun(4, tally(5, 1, 0)), None);
        check(pause, five(), begun(3, tally(5, 2, 0)), too_many);
        // Whoever says that it is done has time for its shadow.
        let unconfirmed = Tally {
            unconfirmed: 5,
            ..tally(5, 0, 0)
        };
        check(pause, five(), unconfirmed, None);
    }
    // Nobody expects a wave that was broken off to be done.
    check(true, begun(2, tally(0, 0, 0)), tally(0, 1, 0), None);
    check(true, begun(2, tally(0, 0, 0)), tally(0, 2, 0), too_many);
    let few = Some(Fault::TooFewSucceeded);
    let most = begun(1, tally(4, 0, 5));
    check(false, most, tally(3, 1, 6), few);
}

/// A fault that shows later is told like one at the end; and who waits is woken.
#[test]
fn a_fault_that_shows_later_is_told_with_its_figures() {
    let then = begun(5, tally(5, 0, 0));
    let row = ended(json!({"mostFailedPercent": 10}), false, &then);
    let Next::Wait(until) = row.next(NOW) else {
        panic!("{row:?}");
    };
    let row = row.release(Some(until));
    assert!(!row.due(&then, 0, NOW));
    let later = Tally {
        unconfirmed: 1,
        ..begun(2, tally(5, 2, 0))
    };
    assert!(row.due(&later, 0, NOW));
    let mut told = Vec::new();
    end_wave_telling(row, &later, NOW, &mut told);
    let reason =
        "wave 1 did not pass: too many of its devices failed: 2 of 10 failed, at most 10% may";
    let told: Vec<_> = told.into_iter().map(|event| event.what).collect();
    let reason = Some(reason.to_owned());
    assert_eq!(told, [What::Paused { reason }]);
}

/// What the trail tells of a command, and how the rollout stands then.
fn told(row: &mut Rollout, command: Command) -> (Vec<What>, &'static str) {
    let before = row.clone();
    row.obey(command, NOW).unwrap();
    let told = trail::changed(&before, row, Cause::Told(command, "ann"), NOW);
    let told = told.into_iter().map(|(_, event)| event.what).collect();
    (told, row.status())
}

#[test]
fn nobody_approves_by_a_resume_or_a_retry() {
    let waits = || (What::AwaitsApproval { wave: 2 }, "AWAITING_APPROVAL");
    let after = |what, (waits, status)| (vec![what, waits], status);
    let approval = || running(spec(json!({"approval": true})), 10);

    let mut row = end_wave(approval(), &tally(10, 0, 0), NOW);
    assert_eq!(row.status(), "AWAITING_APPROVAL");
    row.obey(Command::Pause, NOW).unwrap();
    let mut row = row.settle(&tally(10, 0, 0), 0, NOW);
    let resumed = after(What::Resumed, waits());
    assert_eq!(told(&mut row, Command::Resume), resumed);
    // What was approved stays so.
    row.obey(Command::Approve(2), NOW).unwrap();
    row.obey(Command::Pause, NOW).unwrap();
    assert_eq!(told(&mut row, Command::Resume).1, "RUNNING");

    let mut row = end_wave(approval(), &tally(5, 5, 0), NOW);
    assert_eq!(row.status(), "PAUSED");
    assert_eq!(told(&mut row, Command::Resume), resumed);
    let mut row = approval();
    row.obey(Command::Stop { running: false }, NOW).unwrap();
    let mut row = end_wave(row, &tally(5, 0, 0), NOW);
    let retried = after(What::Retried, waits());
    assert_eq!(told(&mut row, Command::Retry), retried);

    // A wave that was broken off has its approval, unless all had their turn.
    for (tally, status) in [
        (begun(8, tally(1, 0, 0)), "RUNNING"),
        (begun(9, tally(1, 0, 0)), "AWAITING_APPROVAL"),
    ] {
        let mut row = approval();
        row.obey(Command::Pause, NOW).unwrap();
        let mut row = end_wave(row, &tally, Moment(MINUTE));
        assert_eq!(told(&mut row, Command::Resume).1, status, "{tally:?}");
    }
}

#[test]
fn what_is_paused_is_not_retried() {
    for settled in [false, true] {
        let mut row = running(spec(json!({})), 10);
        row.obey(Command::Pause, NOW).unwrap();
        if settled {
            row = end_wave(row, &tally(5, 0, 0), NOW);
        }
        let refused = row.obey(Command::Retry, NOW).unwrap_err();
        let told = json!(refused).to_string();
        assert!(told.contains("a job that is paused cannot be retried"));
        assert!(told.contains("Resume or cancel it first."), "{told}");
    }
}

#[test]
fn who_has_begun_was_reached() {
    let counts = begun(3, tally(5, 0, 0));
    let mut row = running(spec(json!({})), 10);
    row.obey(Command::Pause, NOW).unwrap();
    let mut events = Vec::new();
    let row = end_wave_telling(row, &counts, Moment(MINUTE), &mut events);
    let seen = json!(RolloutView::new(&row, &counts, &counts, Vec::new(), NOW));
    for counts in [&seen["counts"], &json!(events[0].what)["counts"]] {
        let found = (&counts["inProgress"], &counts["unreached"]);
        assert_eq!(found, (&json!(3), &json!(2)), "{counts}");
    }
    // They have not answered all the same.
    let spec = spec(json!({"mostUnreachedPercent": 40}));
    let silent = counts.fault(10, &spec);
    assert_eq!(silent, Some(Fault::TooManyUnreached));
    assert_eq!(
        Fault::TooManyUnreached.figures(&counts, 10, &spec),
        "2 of 10 were not and 3 have only begun, at most 40% may"
    );
}
