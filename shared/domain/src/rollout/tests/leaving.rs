//! Who has left the targets when a wave comes to them, and who waited when the
//! rollout was stopped.

use serde_json::json;

use super::{MINUTE, end_wave, running, spec, tally, thing};
use crate::rollout::execution::{Again, Class, Execution, Report, Status, Take};
use crate::rollout::tally::Tally;
use crate::rollout::view::RolloutView;
use crate::rollout::wave::Cursor;
use crate::rollout::{Change, Command, Next, Phase, Rollout, RolloutId, Taken, Work};
use crate::time::Moment;

fn check(row: Option<&Execution>, again: &Again, counted: Option<&[(u32, Class, Class)]>) {
    let spec = spec(json!({}));
    let take = Execution::take(row, &thing(1), 9, again, &spec).without();
    let deltas = match &take {
        Take::Left(left, deltas) => {
            assert_eq!(left.class(&spec), Class::Left);
            let seen = Execution::take(Some(left), &thing(1), 9, again, &spec);
            assert_eq!(seen, Take::Known, "the same page again");
            let deltas = deltas
                .iter()
                .map(|delta| (delta.wave, delta.from, delta.to));
            Some(deltas.collect::<Vec<_>>())
        }
        _ => None,
    };
    assert_eq!(deltas.as_deref(), counted, "{row:?} {take:?}");
}

#[test]
fn who_has_left_is_counted_once_and_never_taken() {
    let row = |wave, status: Option<Status>, left| Execution {
        report: status.map(|status| Report::new(status, 1, Moment(1), "")),
        left,
        ..Execution::new(&thing(1), wave, 1)
    };
    let fresh = Again::default();
    let failed = Again {
        failed_up_to: Some(8),
        ..Again::default()
    };
    let left = (9, Class::Queued, Class::Left);
    check(None, &fresh, Some(&[left]));
    let failure = row(8, Some(Status::Failed), false);
    check(Some(&failure), &fresh, None);
    let retried = (8, Class::Failed, Class::Retried);
    check(Some(&failure), &failed, Some(&[retried, left]));
    // Who has a job keeps it.
    check(Some(&row(9, None, false)), &fresh, None);
    check(Some(&row(8, Some(Status::Succeeded), false)), &failed, None);
    // A retry looks whether it has come back.
    let gone = row(8, None, true);
    check(Some(&gone), &fresh, None);
    let again = (8, Class::Left, Class::Retried);
    check(Some(&gone), &failed, Some(&[again, left]));
}

/// A group that was emptied between its waves: nobody is told, nobody is asked.
#[test]
fn an_emptied_group_ends() {
    let now = Moment(MINUTE);
    let mut row = end_wave(running(spec(json!({})), 2), &tally(2, 0, 0), now);
    let first = tally(2, 0, 0);
    let mut totals = first;
    let mut at = row.not_before;
    loop {
        let counted = if row.counted() == Some(1) {
            first
        } else {
            Tally::default()
        };
        row = row.settle(&counted, 0, at);
        let Next::Do(Work::Take(taking)) = row.next(at) else {
            break;
        };
        let looked_at = taking.most.min(100 - row.looked_at);
        totals.left += looked_at;
        let end = row.looked_at + looked_at == 100;
        row = row.took(&Taken {
            looked_at,
            taken: 0,
            late: 0,
            first: looked_at,
            last: Some(Cursor("Z".to_owned())),
            end,
        });
        at = at.plus_millis(1);
    }
    row = end_wave(row, &Tally::default(), at);
    assert_eq!((row.phase, &row.paused), (Phase::Done, &None), "{row:?}");
    let view = RolloutView::new(&row, &totals, &Tally::default(), Vec::new(), at);
    let seen = json!(view);
    assert_eq!(
        (&seen["counts"]["left"], &seen["counts"]["unreached"]),
        (&json!(98), &json!(0))
    );
    assert_eq!(seen["percentSettled"], 100);
}

/// Nobody has a place in a wave long before it begins.
#[test]
fn a_wave_takes_its_devices_when_it_may_begin() {
    let spec = spec(json!({"startAt": 600 * MINUTE}));
    let start = Rollout::start(RolloutId::from_key("a"), spec, Moment(0));
    let row = start.listed(5, None, true, Moment(0));
    let row = row.settle(&Tally::default(), 0, Moment(0));
    let begins = Moment(600 * MINUTE);
    assert_eq!(
        (row.phase, row.next(Moment(0))),
        (Phase::Between, Next::Wait(begins))
    );
    assert_eq!(
        row.settle(&Tally::default(), 0, begins).phase,
        Phase::Filling
    );
}

#[test]
fn a_retry_of_what_was_stopped_comes_to_all() {
    let now = Moment(MINUTE);
    let stop = Command::Stop { running: true };
    let mut row = running(spec(json!({})), 2);
    row.obey(stop, now).unwrap();
    let mut row = end_wave(
        row,
        &Tally {
            canceled: 2,
            ..Tally::default()
        },
        now,
    );
    assert_eq!(row.phase, Phase::Stopped);
    assert_eq!(row.obey(Command::Retry, now).unwrap(), Change::Begun);
    let row = row.settle(&Tally::default(), 0, now.plus_millis(MINUTE));
    let Next::Do(Work::Take(taking)) = row.next(now) else {
        panic!("{row:?}");
    };
    let waited = Execution::take(None, &thing(7), taking.wave, &taking.again, &row.spec);
    assert!(matches!(waited, Take::New(..)));

    // Stopped while its targets were listed, it lists them anew.
    let half = Rollout::start(RolloutId::from_key("a"), spec(json!({})), now);
    let mut half = half.listed(100, Some(Cursor("M".to_owned())), false, now);
    half.obey(stop, now).unwrap();
    let mut half = half.settle(&Tally::default(), 0, now);
    half.obey(Command::Retry, now).unwrap();
    assert_eq!(half.next(now), Next::Do(Work::List(None)));
    assert_eq!(half.targets, 0);
}

#[test]
fn which_commands_replace_the_workflow() {
    let stop = Command::Stop { running: false };
    for (command, change, replaces) in [
        (stop, Change::Changed, true),
        (stop, Change::None, true),
        (Command::Pause, Change::Changed, true),
        (Command::Pause, Change::None, false),
        (Command::Approve(2), Change::Changed, true),
        (Command::Resume, Change::None, true),
        (Command::Retry, Change::Begun, true),
    ] {
        assert_eq!(command.replaces_workflow(change), replaces, "{command:?}");
    }
}
