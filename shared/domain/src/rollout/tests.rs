//! The rollout's decisions as data, and what holds for any order of events.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::execution::{Again, Class, Delta, Execution, Heard, Report, Status, Take};
use super::limits::{MOST_DIRECT, Percent, Retries};
use super::spec::{Size, Spec, Window};
use super::tally::{Fault, Tally};
use super::wave::Cursor;
use super::*;
use crate::names::{ThingName, ThingTypeName};

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
    };
    let row = row.took(&taken).settle(&Tally::default(), 0, now);
    let row = row.job_intended().job_made(now);
    assert_eq!(row.phase, Phase::Running);
    row
}

/// Does the work of a wave's end, until the rollout stands elsewhere.
fn end_wave(mut row: Rollout, tally: &Tally, now: Moment) -> Rollout {
    for _ in 0..5 {
        row = row.settle(tally, 0, now);
        row = match row.next(now) {
            Next::Do(Work::Cancel(..)) => row.canceled(),
            Next::Do(Work::Recheck(_)) => row.rechecked(),
            Next::Do(Work::RemoveGroup(_)) => row.group_removed(),
            _ => return row,
        };
    }
    row
}

#[test]
fn what_an_operator_sends() {
    let read = spec(
        json!({"waves": [5, "10%", "50%"], "retries": 3, "perMinute": 500,
        "growing": {"from": 10, "factorTenths": 15, "afterNotified": 50},
        "window": {"opensAtMinute": 60, "minutes": 120}, "lateJoinersPerMinute": 5}),
    );
    assert_eq!(read.waves[0], Size::Count(5));
    let sizes: Vec<_> = (0..4).map(|i| read.wave_size(i, 1234)).collect();
    assert_eq!(sizes, [5, 124, 617, 617]);
    let stored = serde_json::to_string(&read).unwrap();
    assert_eq!(serde_json::from_str::<Spec>(&stored).unwrap(), read);
    for (name, value, field) in [
        ("waves", json!([]), "waves"),
        ("waves", json!([0]), "waves[0]"),
        ("waves", json!([5, "0%"]), "waves[1]"),
        ("waves", json!(["101%"]), "waves[0]"),
        ("waves", json!(["ten"]), "waves[0]"),
        ("waves", json!([1.5]), "waves[0]"),
        ("mostFailedPercent", json!(101), "mostFailedPercent"),
        ("perMinute", json!(0), "perMinute"),
        ("perMinute", json!(1001), "perMinute"),
        ("perMinute", json!("10"), "perMinute"),
        (
            "growing",
            json!({"factorTenths": 10}),
            "growing.factorTenths",
        ),
        (
            "growing",
            json!({"factorTenths": 51}),
            "growing.factorTenths",
        ),
        ("growing", json!({"speed": 1}), "growing"),
        ("retries", json!(11), "retries"),
        ("inProgressMinutes", json!(0), "inProgressMinutes"),
        ("inProgressMinutes", json!(10_081), "inProgressMinutes"),
        ("urlSeconds", json!(59), "urlSeconds"),
        ("deadlineMinutes", json!(0), "deadlineMinutes"),
        ("deadlineMinutes", json!(20_000), "deadlineMinutes"),
        ("onFailure", json!("go on"), "onFailure"),
        (
            "window",
            json!({"opensAtMinute": 1440}),
            "window.opensAtMinute",
        ),
        ("lateJoinersPerMinute", json!(0), "lateJoinersPerMinute"),
        ("approval", json!("yes"), "approval"),
        ("startAt", json!(-1), "startAt"),
    ] {
        let mut sent = json!({"waves": [5]});
        sent[name] = value;
        let failure = Spec::read("rollout", sent.clone()).expect_err(&sent.to_string());
        assert_eq!(failure.field, Some(format!("rollout.{field}")), "{sent}");
    }
    assert!(Spec::read("rollout", json!({"waves": [1], "speed": 1})).is_err());
}

#[test]
fn a_window_that_reaches_over_midnight() {
    let window = Window {
        opens_at: 23 * 60,
        minutes: 120,
    };
    let open = |minute: u64| window.next_open(Moment(minute * MINUTE)).0 / MINUTE;
    assert_eq!((open(0), open(59)), (0, 59));
    assert_eq!((open(60), open(1379)), (1380, 1380));
    assert_eq!((open(1380), open(1440 + 59)), (1380, 1499));
}

