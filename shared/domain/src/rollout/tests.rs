//! The rollout's decisions as data, and what holds for any order of events.

mod device;
mod group;
mod judging;
mod leaving;
mod million;
mod order;
mod spec;
mod trail;
mod waiting;

use serde_json::{Value, json};

use super::execution::{Heard, Report, Status};
use super::spec::Spec;
use super::tally::{Fault, Tally};
use super::trail::{Cause, Event, changed};
use super::wave::Cursor;
use super::*;
use crate::names::ThingName;

const MINUTE: u64 = 60_000;

fn spec(more: Value) -> Spec {
    let mut sent = json!({"waves": [2, "10%"]});
    for (name, value) in more.as_object().unwrap() {
        sent[name] = value.clone();
    }
    Spec::read("rollout", sent).unwrap()
}

fn thing(n: u64) -> ThingName {
    ThingName::parse(&format!("light-{n}")).unwrap()
}

/// A rollout whose first wave, of this size, runs.
fn running(spec: Spec, size: u64) -> Rollout {
    let now = Moment(0);
    let start = Rollout::start(RolloutId::from_key("a"), spec, now);
    let row = start
        .listed(100, None, true, now)
        .settle(&Tally::default(), 0, now);
    assert_eq!(row.phase, Phase::Filling);
    let taken = Taken {
        looked_at: size,
        taken: size,
        first: size,
        last: Some(Cursor("A".to_owned())),
        end: true,
        ..Taken::default()
    };
    let row = row.took(&taken).settle(&Tally::default(), 0, now);
    let row = row.job_intended().job_made(now);
    assert_eq!(row.phase, Phase::Running);
    row
}

/// Does the work of a wave's end, until the rollout stands elsewhere.
fn end_wave(row: Rollout, tally: &Tally, now: Moment) -> Rollout {
    end_wave_telling(row, tally, now, &mut Vec::new())
}

fn end_wave_telling(
    mut row: Rollout,
    tally: &Tally,
    now: Moment,
    told: &mut Vec<Event>,
) -> Rollout {
    for _ in 0..5 {
        let before = row.clone();
        row = row.settle(tally, 0, now);
        let events = changed(&before, &mut row, Cause::Course(tally), now);
        told.extend(events.into_iter().map(|(_, event)| event));
        row = match row.next(now) {
            Next::Do(Work::Cancel(..)) => row.canceled(),
            Next::Do(Work::CancelBegun(from)) => row.forced(from),
            Next::Do(Work::Recheck(_)) => row.rechecked(),
            Next::Do(Work::RemoveGroup(_)) => row.group_removed(),
            _ => return row,
        };
    }
    row
}

fn report(status: Status, execution: u64) -> Heard {
    Heard::Report(1, Report::new(status, execution, Moment(execution), ""))
}

fn tally(succeeded: u64, failed: u64, removed: u64) -> Tally {
    Tally {
        succeeded,
        failed,
        removed,
        ..Tally::default()
    }
}

#[test]
fn how_a_wave_is_judged() {
    let spec = spec(
        json!({"mostFailedPercent": 10, "leastSucceededPercent": 80, "mostUnreachedPercent": 50}),
    );
    for (tally, size, fault) in [
        (tally(10, 0, 0), 10, None),
        (tally(9, 1, 0), 10, None),
        (tally(8, 2, 0), 10, Some(Fault::TooManyFailed)),
        (tally(5, 0, 0), 10, None),
        (tally(4, 0, 0), 10, Some(Fault::TooManyUnreached)),
        (tally(4, 0, 6), 10, None),
        (tally(3, 1, 6), 10, Some(Fault::TooFewSucceeded)),
        (tally(0, 0, 0), 10, Some(Fault::NobodyAnswered)),
        (tally(0, 0, 10), 10, Some(Fault::NobodyAnswered)),
        (tally(0, 0, 0), 0, None),
        (
            Tally {
                unconfirmed: 2,
                ..tally(8, 0, 0)
            },
            10,
            Some(Fault::TooManyFailed),
        ),
        (
            Tally {
                canceled: 6,
                ..tally(4, 0, 0)
            },
            10,
            Some(Fault::TooManyUnreached),
        ),
    ] {
        assert_eq!(tally.fault(size, &spec), fault, "{tally:?} of {size}");
    }
}

fn check_end(more: Value, tally: Tally, later: u64, phase: Phase, paused: Option<Reason>) {
    let now = Moment(later * MINUTE);
    let row = end_wave(running(spec(more.clone()), 10), &tally, now);
    assert_eq!(
        (row.phase, &row.paused),
        (phase, &paused),
        "{more} {tally:?}: {row:?}"
    );
}

