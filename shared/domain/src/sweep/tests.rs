//! Sweeps: what each command does where, and what a page starts.

mod million;

use super::page::{Otherwise, Page, Planned, Standing, standing};
use super::*;
use crate::device::Issuer;
use crate::due::walk::Row;
use crate::names::{CertificateId, OperationId, ThingName};
use crate::operation::OperationStatus;
use crate::time::DAY_MILLIS;
use serde_json::json;

const DAY: u64 = 20_000;
const NOW: Moment = Moment(DAY * DAY_MILLIS + 3 * 60 * 60 * 1000);

fn budget(per_day: u64) -> Budget {
    Budget {
        interval_micros: 200_000,
        per_day,
    }
}

fn forecast(due: u64) -> Forecast {
    Forecast {
        due,
        oldest: Day::of(NOW).minus(1),
    }
}

fn sweep(due: u64, per_day: u64) -> Sweep {
    let id = SweepId::from_key("test");
    let forecast = forecast(due);
    Sweep::new(id, "schedule", false, budget(per_day), &forecast, NOW)
}

fn counts(renewed: u64, failed: u64) -> Counts {
    Counts {
        renewed,
        failed,
        silent: 0,
    }
}

fn row(number: u64) -> Row {
    Row {
        thing_name: ThingName::parse(&format!("light-{number:04}")).unwrap(),
        certificate_id: CertificateId::parse(&format!("{number:064x}")).unwrap(),
        issuer: Issuer::KmsCa,
        due_at: NOW.minus_millis(DAY_MILLIS - number),
        not_after: NOW.plus_millis(DAY_MILLIS),
    }
}

/// One page over these rows, all in the first partition.
fn page(sweep: &Sweep, now: Moment, rows: &[Standing]) -> Planned {
    let mut page = Page::new(sweep, now);
    let mut next = 0;
    while let Some(read) = page.next_read() {
        assert!(read.until == now && read.limit > 0);
        let end = rows.len().min(next + read.limit);
        let found = (next..end).map(|n| (row(n as u64), rows[n])).collect();
        next = end;
        page.take(found, next < rows.len());
    }
    page.finish()
}

#[test]
fn what_each_command_does_where() {
    use Command::{Abort, Approve, Pause, Resume, Retry};
    use SweepStatus::{Aborted, AwaitingApproval, Done, Paused, Running};
    let check = |status, command, expected: Option<(Change, SweepStatus)>| {
        let mut sweep = Sweep {
            status,
            ..sweep(9, 9)
        };
        let answer = sweep.obey(command, counts(1, 1), &forecast(9), NOW);
        let found = answer.as_ref().ok().map(|change| (*change, sweep.status));
        assert_eq!(found, expected, "{command:?} where {status:?}: {answer:?}");
        let runs = u32::from(found.is_some_and(|(change, _)| change == Change::StartRun));
        assert_eq!(sweep.run, runs, "{command:?} where {status:?}");
    };
    let (none, changed, starts) = (Change::None, Change::Changed, Change::StartRun);
    for (command, then) in [
        (
            Approve,
            [
                Some((starts, Running)),
                Some((none, Running)),
                None,
                None,
                None,
            ],
        ),
        (
            Pause,
            [
                None,
                Some((changed, Paused)),
                Some((none, Paused)),
                None,
                None,
            ],
        ),
        (
            Resume,
            [
                None,
                Some((none, Running)),
                Some((starts, Running)),
                None,
                None,
            ],
        ),
        (
            Abort,
            [
                Some((changed, Aborted)),
                Some((changed, Aborted)),
                Some((changed, Aborted)),
                Some((none, Aborted)),
                None,
            ],
        ),
        (
            Retry,
            [
                None,
                None,
                None,
                Some((starts, Running)),
                Some((starts, Running)),
            ],
        ),
    ] {
        let statuses = [AwaitingApproval, Running, Paused, Aborted, Done];
        for (status, expected) in statuses.into_iter().zip(then) {
            check(status, command, expected);
        }
    }
}