#[test]
fn a_firmware_is_bound_to_its_type() {
    let name = |name| ThingTypeName::parse(name).unwrap();
    let mut bound = spec(json!({}));
    assert!(bound.admits(None));
    bound.thing_type = Some(name("streetlight"));
    assert!(bound.admits(Some(&name("streetlight"))));
    assert!(!bound.admits(Some(&name("valve"))) && !bound.admits(None));
}

#[test]
fn jobs_in_aws_are_ours_by_their_name() {
    let id = RolloutId::from_key("k");
    let job = id.of_wave(12);
    assert!(job.len() <= 64, "AWS: a job's id has at most 64 characters");
    assert_eq!(RolloutId::wave_of(&job), Some((id, 12)));
    for other in ["firmware", "job-1-w2", "job-w1", &format!("{job}x")] {
        assert_eq!(RolloutId::wave_of(other), None, "{other}");
    }
}

fn check_class(confirms: bool, retries: u64, heard: &[Heard], class: Class) {
    let mut spec = spec(json!({"retries": retries}));
    spec.confirms = confirms.then(|| "2".to_owned());
    let target = (&Cursor("A".to_owned()), &thing(1));
    let Take::New(mut row, None) = Execution::take(None, target, 1, &Again::default(), &spec)
    else {
        panic!("it is taken");
    };
    for heard in heard {
        if let Some((next, _)) = row.hear(heard, &spec) {
            row = next;
        }
    }
    assert_eq!(row.class(&spec), class, "{heard:?}");
}

fn report(status: Status, execution: u64) -> Heard {
    Heard::Report(1, Report::new(status, execution, Moment(execution), ""))
}

#[test]
fn what_a_device_counts_as() {
    let runs = || Heard::Firmware("2".to_owned());
    let old = || Heard::Firmware("1".to_owned());
    use Status::{Canceled, Failed, InProgress, Queued, Rejected, Succeeded, TimedOut};
    check_class(false, 0, &[], Class::Queued);
    check_class(
        false,
        0,
        &[report(InProgress, 1), report(Queued, 1)],
        Class::InProgress,
    );
    check_class(
        false,
        0,
        &[report(Succeeded, 1), report(InProgress, 1)],
        Class::Succeeded,
    );
    check_class(false, 0, &[report(Failed, 0)], Class::Failed);
    check_class(false, 1, &[report(Failed, 1)], Class::InProgress);
    check_class(
        false,
        1,
        &[report(Failed, 2), report(Failed, 1)],
        Class::Failed,
    );
    check_class(
        false,
        1,
        &[report(TimedOut, 1), report(Succeeded, 2)],
        Class::Succeeded,
    );
    check_class(false, 3, &[report(Rejected, 1)], Class::Rejected);
    check_class(false, 0, &[report(Canceled, 1)], Class::Canceled);
    check_class(false, 0, &[Heard::Gone], Class::Removed);
    check_class(false, 0, &[Heard::Gone, report(Failed, 1)], Class::Failed);
    check_class(false, 0, &[runs()], Class::Queued);
    check_class(true, 0, &[report(Succeeded, 1)], Class::Unconfirmed);
    check_class(true, 0, &[report(Succeeded, 1), old()], Class::Unconfirmed);
    check_class(true, 0, &[runs(), report(InProgress, 1)], Class::Succeeded);
    check_class(true, 0, &[report(Failed, 1), runs()], Class::Succeeded);
    check_class(
        false,
        0,
        &[Heard::Report(2, Report::new(Failed, 1, Moment(1), ""))],
        Class::Queued,
    );
    assert!(
        Report::wants_number(Failed, Retries::MOST)
            && !Report::wants_number(Failed, Retries::LEAST)
    );
}