#[test]
fn what_follows_a_wave() {
    let wave = |fault| Some(Reason::Wave(1, fault));
    let deadline = 24 * 60;
    check_end(json!({}), tally(9, 0, 0), 1, Phase::Running, None);
    check_end(json!({}), tally(10, 0, 0), 1, Phase::Between, None);
    check_end(json!({}), tally(9, 0, 1), 1, Phase::Between, None);
    check_end(
        json!({}),
        tally(0, 1, 0),
        1,
        Phase::Between,
        wave(Fault::TooManyFailed),
    );
    check_end(
        json!({}),
        tally(0, 0, 10),
        1,
        Phase::Between,
        wave(Fault::NobodyAnswered),
    );
    check_end(json!({}), tally(9, 0, 0), deadline, Phase::Between, None);
    check_end(
        json!({}),
        tally(0, 0, 0),
        deadline,
        Phase::Between,
        wave(Fault::NobodyAnswered),
    );
    check_end(
        json!({"onFailure": "stop"}),
        tally(0, 1, 0),
        1,
        Phase::Stopped,
        None,
    );
    check_end(json!({}), tally(0, 0, 0), 7 * 24 * 60, Phase::Stopped, None);
}

#[test]
fn a_job_that_somebody_cancelled_is_noticed() {
    let row = running(spec(json!({})), 10);
    let seen = |standing, ended| Described { standing, ended };
    let now = Moment(16 * MINUTE);
    let none = Tally::default();
    assert_eq!(
        row.next(now),
        Next::Do(Work::Describe(row.rollout_id.of_wave(1)))
    );

    let row = row.described(seen(Standing::Open, 3), &none, now);
    assert!(
        matches!(row.next(now), Next::Do(Work::Recheck(_))),
        "events were lost"
    );
    let row = row.rechecked();
    assert!(matches!(row.next(now), Next::Wait(_)));
    assert_eq!(row.clone().look_at_job(2, now).next(now), row.next(now));
    let looks = row.clone().look_at_job(1, now);
    assert!(matches!(looks.next(now), Next::Do(Work::Describe(_))));

    let canceled = end_wave(
        row.clone()
            .described(seen(Standing::Canceled, 10), &none, now),
        &none,
        now,
    );
    assert_eq!(canceled.paused, Some(Reason::CanceledOutside(1)));
    assert_eq!(
        canceled.cursor, None,
        "who had no turn has one when it goes on"
    );

    // Their events come first: nothing is judged before the job is looked at.
    let all = Tally {
        canceled: 10,
        ..Tally::default()
    };
    let row = row.settle(&all, 0, now);
    assert_eq!(row.phase, Phase::Running);
    assert!(matches!(row.next(now), Next::Do(Work::Describe(_))));
    let canceled = end_wave(
        row.clone()
            .described(seen(Standing::Canceled, 10), &all, now),
        &all,
        now,
    );
    assert_eq!(canceled.paused, Some(Reason::CanceledOutside(1)));
    // One that was cancelled alone leaves the job as it is.
    let open = row.clone().described(seen(Standing::Open, 10), &all, now);
    let open = open.settle(&all, 0, now);
    assert!(
        matches!(open.next(now), Next::Wait(_)),
        "it is looked at once"
    );
    let over = end_wave(
        open.described(seen(Standing::Completed, 10), &all, now),
        &all,
        now,
    );
    assert_eq!(over.paused, Some(Reason::Wave(1, Fault::NobodyAnswered)));

    // A group that was emptied: the job is over, and nobody has answered.
    let emptied = row
        .described(seen(Standing::Completed, 0), &none, now)
        .rechecked();
    let emptied = end_wave(emptied, &none, now);
    assert_eq!(emptied.paused, Some(Reason::Wave(1, Fault::NobodyAnswered)));
}

