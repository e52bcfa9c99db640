//! What starts a job, and how one is followed.

use serde_json::{Value, json};

use crate::service::{Reply, Service, lamp};
use crate::{lines, problem};

fn job(status: &str, succeeded: u64) -> Value {
    json!({
        "jobId": "job-1", "template": "firmware", "status": status,
        "counts": {"targets": 2, "succeeded": succeeded, "waiting": 2 - succeeded},
        "targets": {"kind": "group", "name": "milan"}, "percentSettled": 50 * succeeded,
        "failures": [{"status": "FAILED", "reason": "flash error at #", "count": 1, "examples": ["x"]}],
    })
}

fn check(words: &[&str], sent: &Value) {
    let service = Service::answering(|_| Reply::new(202, job("LISTING", 0)));
    let file = service.file("lights.csv", "thingName\nx\ny\n");
    let more = service.file("rollout.json", r#"{"perMinute": 9, "urlSeconds": 60}"#);
    let words: Vec<_> = words
        .iter()
        .map(|word| match *word {
            "LIGHTS" => file.as_str(),
            "ROLLOUT" => more.as_str(),
            word => word,
        })
        .collect();
    let run = lamp(
        &service,
        &[&["job", "run", "firmware"][..], &words].concat(),
    );
    assert_eq!(run.exit, 4, "{run:?}");
    let seen = &service.seen()[0];
    assert_eq!((seen.target.as_str(), &seen.body), ("/api/jobs", sent));
}

#[test]
fn a_job_is_asked_for_as_it_is_said() {
    let body = |targets: Value| json!({"template": "firmware", "parameters": {}, "targets": targets, "dryRun": false});
    check(
        &["--thing", "x", "--thing", "y"],
        &body(json!({"things": ["x", "y"]})),
    );
    check(&["--from", "LIGHTS"], &body(json!({"things": ["x", "y"]})));
    check(
        &["--dynamic-group", "old"],
        &body(json!({"dynamicGroup": "old"})),
    );
    let query = json!({"query": "a:b", "semver": true});
    check(&["--query", "a:b", "--beyond-aws"], &body(query));
    let mut whole = body(json!({"group": "milan"}));
    whole["parameters"] = json!({"version": "2.4.0"});
    whole["rollout"] = json!({
        "waves": [1, "10%"], "approval": true, "perMinute": 5, "urlSeconds": 60, "onFailure": "stop",
    });
    check(
        &[
            "-p",
            "version=2.4.0",
            "--group",
            "milan",
            "--wave",
            "1",
            "--wave",
            "10%",
            "--approval",
            "--rollout",
            "ROLLOUT",
            "--per-minute",
            "5",
            "--on-failure",
            "stop",
        ],
        &whole,
    );
}

#[test]
fn what_names_no_targets_or_two_is_not_sent() {
    let service = Service::answering(|_| Reply::new(202, job("LISTING", 0)));
    for words in [
        &["job", "run", "firmware"][..],
        &["job", "run", "firmware", "--group", "a", "--thing", "b"],
        &["job", "run", "firmware", "--group", "a", "--wave", "ten"],
        &["job", "approve", "job-1"],
    ] {
        assert_eq!(lamp(&service, words).exit, 2, "{words:?}");
    }
    assert_eq!(service.seen().len(), 0);
}

#[test]
fn a_job_is_followed_until_somebody_has_to_decide() {
    let service = Service::answering(|n| {
        Reply::new(
            200,
            match n {
                0 => job("RUNNING", 0),
                1 => job("RUNNING", 1),
                _ => {
                    let mut waiting = job("AWAITING_APPROVAL", 1);
                    waiting["nextWave"] = 2.into();
                    waiting
                }
            },
        )
    });
    let run = lamp(&service, &["job", "watch", "job-1"]);
    assert_eq!((run.exit, service.seen().len()), (4, 3), "{run:?}");
    assert!(
        run.stderr.contains("lamp job approve job-1 --wave 2"),
        "{run:?}"
    );
    assert!(run.stdout.contains("flash error at #"), "{run:?}");

    let service = Service::answering(|n| Reply::new(200, job("DONE", n as u64)));
    let run = lamp(&service, &["job", "watch", "job-1", "--output", "json"]);
    assert_eq!((run.exit, lines(&run.stdout).len()), (0, 1), "{run:?}");
    let service = Service::answering(|_| Reply::new(404, problem("NotFound", "jobId")));
    assert_eq!(lamp(&service, &["job", "watch", "job-1"]).exit, 3);
}

/// Sent again after a lost reply it is the same job; the next run is another.
#[test]
fn a_job_that_is_sent_again_is_one_job() {
    let service = Service::answering(|n| match n {
        1 => Reply::new(202, job("LISTING", 0)),
        _ => Reply::lost(),
    });
    let arguments = ["job", "run", "blink", "--thing", "x"];
    assert_eq!(lamp(&service, &arguments).exit, 4);
    let run = lamp(&service, &[&["--tries", "1"][..], &arguments].concat());
    let seen = service.seen();
    let key = |n: usize| seen[n].headers["idempotency-key"].as_str();
    assert_eq!((seen.len(), key(0)), (3, key(1)));
    assert_ne!(key(0), key(2));
    let again = format!("--idempotency-key {}", key(2));
    assert!(run.exit == 1 && run.stderr.contains(&again), "{run:?}");
}
