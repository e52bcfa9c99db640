//! What a device does with jobs, as data; and with the power going at any time.

use serde_json::{Value, json};

use super::*;

fn rules() -> Rules {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Rules {
        handlers: set(&["a.sh", "b.sh", "reboot.sh"]),
        unfit: [("notes.txt".to_owned(), "it may not be run".to_owned())].into(),
        folders: set(&["/opt/jobs"]),
        users: set(&["lamp"]),
    }
}

fn step(name: &str, handler: &str, more: Value) -> Value {
    let mut action = json!({"name": name, "type": "runHandler", "input": {"handler": handler}});
    for (name, value) in more.as_object().unwrap() {
        action[name] = value.clone();
    }
    json!({"action": action})
}

fn document() -> Value {
    json!({
        "version": "1.0",
        "steps": [
            step("one", "a.sh", json!({})),
            step("two", "b.sh", json!({"ignoreStepFailure": "true"})),
            step("three", "reboot.sh", json!({"runAsUser": "lamp", "allowStdErr": 1})),
        ],
        "finalStep": step("end", "a.sh", json!({})),
    })
}

fn offer(document: &Value) -> Offer {
    let message = json!({"timestamp": 1, "execution": {
        "jobId": "job-1", "status": "QUEUED", "executionNumber": 2, "versionNumber": 1,
        "jobDocument": document}});
    Offer::read(message.to_string().as_bytes())
        .unwrap()
        .unwrap()
}

/// Runs a job in which each step ends as said; the names of what was run, and
/// the last report.
fn run(document: &Value, exits: &[(&str, Exit)], output: &Output) -> (Vec<String>, Update) {
    let mut progress = Progress::begin(offer(document), &rules());
    let mut ran = Vec::new();
    loop {
        match progress.next() {
            Act::Report(update) => match progress.accepted() {
                Some(next) => progress = next,
                None => return (ran, update),
            },
            Act::Run(run) => {
                progress = progress.begun("boot");
                let name = progress.action().unwrap().name.clone();
                let exit = exits.iter().find(|(step, _)| *step == name);
                let exit = exit.map_or(Exit::Code(0), |(_, exit)| exit.clone());
                assert_eq!(run.args[0], run.user.unwrap_or_default());
                ran.push(name);
                progress = progress.finished(&exit, output);
            }
        }
    }
}

fn check(exits: &[(&str, Exit)], ran: &[&str], status: Status, reason: &str) {
    let (names, end) = run(&document(), exits, &Output::default());
    assert_eq!(names, ran, "{exits:?}");
    assert_eq!(end.status, status, "{exits:?}");
    assert_eq!(end.execution_number, 2);
    let told = end
        .status_details
        .get("reason")
        .cloned()
        .unwrap_or_default();
    assert!(told.contains(reason), "{exits:?}: {told}");
}

#[test]
fn steps_follow_one_another() {
    let all = ["one", "two", "three", "end"];
    check(&[], &all, Status::Succeeded, "");
    check(
        &[("one", Exit::Code(3))],
        &["one"],
        Status::Failed,
        "step 1 of 4, one: exit status 3",
    );
    check(&[("two", Exit::Code(1))], &all, Status::Succeeded, "");
    check(
        &[("three", Exit::Signal(9))],
        &all[..3],
        Status::Failed,
        "signal 9",
    );
    check(
        &[("three", Exit::TooLong)],
        &all[..3],
        Status::Failed,
        "too long",
    );
    check(
        &[("one", Exit::TooMuch)],
        &all[..1],
        Status::Failed,
        "too much",
    );
    check(
        &[("end", Exit::Code(1))],
        &all,
        Status::Failed,
        "step 4 of 4, end",
    );
    let missing = Exit::NotStarted("No such file".to_owned());
    check(
        &[("one", missing)],
        &all[..1],
        Status::Failed,
        "could not be started: No such file",
    );
    let (_, end) = run(&document(), &[("two", Exit::Code(1))], &Output::default());
    assert_eq!(end.status_details["ignoredFailures"], "two");
}

#[test]
fn lines_on_standard_error_count_where_the_document_says_so() {
    for (text, status) in [
        ("", Status::Succeeded),
        ("a\n", Status::Succeeded),
        ("a\nb", Status::Failed),
    ] {
        let mut output = Output::default();
        assert_eq!(output.err(text.as_bytes()), Room::More);
        assert_eq!(run(&document(), &[], &output).1.status, status, "{text:?}");
    }
}

#[test]
fn what_the_device_will_not_do_is_rejected_before_the_first_step() {
    let handler = |name| json!({"version": "1.0", "steps": [step("one", "a.sh", json!({})), step("two", name, json!({}))]});
    let action = |more| json!({"version": "1.0", "steps": [step("one", "a.sh", more)]});
    let input = |name, path| action(json!({"input": {"handler": name, "path": path}}));
    let from = |path| input("a.sh", path);
    for (document, reason) in [
        (handler("c.sh"), "there is no handler c.sh"),
        (handler("../a.sh"), "no handler's name"),
        (handler("a.sh; reboot"), "no handler's name"),
        (handler("$(id)"), "no handler's name"),
        (from("/opt/jobs/../../bin"), "no folder"),
        (from("/bin"), "run from /bin"),
        (
            handler("notes.txt"),
            "step two: notes.txt is no handler: it may not be run",
        ),
        (input("c.sh", "/opt/jobs"), "there is no handler c.sh"),
        (
            action(json!({"runAsUser": "root"})),
            "nothing is run as root",
        ),
        (action(json!({"type": "runCommand"})), "runCommand"),
        (
            action(json!({"input": {"handler": "a.sh", "args": ["../../etc/passwd"]}})),
            "leads out",
        ),
        (json!({"version": "1.0", "steps": []}), "0 steps"),
        (json!({"operation": "reboot"}), "version is missing"),
        (json!("no document"), "does not parse"),
        (Value::Null, "stands where an object belongs"),
    ] {
        let (ran, end) = run(&document, &[], &Output::default());
        assert_eq!((ran.len(), end.status), (0, Status::Rejected), "{document}");
        let told = &end.status_details["reason"];
        assert!(told.contains(reason), "{document}: {told}");
    }
    let (ran, _) = run(&from("/opt/jobs/"), &[], &Output::default());
    assert_eq!(ran.len(), 1);
}