#[test]
fn who_is_taken_again() {
    let spec = spec(json!({}));
    let key = Cursor("M".to_owned());
    let row = |wave, status: Option<Status>| Execution {
        thing_name: thing(1),
        wave,
        tries: 1,
        report: status.map(|status| Report::new(status, 1, Moment(1), "")),
        confirmed: false,
        gone: false,
    };
    let taken = |row: Option<&Execution>, again: &Again| match Execution::take(
        row,
        (&key, &thing(1)),
        9,
        again,
        &spec,
    ) {
        Take::New(_, delta) => Some(delta.map(|delta| delta.from)),
        Take::Mine | Take::Not => None,
    };
    let fresh = Again::default();
    let interrupted = Again {
        interrupted: Some(8),
        ..Again::default()
    };
    let failed = Again {
        failed_up_to: Some(8),
        ..Again::default()
    };
    assert_eq!(taken(None, &fresh), Some(None));
    assert_eq!(taken(None, &failed), None);
    let after = |key: &str| Again {
        fresh_after: Some(Cursor(key.to_owned())),
        ..failed.clone()
    };
    assert_eq!(
        (taken(None, &after("L")), taken(None, &after("M"))),
        (Some(None), None)
    );
    for status in [
        Status::Queued,
        Status::InProgress,
        Status::Succeeded,
        Status::Removed,
    ] {
        for again in [&fresh, &interrupted, &failed] {
            assert_eq!(
                taken(Some(&row(8, Some(status))), again),
                None,
                "{status:?}"
            );
        }
    }
    for status in [Status::Failed, Status::TimedOut, Status::Rejected] {
        assert_eq!(
            taken(Some(&row(8, Some(status))), &interrupted),
            None,
            "{status:?}"
        );
        assert!(
            taken(Some(&row(8, Some(status))), &failed).is_some(),
            "{status:?}"
        );
    }
    for status in [None, Some(Status::Canceled)] {
        assert_eq!(taken(Some(&row(8, status)), &fresh), None, "{status:?}");
        assert_eq!(
            taken(Some(&row(7, status)), &interrupted),
            None,
            "{status:?}"
        );
        assert!(
            taken(Some(&row(8, status)), &interrupted).is_some(),
            "{status:?}"
        );
        assert!(
            taken(Some(&row(7, status)), &failed).is_some(),
            "{status:?}"
        );
    }
    assert_eq!(
        Execution::take(Some(&row(9, None)), (&key, &thing(1)), 9, &failed, &spec),
        Take::Mine
    );
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
    assert!(row.obey(Command::Resume, now).is_err());
    assert_eq!(row.obey(Command::Retry, now).unwrap(), Change::Begun);
    assert_eq!(row.obey(Command::Retry, now).unwrap(), Change::None);
    assert_eq!((row.cursor, row.again.failed_up_to), (None, Some(1)));
}

#[test]
fn a_small_wave_needs_no_group() {
    let now = Moment(0);
    for (size, group) in [(MOST_DIRECT, false), (MOST_DIRECT + 1, true)] {
        let row = Rollout::start(
            RolloutId::from_key("a"),
            spec(json!({"waves": [size]})),
            now,
        );
        let row = row
            .listed(1_000_000, None, true, now)
            .settle(&Tally::default(), 0, now);
        let made = matches!(row.next(now), Next::Do(Work::CreateGroup(_)));
        assert_eq!(made, group, "{size}");
    }
    assert_eq!(Percent::new("", 10).unwrap().of(1_000_000), 100_000);
}

/// What AWS says of one device, in the order in which it happens.
fn history(retries: u64) -> impl Strategy<Value = Vec<(Status, u64)>> {
    use Status::{Failed, InProgress, Queued, Rejected, Removed, Succeeded, TimedOut};
    let failure = prop::sample::select(vec![Failed, TimedOut]);
    let failures = prop::collection::vec(failure, 0..=usize::try_from(retries).unwrap());
    let last = prop::sample::select(vec![
        None,
        Some(Succeeded),
        Some(Failed),
        Some(Rejected),
        Some(Removed),
    ]);
    (failures, last).prop_map(move |(failures, last)| {
        let mut said = Vec::new();
        let count = failures.len() as u64 + 1;
        let attempts = failures.into_iter().map(Some).chain([last]);
        for (number, end) in (1..).zip(attempts) {
            said.extend([(Queued, number), (InProgress, number)]);
            said.extend(end.map(|status| (status, number)));
        }
        // A failure before the retries are used up is not the last word.
        if last == Some(Failed) && count <= retries {
            said.pop();
        }
        said
    })
}