#[test]
fn too_many_failures_abort_a_sweep_by_itself() {
    let check = |renewed, failed, aborted| {
        let mut sweep = sweep(1000, 1000);
        let found = sweep.check(counts(renewed, failed), FailureRule::default(), NOW);
        assert_eq!(found, aborted, "{renewed} renewed, {failed} failed");
        assert_eq!(sweep.status == SweepStatus::Aborted, aborted);
        assert_eq!(sweep.reason.is_some(), aborted);
    };
    check(0, 0, false);
    check(0, 19, false);
    check(0, 20, true);
    check(18, 2, false);
    check(17, 3, true);
    check(900, 100, false);
    check(900, 101, true);
}

#[test]
fn a_retry_is_judged_by_its_own_failures_and_takes_only_what_failed() {
    let mut sweep = sweep(100, 1000);
    assert!(sweep.check(counts(50, 50), FailureRule::default(), NOW));
    sweep
        .obey(Command::Retry, counts(50, 50), &forecast(100), NOW)
        .unwrap();
    assert!(!sweep.check(counts(50, 50), FailureRule::default(), NOW));
    assert!(!sweep.check(counts(60, 51), FailureRule::default(), NOW));
    assert!(
        sweep
            .clone()
            .check(counts(60, 60), FailureRule::default(), NOW)
    );
    let all = [
        Standing::Due,
        Standing::Failed(0),
        Standing::InFlight,
        Standing::Stuck,
        Standing::Settled,
        Standing::Failed(2),
    ];
    let started: Vec<_> = page(&sweep, NOW, &all)
        .starts
        .into_iter()
        .map(|start| start.rotation_id)
        .collect();
    let id = |number, attempt| {
        let row = row(number);
        OperationId::of_rotation(&row.thing_name, &row.certificate_id, attempt)
    };
    assert_eq!(started, [id(1, 1), id(5, 3)]);
}

#[test]
fn where_a_rotation_stands() {
    for (attempt, operation, expected) in [
        (0, None, Standing::Due),
        (2, None, Standing::Failed(1)),
        (0, Some(OperationStatus::Running), Standing::InFlight),
        (0, Some(OperationStatus::Undoing), Standing::InFlight),
        (0, Some(OperationStatus::Done), Standing::Settled),
        (1, Some(OperationStatus::Failed), Standing::Failed(1)),
        (1, Some(OperationStatus::Compensated), Standing::Failed(1)),
        (0, Some(OperationStatus::Stuck), Standing::Stuck),
    ] {
        for mine in [false, true] {
            let expected = match expected {
                Standing::InFlight if mine => Standing::Begun,
                expected => expected,
            };
            let found = standing(attempt, operation, mine);
            assert_eq!(found, expected, "{operation:?} {mine}");
        }
    }
}

#[test]
fn a_page_starts_what_is_due_in_slots_of_its_budget() {
    let sweep = sweep(5, 1000);
    let rows = [
        Standing::Due,
        Standing::InFlight,
        Standing::Failed(0),
        Standing::Settled,
        Standing::Due,
    ];
    let planned = page(&sweep, NOW, &rows);
    let starts: Vec<_> = planned
        .starts
        .iter()
        .map(|start| (start.thing_name.as_str(), NOW.until(start.start_at.0)))
        .collect();
    assert_eq!(
        starts,
        [("light-0000", 0), ("light-0002", 200), ("light-0004", 400)]
    );
    assert_eq!(planned.otherwise, Otherwise::Over);
    let progress = &planned.progress;
    assert_eq!(
        (
            progress.started,
            progress.looked_at,
            progress.found_in_flight
        ),
        (3, 5, 1)
    );
    assert_eq!(NOW.until(progress.next_slot), 600);
    let item = json!(planned.starts[1]);
    assert_eq!(item["startAt"], "2024-10-04T03:00:00.200Z");
    assert_eq!(item["sweepId"], sweep.sweep_id.as_str());
}

#[test]
fn what_a_page_of_a_paused_execution_began_is_counted_once() {
    let mut sweep = sweep(3, 1000);
    let rows = [Standing::Begun, Standing::Due, Standing::InFlight];
    let counts = |progress: &Progress| {
        let of_run = progress.started_in_run;
        (progress.started, of_run, progress.found_in_flight)
    };
    let planned = page(&sweep, NOW, &rows);
    assert_eq!(
        (planned.starts.len(), counts(&planned.progress)),
        (1, (2, 2, 1))
    );
    sweep.advance(planned.progress);
    sweep.close(NOW);
    sweep
        .obey(Command::Retry, Counts::default(), &forecast(3), NOW)
        .unwrap();
    let again = page(&sweep, NOW, &rows);
    assert_eq!(counts(&again.progress), (2, 0, 2));

    // They are of the day's budget too.
    let rows = [[Standing::Begun; 10], [Standing::Due; 10]].concat();
    let planned = page(&self::sweep(20, 12), NOW, &rows);
    assert_eq!((planned.starts.len(), planned.progress.started), (2, 12));
}