#[test]
fn arguments_reach_a_handler_as_they_are() {
    let args = json!(["; rm -rf /", "$(id)", "a b", ""]);
    let input = json!({"input": {"handler": "a.sh", "args": args}});
    let document = json!({"version": "1.0", "steps": [step("one", "a.sh", input)]});
    let progress = Progress::begin(offer(&document), &rules())
        .accepted()
        .unwrap();
    let Act::Run(run) = progress.next() else {
        panic!("{progress:?}")
    };
    assert_eq!(run.args, ["", "; rm -rf /", "$(id)", "a b", ""]);
    assert_eq!((run.handler.as_str(), run.folder), ("a.sh", None));
}

#[test]
fn messages_of_aws() {
    for nothing in [
        json!({"timestamp": 1}),
        json!({"timestamp": 1, "execution": {}}),
    ] {
        assert_eq!(Offer::read(nothing.to_string().as_bytes()).unwrap(), None);
    }
    for bad in [
        "",
        "[]",
        "{",
        r#"{"execution": {"status": "QUEUED"}}"#,
        r#"{"execution": {"jobId": "../x"}}"#,
    ] {
        assert!(Offer::read(bad.as_bytes()).is_err(), "{bad}");
    }
    let offered = offer(&document());
    assert!(Progress::begin(offered.clone(), &rules()).is(&offered));
}

#[test]
fn huge_output_is_cut_and_reported_within_awss_limits() {
    let block = vec![b'x'; 65_536];
    let mut output = Output::default();
    for _ in 0..1000 {
        assert_eq!(output.out(&block), Room::More);
    }
    output.out("…\u{1b}[31mthe\tend\u{0}\r\n".as_bytes());
    output.err(b"\xff\xfeno text\n");
    let (_, end) = run(&document(), &[("one", Exit::Code(1))], &output);
    let stdout = &end.status_details["stdout"];
    assert!(
        stdout.starts_with('…') && stdout.ends_with("the end"),
        "{stdout}"
    );
    for text in end.status_details.values() {
        assert!((1..=1024).contains(&text.chars().count()) && !text.contains(char::is_control));
    }
    assert!(end.status_details["stderr"].contains("no text"));
    let size = serde_json::to_string(&end).unwrap().len();
    assert!(size < 16_384, "{size}");
    let room: Vec<_> = (0..25).map(|_| output.out(&block)).collect();
    assert_eq!(room.last(), Some(&Room::None), "64 MiB are enough");
}

#[test]
fn details_are_never_empty() {
    assert_eq!(detail(" \n\u{0} "), None);
    assert_eq!(detail("a\nb\u{200b}c").unwrap(), "a | b c");
    assert_eq!(detail(&"é".repeat(2000)).unwrap().chars().count(), 1024);
}

/// The power goes before and after every act. What a step has done is not
/// undone by that, so no step begins before the one before it was seen to end,
/// no step begins more than three times, and the job always ends.
#[test]
fn a_restart_at_any_point_resumes() {
    for crashes in 0_u32..1 << 12 {
        let mut stored = Progress::begin(offer(&document()), &rules());
        let mut runs = BTreeMap::<usize, u32>::new();
        let mut left = crashes;
        let mut power_goes = || {
            let goes = left & 1 == 1;
            left >>= 1;
            goes
        };
        let end = loop {
            // What is not stored is forgotten.
            stored = serde_json::from_str(&serde_json::to_string(&stored).unwrap()).unwrap();
            match stored.next() {
                Act::Report(update) => {
                    if power_goes() {
                        continue;
                    }
                    match stored.accepted() {
                        Some(next) => stored = next,
                        None => break update,
                    }
                }
                Act::Run(run) => {
                    let begun = stored.clone().begun("boot");
                    stored = begun;
                    if stored.end.is_some() || power_goes() {
                        continue;
                    }
                    let count = runs.entry(stored.step).or_default();
                    *count += 1;
                    assert!(*count <= MOST_RUNS && run.env[1].1.parse::<u32>().unwrap() >= *count);
                    assert_eq!(
                        runs.len(),
                        stored.step + 1,
                        "steps are begun in their order"
                    );
                    if power_goes() {
                        continue;
                    }
                    stored = stored.finished(&Exit::Code(0), &Output::default());
                }
            }
        };
        let restarted = end.status_details.get("reason");
        assert!(
            restarted.is_none_or(|reason| reason.contains("did not end")),
            "{end:?}"
        );
        assert_eq!(end.status == Status::Succeeded, restarted.is_none());
    }
}
