//! Until when the workflow waits, and what wakes it before.

use serde_json::json;

use super::{MINUTE, end_wave, running, spec, tally};
use crate::rollout::{Command, Next, Rollout, waiting};
use crate::time::{DAY_MILLIS, Moment};

#[test]
fn a_wait_is_a_second_at_least_and_a_day_at_most() {
    let now = Moment(5 * MINUTE);
    for (later, seconds) in [
        (0, 1),
        (1, 1),
        (1001, 2),
        (MINUTE, 60),
        (DAY_MILLIS, 86_400),
        (DAY_MILLIS + 1, 86_400),
        (u64::MAX - now.0, 86_400),
    ] {
        let until = now.plus_millis(later);
        assert_eq!(waiting::seconds(now, until), seconds, "{later}");
    }
    assert_eq!(waiting::seconds(now, Moment(0)), 1);
}

/// A rollout that follows its group, at rest after its last wave.
fn following(now: Moment) -> Rollout {
    let spec = spec(json!({"lateJoinersPerMinute": 2}));
    let mut row = running(spec, 100);
    row.listed = 100;
    end_wave(row, &tally(100, 0, 0), now)
}

#[test]
fn what_comes_earlier_than_was_told_wakes() {
    let now = Moment(10 * MINUTE);
    let row = following(now);
    let told = |row: &Rollout, until| row.clone().release(Some(waiting::told(now, until)));
    let Next::Wait(until) = row.next(now) else {
        panic!("{row:?}");
    };
    let waits = told(&row, until);
    let none = tally(100, 0, 0);
    // Who joins while the rollout rests is told when it has rested.
    let later = now.plus_millis(MINUTE / 2);
    assert!(row.not_before > later);
    assert!(!waits.due(&none, 0, later), "nothing has come");
    assert!(waits.due(&none, 1, later), "somebody has joined");
    let knows = told(&row, row.not_before);
    assert!(!knows.due(&none, 1, later), "it wakes for them anyway");
    assert!(knows.due(&none, 1, row.not_before), "it is time");
    assert!(
        row.clone().release(None).due(&none, 0, later),
        "nobody knows"
    );
    let mut stops = waits.clone();
    stops.obey(Command::Stop { running: false }, later).unwrap();
    assert!(stops.due(&none, 0, later));
    let taken_up = waits.lease(later, later.plus_millis(MINUTE)).unwrap();
    assert_eq!(taken_up.waits_until, None);
}
