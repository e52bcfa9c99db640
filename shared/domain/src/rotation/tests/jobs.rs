//! Rotations whose word is carried by a job.

use super::*;
use crate::rotation::job::{HANDLER, PREFIX};

fn by_job(mut rotation: Rotation) -> Rotation {
    rotation.messenger = Messenger::Job;
    rotation
}

#[test]
fn a_job_says_what_the_word_would() {
    let rotation = by_job(requested());
    assert_eq!(rotation.next(), Next::Do(Work::Post));
    assert_eq!(
        rotation.clone().told().next(),
        Next::AwaitDevice(Moment(100))
    );
    let connected = Message::Connected(Moment(2));
    let heard = rotation.receive(&connected, &id(OLD), Moment(2)).unwrap();
    let word = Reply::Renew(op(1), Moment(100), Reason::Due);
    assert_eq!(heard.reply, Some(word), "the job may have been cancelled");

    let order = rotation.order(Moment(3));
    assert_eq!(order.job_id, format!("{PREFIX}{}", op(1)));
    assert!(order.job_id.len() <= 64);
    let document = crate::job::Document::parse(order.document.as_bytes()).unwrap();
    let handler = &document.steps[0].handler;
    assert_eq!(handler.name, HANDLER);
    assert_eq!(handler.args, [op(1).as_str(), "100", "DUE"]);
}

/// When a job of a rotation with such windows, in seconds, ends, and for how
/// many minutes the device may be at it.
fn check(windows: [u64; 2], ends_at: &str, most_minutes: i64) {
    let mut rotation = requested();
    rotation.windows.request_millis = windows[0] * 1000;
    rotation.windows.proof_millis = windows[1] * 1000;
    let order = rotation.order(Moment(0));
    let found = (order.ends_at.as_str(), order.most_minutes);
    assert_eq!(found, (ends_at, most_minutes), "{windows:?}");
}

#[test]
fn a_job_ends_with_its_rotation_within_awss_limits() {
    check([86_400, 86_400], "1970-01-03T00:00", 2880);
    check([10, 20], "1970-01-01T00:32", 1);
    check([2_592_000, 2_592_000], "1970-03-02T00:00", 10_080);
}

#[test]
fn a_job_is_taken_back_before_its_rotation_ends() {
    let recall = Next::Do(Work::Recall);
    // It may have been made by a process that died before it could say so.
    for late in [
        by_job(requested()).settle(Moment(100)),
        by_job(requested()).told().abort().settle(Moment(1)),
        by_job(in_phase(Phase::Withdrawing)).withdrawn(Moment(3)),
    ] {
        assert_eq!(
            (late.phase, late.next()),
            (Phase::Withdrawing, recall.clone())
        );
        let ended = late.recalled(Moment(101));
        assert_eq!(
            (ended.phase, ended.ended_at),
            (Phase::RolledBack, Some(Moment(101)))
        );
    }
    let removing = by_job(in_phase(Phase::Removing));
    assert_eq!(removing.next(), recall);
    let removing = removing.recalled(Moment(3));
    assert_eq!(removing.next(), Next::Do(Work::Remove(KeyMadeHere::Left)));
    // One that an operator turned to a hand-out has a key to lose, too.
    let turned = by_job(requested()).hand_out(Moment(1)).unwrap();
    let turned = turned.settle(Moment(200));
    assert_eq!(turned.next(), recall);
    assert_eq!(turned.recalled(Moment(201)).next(), Next::Do(Work::Discard));
}

#[test]
fn the_document_of_the_jobs_has_this_one() {
    let text = include_str!("../../../../../docs/jobs-protocol.md");
    let (_, section) = text.split_once("\n## A renewal by a job").unwrap();
    let (_, example) = section.split_once("```json\n").unwrap();
    let step: serde_json::Value =
        serde_json::from_str(example.split("```").next().unwrap()).unwrap();
    let shown = serde_json::json!({"version": "1.0", "steps": [step]}).to_string();
    let mut shown = crate::job::Document::parse(shown.as_bytes()).unwrap();
    let order = by_job(requested()).order(Moment(3));
    let sent = crate::job::Document::parse(order.document.as_bytes()).unwrap();
    let args = &mut shown.steps[0].handler.args;
    assert_eq!(args.len(), sent.steps[0].handler.args.len());
    args.clone_from(&sent.steps[0].handler.args);
    assert_eq!(shown, sent);
}