#[test]
fn the_days_budget_ends_a_sweep_and_the_rest_is_carried_over() {
    let mut sweep = sweep(30, 12);
    let first = page(&sweep, NOW, &[Standing::Due; 30]);
    assert_eq!(first.starts.len(), 12);
    sweep.advance(first.progress);
    let then = page(&sweep, NOW.plus_millis(2400), &[Standing::Due; 30]);
    assert_eq!((then.starts.len(), then.otherwise), (0, Otherwise::Over));
    sweep.advance(then.progress);
    sweep.close(NOW.plus_millis(2400));
    assert_eq!((sweep.status, sweep.carried), (SweepStatus::Done, 18));
    assert_eq!(sweep.oldest_day(), Day::of(NOW).minus(1));
}

#[test]
fn a_page_keeps_to_a_hundred_seconds_and_catches_up_two() {
    let mut sweep = sweep(3000, 100_000);
    let due = vec![Standing::Due; 3000];
    let first = page(&sweep, NOW, &due);
    assert_eq!(first.starts.len(), 500);
    let end = first.progress.next_slot;
    assert_eq!(NOW.until(end), 100_000);
    sweep.advance(first.progress);
    for (late, caught_up) in [(0, 0), (1500, 1500), (60_000, 2000)] {
        let now = end.plus_millis(late);
        let next = page(&sweep, now, &due);
        let first = next.starts[0].start_at.0;
        assert_eq!(first, now.minus_millis(caught_up), "{late} ms late");
        let last = next.starts[next.starts.len() - 1].start_at.0;
        assert!(last <= now.plus_millis(100_000), "{late} ms late");
    }
    // A page that is planned before the last one's slots are over waits.
    let early = page(&sweep, NOW.minus_millis(30_000), &due);
    assert_eq!(
        (early.starts.len(), early.otherwise),
        (0, Otherwise::Again(130))
    );
}

#[test]
fn a_page_that_is_planned_twice_names_the_same_rotations() {
    let mut sweep = sweep(10, 1000);
    let ids = |planned: &Planned| -> Vec<_> {
        let starts = planned.starts.iter();
        starts.map(|start| start.rotation_id.clone()).collect()
    };
    let first = page(&sweep, NOW, &[Standing::Due; 10]);
    let again = page(&sweep, NOW.plus_millis(900), &[Standing::Due; 10]);
    assert_eq!(ids(&first), ids(&again));
    sweep.advance(first.progress.clone());
    let once = sweep.clone();
    sweep.advance(first.progress);
    assert_eq!(sweep, once);
}

#[test]
fn a_row_reads_as_it_was_written_and_a_view_tells_what_is_left() {
    let mut sweep = sweep(30, 12);
    let planned = page(&sweep, NOW, &[Standing::Due; 30]);
    let view = |sweep: &Sweep, counts| json!(SweepView::new(sweep, counts, NOW));
    let shown = view(&sweep, Counts::default());
    assert_eq!((&shown["due"], &shown["carried"]), (&json!(30), &json!(18)));
    // Twelve today, twelve tomorrow, six more on the day after.
    assert_eq!(shown["doneAt"], NOW.plus_millis(2 * DAY_MILLIS + 1200).0);
    sweep.advance(planned.progress);
    let row = serde_json::to_value(&sweep).unwrap();
    assert_eq!(serde_json::from_value::<Sweep>(row).unwrap(), sweep);
    sweep.close(NOW);
    let shown = view(&sweep, counts(7, 1));
    assert_eq!(
        [
            &shown["started"],
            &shown["inFlight"],
            &shown["carried"],
            &shown["doneAt"]
        ],
        [&json!(12), &json!(4), &json!(18), &json!(null)]
    );
}
