//! What a device that enrols sends, and as whom.

use crate::problem;
use crate::service::{Reply, Service, lamp};

#[test]
fn a_device_enrols_as_nobody_and_its_token_is_in_no_message() {
    let refusal = || Reply::new(403, problem("Denied", "token"));
    let service = Service::answering(|_| refusal());
    let token = "a".repeat(64);
    let file = service.file("token", &format!("{token}\n"));
    let keys = service.path("keys");
    let words = ["device", "enrol", "--thing", "x", "--token", &file];
    let words = [&words[..], &["--keys-dir", &keys, "--output", "json"]].concat();
    let runs = [lamp(&service, &words), lamp(&service, &words)];
    let seen = service.seen();
    assert_eq!(seen.len(), 2);
    for (run, seen) in runs.iter().zip(&seen) {
        assert_eq!(run.exit, 3, "{run:?}");
        assert!(!format!("{run:?}").contains(&token), "{run:?}");
        assert_eq!(seen.target, "/api/enrolments");
        assert!(!seen.headers.contains_key("authorization"), "{seen:?}");
        assert_eq!(seen.body["token"], *token);
    }
    // The key is on the disk before the first request; each has the same.
    assert_eq!(seen[0].body["csr"], seen[1].body["csr"]);
    let malformed = service.file("token", "not-a-token");
    let words = [&["device", "enrol", "--thing", "x", "--token", &malformed][..]];
    let run = lamp(
        &service,
        &[&words.concat()[..], &["--keys-dir", &keys]].concat(),
    );
    assert_eq!((run.exit, service.seen().len()), (3, 2), "{run:?}");
    assert!(!run.stderr.contains("not-a-token"), "{run:?}");
    let words = [
        "device",
        "enrol",
        "--thing",
        "x",
        "--token",
        "/nowhere",
        "--keys-dir",
        &keys,
    ];
    let run = lamp(&service, &words);
    assert_eq!((run.exit, service.seen().len()), (2, 2), "{run:?}");
    assert!(
        run.stderr.contains("lamp device enrolment-token"),
        "{run:?}"
    );
}

#[test]
fn a_token_is_not_spent_on_a_device_that_could_not_be_run() {
    let service = Service::answering(|_| Reply::new(403, problem("Denied", "token")));
    let (keys, token) = (service.path("keys"), service.file("token", &"a".repeat(64)));
    let words = ["device", "enrol", "--thing", "x", "--token", &token];
    for (option, unusable) in [("--handlers", "/nowhere"), ("--job-user", "no such user")] {
        let life = ["--keys-dir", &keys, option, unusable];
        let run = lamp(&service, &[&words[..], &life].concat());
        assert_eq!((run.exit, service.seen().len()), (2, 0), "{run:?}");
        assert!(run.stderr.contains(unusable), "{run:?}");
    }
}