type Told = Vec<(u64, Heard)>;
type Hearing = fn(&Execution, &Heard, &Spec) -> Option<(Execution, Option<Delta>)>;

fn tell(
    told: &Told,
    spec: &Spec,
    devices: u64,
    hearing: Hearing,
) -> (BTreeMap<ThingName, Execution>, Tally, Rollout) {
    let mut row = running(spec.clone(), devices);
    let mut tally = Tally::default();
    let mut rows = BTreeMap::new();
    for n in 0..devices {
        let target = (&Cursor(n.to_string()), &thing(n));
        if let Take::New(row, None) = Execution::take(None, target, 1, &Again::default(), spec) {
            rows.insert(thing(n), row);
        }
    }
    for (n, heard) in told {
        if let Some((next, delta)) = hearing(&rows[&thing(*n)], heard, spec) {
            rows.insert(thing(*n), next);
            if let Some(delta) = delta {
                tally.add(delta);
            }
        }
        // Whoever wakes looks at the row after each piece of news.
        row = end_wave(row, &tally, Moment(MINUTE));
    }
    (rows, tally, row)
}

proptest! {
    /// Any order and any repetition of what AWS says ends in the same rows, the
    /// same counts and the same decision.
    #[test]
    fn order_and_repetition_make_no_difference(
        histories in prop::collection::vec(history(2), 1..8),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        seed in any::<u64>(),
        most_failed in 0_u64..=100,
    ) {
        let spec = spec(json!({"retries": 2, "mostFailedPercent": most_failed, "leastSucceededPercent": 0}));
        let devices = histories.len() as u64;
        let mut in_order = Told::new();
        for (n, history) in (0..).zip(&histories) {
            for (at, (status, number)) in (0..).zip(history) {
                let report = Report::new(*status, *number, Moment(at), "E");
                in_order.push((n, Heard::Report(1, report)));
            }
        }
        let mut shuffled = in_order.clone();
        shuffled.extend(repeated.iter().map(|index| in_order[index.index(in_order.len())].clone()));
        shuffled.sort_by_key(|told| crate::csr::sha256_hex(format!("{seed}{told:?}").as_bytes()));
        let (rows, tally, row) = tell(&in_order, &spec, devices, Execution::hear);
        let (other_rows, other_tally, other_row) = tell(&shuffled, &spec, devices, Execution::hear);
        prop_assert_eq!(&rows, &other_rows);
        prop_assert_eq!(tally, other_tally);
        prop_assert_eq!((row.phase, &row.paused), (other_row.phase, &other_row.paused));
        let mut counted = Tally::default();
        for row in rows.values() {
            counted.add(Delta { wave: 1, from: Class::Queued, to: row.class(&spec) });
        }
        prop_assert_eq!(tally, counted);
    }
}

/// The same with a flaw, to see that the comparison finds it: the last word is
/// believed, instead of the greatest.
#[test]
fn believing_the_last_word_would_be_found() {
    let spec = spec(json!({}));
    let said = [
        report(Status::Queued, 1),
        report(Status::InProgress, 1),
        report(Status::Succeeded, 1),
    ];
    let told = |order: [usize; 3]| order.map(|i| (0, said[i].clone())).to_vec();
    let orders = [
        [0, 1, 2],
        [0, 2, 1],
        [1, 0, 2],
        [1, 2, 0],
        [2, 0, 1],
        [2, 1, 0],
    ];
    let differ = |hearing: Hearing| {
        let ends = orders.map(|order| tell(&told(order), &spec, 1, hearing));
        ends.iter().any(|end| *end != ends[0])
    };
    assert!(!differ(Execution::hear));
    assert!(differ(|row, heard, spec| {
        let forgetful = Execution {
            report: None,
            ..row.clone()
        };
        let (next, _) = forgetful.hear(heard, spec)?;
        let (from, to) = (row.class(spec), next.class(spec));
        Some((next, Some(Delta { wave: 1, from, to })))
    }));
}
