//! What the trail tells, and how much of it at most.

use serde_json::{Value, json};

use super::{MINUTE, end_wave_telling, running, spec, tally};
use crate::rollout::tally::Tally;
use crate::rollout::trail::{self, Cause, Event, EventView, MOST_EVENTS, What};
use crate::rollout::{Change, Command, Rollout, RolloutId};
use crate::time::Moment;

/// What the end of a first wave of ten brings about, as a caller sees it.
fn check(more: Value, tally: Tally, later: u64, told: &[Value]) {
    let now = Moment(later * MINUTE);
    let mut events = Vec::new();
    end_wave_telling(running(spec(more), 10), &tally, now, &mut events);
    let seen = events.iter().map(|event| {
        let mut seen = json!(EventView::from(event));
        let fields = seen.as_object_mut().unwrap();
        assert_eq!(fields.remove("at"), Some(json!(now.rfc3339())));
        if let Some(counts) = fields.get_mut("counts").and_then(Value::as_object_mut) {
            counts.retain(|name, count| name != "targets" && *count != 0);
        }
        seen
    });
    assert_eq!(seen.collect::<Vec<_>>(), told);
}

#[test]
fn a_waves_end_and_what_follows_it() {
    let ended = |end: &str, by: &str, counts: Value| json!({"what": "waveEnded", "by": by, "wave": 1, "end": end, "counts": counts});
    let by = "the job";
    let day = 24 * 60;
    check(json!({}), tally(9, 0, 0), 1, &[]);
    let complete = ended("COMPLETE", by, json!({"succeeded": 10}));
    check(
        json!({}),
        tally(10, 0, 0),
        1,
        std::slice::from_ref(&complete),
    );
    let waits = json!({"what": "awaitsApproval", "by": by, "wave": 2});
    check(
        json!({"approval": true}),
        tally(10, 0, 0),
        1,
        &[complete, waits],
    );
    let failed = ended(
        "TOO_MANY_FAILED",
        by,
        json!({"succeeded": 3, "failed": 2, "unreached": 5}),
    );
    let reason =
        "wave 1 did not pass: too many of its devices failed: 2 of 10 failed, at most 10% may";
    check(
        json!({"mostFailedPercent": 10, "approval": true}),
        tally(3, 2, 0),
        1,
        &[
            failed.clone(),
            json!({"what": "paused", "by": by, "reason": reason}),
        ],
    );
    check(
        json!({"mostFailedPercent": 10, "onFailure": "stop"}),
        tally(3, 2, 0),
        1,
        &[
            failed,
            json!({"what": "stopped", "by": by, "reason": reason}),
        ],
    );
    let reason = "wave 1 did not pass: too many of its devices were not reached: 6 of 10 were not, at most 50% may";
    check(
        json!({"mostUnreachedPercent": 50}),
        tally(4, 0, 0),
        day,
        &[
            ended("DEADLINE", "time", json!({"succeeded": 4, "unreached": 6})),
            json!({"what": "paused", "by": by, "reason": reason}),
        ],
    );
    let reason = "wave 1 did not pass: too few of those that answered succeeded: 4 of 5 did, at least 90% must";
    check(
        json!({"mostFailedPercent": 20, "leastSucceededPercent": 90}),
        tally(4, 1, 5),
        1,
        &[
            ended(
                "COMPLETE",
                by,
                json!({"succeeded": 4, "failed": 1, "removed": 5}),
            ),
            json!({"what": "paused", "by": by, "reason": reason}),
        ],
    );
    let reason = "wave 1 did not pass: none of its devices answered: 0 of 10 did";
    check(
        json!({}),
        tally(0, 0, 0),
        day,
        &[
            ended("DEADLINE", "time", json!({"unreached": 10})),
            json!({"what": "paused", "by": by, "reason": reason}),
        ],
    );
    check(
        json!({}),
        tally(4, 0, 0),
        7 * day,
        &[
            ended("STOPPED", by, json!({"succeeded": 4, "unreached": 6})),
            json!({"what": "stopped", "by": "time", "reason": "its time was over"}),
        ],
    );
}

/// What somebody does is told once, by whom; refused or done already, it is not.
#[test]
fn what_people_do() {
    let stop = |running| Command::Stop { running };
    let mut row = running(spec(json!({})), 10);
    let mut told = Vec::new();
    for command in [
        Command::Pause,
        Command::Pause,
        Command::Resume,
        Command::Resume,
        Command::Retry,
        stop(false),
        stop(false),
        stop(true),
    ] {
        let before = row.clone();
        let done = row.obey(command, Moment(1));
        let events = trail::changed(&before, &mut row, Cause::Told(command, "ann"), Moment(1));
        let changes = matches!(done, Ok(Change::Changed | Change::Begun));
        assert_eq!(events.len(), usize::from(changes), "{command:?}");
        told.extend(events);
    }
    let numbers: Vec<_> = told.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert!(told.iter().all(|(_, event)| event.by == "ann"));
    let told: Vec<_> = told.into_iter().map(|(_, event)| event.what).collect();
    let expected = [
        What::Paused { reason: None },
        What::Resumed,
        What::Cancelled { running: false },
        What::Cancelled { running: true },
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_trail_begins_with_who_asked_and_is_bounded() {
    let mut row = Rollout::start(RolloutId::from_key("a"), spec(json!({})), Moment(7));
    let asked = trail::asked(&mut row, "ann");
    let told = json!({"at": 7, "what": "asked", "by": "ann"});
    assert_eq!(json!(asked), json!([[1, told]]));

    let mut before = running(spec(json!({})), 10);
    before.trail = row.trail;
    let wave_ends = |from: &Rollout| {
        let mut after = from.clone();
        after.wave = None;
        let told = trail::changed(from, &mut after, Cause::Course(&tally(9, 1, 0)), Moment(9));
        (told, after.trail)
    };
    let mut stored = Vec::new();
    for _ in 0..MOST_EVENTS {
        let (told, trail) = wave_ends(&before);
        (before.trail, stored) = (trail, [stored, told].concat());
    }
    assert_eq!((stored.len(), before.trail.untold), (399, 101));
    for _ in 0..MOST_EVENTS {
        let mut after = before.clone();
        after.wants_pause = true;
        let cause = Cause::Told(Command::Pause, "ann");
        stored.extend(trail::changed(&before, &mut after, cause, Moment(9)));
        before.trail = after.trail;
    }
    assert_eq!(stored.last().unwrap().0, MOST_EVENTS);
    assert_eq!((stored.len(), before.trail.untold), (499, 501));
    let written = serde_json::to_string(&stored[0].1).unwrap();
    assert_eq!(
        serde_json::from_str::<Event>(&written).unwrap(),
        stored[0].1
    );
}

/// A row of before there was a trail has none, and goes on with one.
#[test]
fn a_row_without_a_trail_is_read() {
    let row = running(spec(json!({})), 10);
    let mut old = json!(row);
    assert!(old.as_object_mut().unwrap().remove("trail").is_some());
    assert!(
        old["wave"]
            .as_object_mut()
            .unwrap()
            .remove("late")
            .is_some()
    );
    assert_eq!(serde_json::from_value::<Rollout>(old).unwrap(), row);
}