#[test]
fn commands() {
    let now = Moment(MINUTE);
    let mut row = running(spec(json!({"approval": true})), 10);
    assert_eq!(row.obey(Command::Resume, now).unwrap(), Change::None);
    assert!(row.obey(Command::Retry, now).is_err());
    assert_eq!(row.obey(Command::Pause, now).unwrap(), Change::Changed);
    assert_eq!(row.obey(Command::Pause, now).unwrap(), Change::None);
    let mut row = end_wave(row, &tally(2, 0, 0), now);
    assert_eq!(
        (row.phase, &row.paused),
        (Phase::Between, &Some(Reason::Operator))
    );
    assert_eq!(row.next(now), Next::AwaitOperator(row.ends_at));
    assert_eq!(row.obey(Command::Resume, now).unwrap(), Change::Changed);
    assert_eq!((row.looked_at, row.again.interrupted), (0, Some(1)));
    let rest = row.not_before;
    assert_eq!(row.next(now), Next::Wait(rest), "a minute passes first");
    assert_eq!(rest, now.plus_millis(MINUTE));

    let mut row = end_wave(
        running(spec(json!({"approval": true})), 10),
        &tally(10, 0, 0),
        now,
    );
    assert!(row.awaits_approval());
    assert!(row.obey(Command::Approve(3), now).is_err());
    assert_eq!(row.obey(Command::Approve(2), now).unwrap(), Change::Changed);
    assert_eq!(row.obey(Command::Approve(2), now).unwrap(), Change::None);
    assert!(!row.awaits_approval());
    for phase in [Phase::Done, Phase::Stopped] {
        row.phase = phase;
        assert_eq!(row.obey(Command::Approve(2), now).unwrap(), Change::None);
        assert!(
            row.obey(Command::Approve(1), now).is_err(),
            "it began by itself"
        );
        assert!(row.obey(Command::Approve(3), now).is_err());
        row.spec.approval = false;
        assert!(row.obey(Command::Approve(2), now).is_err(), "nobody had to");
        row.spec.approval = true;
    }

    let stop = |running| Command::Stop { running };
    let mut row = running(spec(json!({})), 10);
    assert_eq!(row.obey(stop(false), now).unwrap(), Change::Changed);
    assert_eq!(row.obey(stop(false), now).unwrap(), Change::None);
    assert_eq!(row.obey(stop(true), now).unwrap(), Change::Changed);
    let closing = row.clone().settle(&Tally::default(), 0, now);
    let job = row.rollout_id.of_wave(1);
    assert_eq!(closing.next(now), Next::Do(Work::Cancel(job, Force(true))));
    let mut row = end_wave(row, &Tally::default(), now);
    assert_eq!(
        (row.phase, &row.stopped),
        (Phase::Stopped, &Some(Reason::Operator))
    );
    assert_eq!(row.obey(stop(false), now).unwrap(), Change::None);
    assert_eq!(row.obey(stop(true), now).unwrap(), Change::None);
    assert!(row.obey(Command::Resume, now).is_err());
    assert_eq!(row.obey(Command::Retry, now).unwrap(), Change::Begun);
    assert_eq!(row.obey(Command::Retry, now).unwrap(), Change::None);
    assert_eq!((row.cursor, row.again.failed_up_to), (None, Some(1)));
}

/// What is stored is what is read; and what a list says, which gives no reason,
/// does not take a reason away.
/// A page's token is AWS's for one job, and what was read before a wave's end may
/// have changed by its job's cancelling.
#[test]
fn a_reading_of_executions_ends_with_what_it_was_for() {
    let now = Moment(MINUTE);
    let row = running(spec(json!({})), 300);
    let heard = row.clone().look_at_job(1, now);
    assert!(heard.reads_on(&row));
    let mut stopped = row.clone();
    stopped.obey(Command::Stop { running: false }, now).unwrap();
    let closing = stopped.clone().settle(&Tally::default(), 0, now);
    let canceled = closing.clone().canceled();
    let read = canceled.clone().rechecked();
    for (before, after) in [(&row, &closing), (&closing, &canceled)] {
        assert!(!after.reads_on(before), "{after:?}");
    }
    assert!(read.reads_on(&canceled));
    let mut next = row.clone();
    next.wave.as_mut().unwrap().number += 1;
    assert!(!next.reads_on(&row));
}

#[test]
fn rows_are_read_as_they_are_written() {
    let row = running(spec(json!({"startAt": 0, "lateJoinersPerMinute": 2})), 10);
    let mut paused = end_wave(row.clone(), &tally(0, 10, 0), Moment(MINUTE));
    paused.stopped = Some(Reason::OutOfTime);
    for row in [row, paused] {
        let stored = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Rollout>(&stored).unwrap(), row);
    }
    let said = Report::new(Status::Failed, 1, Moment(5), "E1");
    let listed = Report::new(Status::Failed, 1, Moment(9), "");
    assert!(said > listed);
    let stored = serde_json::to_string(&said).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&stored).unwrap(), said);
}
