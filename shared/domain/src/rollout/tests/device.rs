//! As what a device counts, and when it is taken again.

use serde_json::json;

use super::{report, spec, thing};
use crate::rollout::execution::{Again, Class, Execution, Heard, Report, Status, Take};
use crate::rollout::limits::Retries;
use crate::time::Moment;

fn check_class(confirms: bool, retries: u64, heard: &[Heard], class: Class) {
    let mut spec = spec(json!({"retries": retries}));
    spec.confirms = confirms.then(|| "2".to_owned());
    let Take::New(mut row, None) = Execution::take(None, &thing(1), 1, &Again::default(), &spec)
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

#[test]
fn what_a_device_counts_as() {
    use Status::{Canceled, Failed, InProgress, Queued, Rejected, Succeeded, TimedOut};
    let shadow = |firmware: &str, version| Heard::Firmware(firmware.to_owned(), version);
    let (runs, old) = (|| shadow("2", 1), || shadow("1", 1));
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
    check_class(
        false,
        0,
        &[report(Canceled, 1), Heard::Gone],
        Class::Removed,
    );
    check_class(false, 0, &[runs()], Class::Queued);
    check_class(true, 0, &[report(Succeeded, 1)], Class::Unconfirmed);
    check_class(true, 0, &[report(Succeeded, 1), old()], Class::Unconfirmed);
    check_class(true, 0, &[runs(), report(InProgress, 1)], Class::Succeeded);
    check_class(true, 0, &[report(Failed, 1), runs()], Class::Succeeded);
    // It fell back; what comes after it has succeeded is another job's.
    let fell_back = [shadow("1", 2), runs()];
    for (said, class) in [
        (Failed, Class::Failed),
        (InProgress, Class::InProgress),
        (Succeeded, Class::Succeeded),
    ] {
        let [back, there] = fell_back.clone();
        check_class(true, 0, &[there, report(said, 1), back], class);
        let [back, there] = fell_back.clone();
        check_class(true, 0, &[back, there, report(said, 1)], class);
    }
    let [back, there] = fell_back;
    let once_more = shadow("2", 3);
    check_class(
        true,
        0,
        &[report(Failed, 1), once_more, back, there],
        Class::Succeeded,
    );
    // AWS repeats nothing of a job that is over.
    let over = Report::new(Failed, 1, Moment(1), "").of_a_job_that_is_over();
    let over = || Heard::Report(1, over.clone());
    let why = || Heard::Report(1, Report::new(Failed, 1, Moment(1), "no space"));
    for heard in [[over(), why()], [why(), over()]] {
        let row = Execution::new(&thing(1), 1, 1);
        let spec = spec(json!({"retries": 1}));
        let row = heard
            .iter()
            .fold(row, |row, heard| row.hear(heard, &spec).unwrap().0);
        assert_eq!(row.class(&spec), Class::Failed);
        assert_eq!(row.report.unwrap().reason(), "no space");
    }
    check_class(false, 1, &[over()], Class::Failed);
    check_class(false, 1, &[over(), report(Failed, 1)], Class::Failed);
    check_class(false, 1, &[report(Failed, 1), over()], Class::Failed);
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
    let row = |wave, status: Option<Status>| Execution {
        report: status.map(|status| Report::new(status, 1, Moment(1), "")),
        ..Execution::new(&thing(1), wave, 1)
    };
    let taken = |row: Option<&Execution>, again: &Again| match Execution::take(
        row,
        &thing(1),
        9,
        again,
        &spec,
    ) {
        Take::New(_, delta) => Some(delta.map(|delta| delta.from)),
        Take::Mine | Take::Left(..) | Take::Known | Take::Not => None,
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
    // It waited when the rollout was stopped, or joined later.
    assert_eq!(taken(None, &failed), Some(None));
    for status in [Status::InProgress, Status::Succeeded, Status::Removed] {
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
        Execution::take(Some(&row(9, None)), &thing(1), 9, &failed, &spec),
        Take::Mine
    );
}
