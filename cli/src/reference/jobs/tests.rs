//! Jobs from their offer to their end, with a service that answers as AWS does.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;

use lamplighter_domain::rotation::job::HANDLER;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use super::*;
use crate::reference::testing::{Scratch, thing};

const BASE: &str = "$aws/things/x/jobs/";
const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(20);

/// A light, and AWS's side of one job.
struct Bench {
    jobs: Jobs,
    news: UnboundedReceiver<Line>,
    wire: Wire,
    document: Value,
    status: String,
    /// Which execution of the job AWS has; those before have ended.
    execution: u64,
    details: Value,
    /// How many reports are taken whose answers are lost.
    lost: u32,
    scratch: Scratch,
}

impl Bench {
    fn new(document: Value) -> Self {
        let scratch = Scratch::new();
        fs::create_dir(scratch.path().join("handlers")).unwrap();
        let (wire, news) = unbounded_channel();
        Self {
            jobs: started(&scratch, &wire),
            news,
            wire,
            document,
            status: "QUEUED".to_owned(),
            execution: 1,
            details: Value::Null,
            lost: 0,
            scratch,
        }
    }

    fn of(steps: &[Value]) -> Self {
        Self::new(json!({"version": "1.0", "steps": steps}))
    }

    fn handler(self, name: &str, script: &str) -> Self {
        let path = self.scratch.path().join("handlers").join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    /// A light that waits so long for a handler.
    fn patient(mut self, patience: Duration) -> Self {
        let mut settings = (*self.scratch.jobs()).clone();
        settings.patience = patience;
        let (settings, wire) = (Arc::new(settings), &self.wire);
        self.jobs = Jobs::start(&thing("x"), &settings, "1.0.0", SOON, wire).unwrap();
        self
    }

    /// The light is switched on again.
    fn restart(&mut self) {
        self.jobs = started(&self.scratch, &self.wire);
        self.jobs.say(Heard::Listening);
    }

    fn file(&self, name: &str) -> String {
        let path = self.scratch.path().join("x.jobs/work").join(name);
        fs::read_to_string(path).unwrap_or_default()
    }

    /// Whether the process runs whose number a handler has left in `pid`. One
    /// that has ended, and that nobody has asked how, has no command.
    fn runs(&self) -> bool {
        let command = format!("/proc/{}/cmdline", self.file("pid").trim());
        fs::read(command).is_ok_and(|command| !command.is_empty())
    }

    async fn order(&mut self) -> Order {
        timeout(LONG, self.jobs.order()).await.expect("an order")
    }

    /// Answers what is published, until something else is to be done or the job
    /// has ended.
    async fn until_other(&mut self) -> Option<Order> {
        loop {
            match self.order().await {
                Order::Publish(topic, message) => {
                    self.answer(topic.strip_prefix(BASE).unwrap(), &message);
                    // Nothing is next after it.
                    if topic.ends_with("$next/get") && self.ended() {
                        return None;
                    }
                }
                other => return Some(other),
            }
        }
    }

    /// Lets the job come to its end.
    async fn end(&mut self) -> &str {
        self.jobs.say(Heard::Listening);
        let other = self.until_other().await;
        assert!(other.is_none(), "{other:?}");
        &self.status
    }

    fn ended(&self) -> bool {
        !matches!(self.status.as_str(), "QUEUED" | "IN_PROGRESS")
    }

    fn answer(&mut self, on: &str, message: &Value) {
        let token = &message["clientToken"];
        let state = json!({"status": self.status, "versionNumber": 1});
        let (accepted, mut answer) = match on {
            "$next/get" if self.ended() => (true, json!({})),
            "$next/get" => (
                true,
                json!({"execution": {"jobId": "j", "status": self.status,
                "executionNumber": self.execution, "jobDocument": self.document}}),
            ),
            "j/get" if self.ended() || message["executionNumber"] != self.execution => {
                (false, json!({"code": "TerminalStateReached"}))
            }
            "j/get" => (
                true,
                json!({"execution": {"jobId": "j", "executionNumber": 1}}),
            ),
            "j/update" if self.ended() => (
                false,
                json!({"code": "InvalidStateTransition", "executionState": state}),
            ),
            "j/update" => {
                message["status"]
                    .as_str()
                    .unwrap()
                    .clone_into(&mut self.status);
                self.details = message["statusDetails"].clone();
                if self.lost > 0 {
                    self.lost -= 1;
                    return;
                }
                (true, json!({}))
            }
            other => panic!("{other}"),
        };
        answer["clientToken"] = token.clone();
        let topic = format!(
            "{BASE}{on}/{}",
            if accepted { "accepted" } else { "rejected" }
        );
        self.jobs.say(Heard::Message {
            topic,
            payload: answer.to_string().into_bytes(),
        });
    }

    /// Waits for a step to begin.
    async fn step(&mut self) {
        loop {
            tokio::select! {
                order = self.jobs.order() => match order {
                    Order::Publish(topic, message) => {
                        self.answer(topic.strip_prefix(BASE).unwrap(), &message);
                    }
                    other => panic!("{other:?}"),
                },
                line = self.news.recv() => {
                    if matches!(line.unwrap().news, News::JobStep { .. }) {
                        return;
                    }
                }
            }
        }
    }
}

fn started(scratch: &Scratch, wire: &Wire) -> Jobs {
    Jobs::start(&thing("x"), &scratch.jobs(), "1.0.0", SOON, wire).unwrap()
}

fn step(name: &str, handler: &str, args: &[&str]) -> Value {
    json!({"action": {"name": name, "type": "runHandler",
        "input": {"handler": handler, "args": args}}})
}

async fn check(steps: &[Value], script: &str, status: &str, reason: &str) {
    let mut bench = Bench::of(steps).handler("a.sh", script);
    assert_eq!(bench.end().await, status, "{script}");
    let told = bench.details["reason"].as_str().unwrap_or_default();
    assert!(told.contains(reason), "{script}: {told}");
    assert!(bench.scratch.path().join("x.jobs").exists());
    assert!(
        !bench.scratch.path().join("x.jobs/progress.json").exists(),
        "it is forgotten"
    );
}

#[tokio::test]
async fn each_job_ends_as_it_went() {
    let one = [step("one", "a.sh", &["; rm -rf /", "$(id)"])];
    let args = "[ \"$2$3\" = '; rm -rf /$(id)' ]";
    check(&one, args, "SUCCEEDED", "").await;
    check(
        &one,
        "echo late >&2; echo broken >&2; echo ' ' >&2; exit 3",
        "FAILED",
        "step 1 of 1, one: exit status 3: broken",
    )
    .await;
    check(&one, "exec yes", "FAILED", "printed too much").await;
    check(
        &[step("one", "b.sh", &[])],
        "",
        "REJECTED",
        "there is no handler b.sh",
    )
    .await;
    check(
        &[step("one", "../a.sh", &[])],
        "",
        "REJECTED",
        "no handler's name",
    )
    .await;
    check(
        &[step("one", "a.sh;id", &[])],
        "",
        "REJECTED",
        "no handler's name",
    )
    .await;
    let mut other = step("one", "a.sh", &[]);
    other["action"]["runAsUser"] = "root".into();
    check(&[other], "", "REJECTED", "nothing is run as root").await;
}

#[tokio::test]
async fn a_handler_restarts_the_light_which_then_runs_what_was_installed() {
    let mut bench = Bench::of(&[
        step("Install", "a.sh", &["2.1.0"]),
        step("Restart", "r.sh", &[]),
    ])
    .handler("a.sh", "echo \"$2\" > firmware_version")
    .handler(
        "r.sh",
        "[ \"$LAMP_STEP_RUN\" -gt 1 ] && exit 0; touch restart; sleep 30",
    );
    assert_eq!(&*bench.jobs.firmware, "1.0.0");
    bench.jobs.say(Heard::Listening);
    let order = bench.until_other().await;
    assert!(matches!(order, Some(Order::Restart)), "{order:?}");
    bench.restart();
    assert_eq!(&*bench.jobs.firmware, "2.1.0");
    assert_eq!(bench.end().await, "SUCCEEDED");
}

/// What a light makes of what the user of its jobs leaves in the folder that is
/// that user's: a file that was another's is as it was, and is not told of.
fn planted(plant: impl FnOnce(&Path, &Path), why: &str) {
    let scratch = Scratch::new();
    let (wire, mut news) = unbounded_channel();
    let work = scratch.path().join("x.jobs/work");
    fs::create_dir_all(&work).unwrap();
    let secret = scratch.path().join("secret");
    fs::write(&secret, "a secret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    plant(&work, &secret);
    let jobs = started(&scratch, &wire);
    assert_eq!(&*jobs.firmware, "1.0.0", "{why}");
    assert_eq!(fs::read_to_string(&secret).unwrap(), "a secret\n", "{why}");
    let mode = fs::metadata(&secret).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{why}");
    let warned = news.try_recv().map(|line| line.news);
    assert!(
        matches!(&warned, Ok(News::Warned { reason }) if reason.ends_with(why)),
        "{why}: {warned:?}"
    );
}

#[tokio::test]
async fn what_a_user_of_jobs_leaves_leads_nowhere() {
    let file = |work: &Path| work.join("firmware_version");
    let beside_an_empty_one = |work: &Path, secret: &Path| {
        fs::write(file(work), "").unwrap();
        symlink(secret, work.join("firmware_version.new")).unwrap();
    };
    planted(beside_an_empty_one, "its first line is empty");
    planted(
        |work, secret| symlink(secret, file(work)).unwrap(),
        "it is a link",
    );
    let same = "it is the file of another name, too";
    planted(
        |work, secret| fs::hard_link(secret, file(work)).unwrap(),
        same,
    );
    planted(
        |work, _| fs::create_dir(file(work)).unwrap(),
        "it is no file",
    );
    let huge = |work: &Path, _: &Path| {
        let huge = fs::File::create(file(work)).unwrap();
        huge.set_len(1 << 30).unwrap();
    };
    planted(huge, "it is too large");
    let no_text = |work: &Path, _: &Path| fs::write(file(work), b"2.\xff\n").unwrap();
    planted(no_text, "did not contain valid UTF-8");
    let fifo = |work: &Path, _: &Path| {
        mknodat(CWD, file(work), FileType::Fifo, Mode::RWXU, 0).unwrap();
    };
    planted(fifo, "it is no file");
}

#[tokio::test]
async fn a_step_that_the_power_cuts_off_is_begun_again_and_told_so() {
    let script = "echo $LAMP_STEP_RUN >> runs; [ \"$LAMP_STEP_RUN\" -gt 1 ] || sleep 30";
    let mut bench = Bench::of(&[step("one", "a.sh", &[])]).handler("a.sh", script);
    bench.jobs.say(Heard::Listening);
    bench.step().await;
    while bench.file("runs").is_empty() {
        tokio::time::sleep(SOON).await;
    }
    bench.restart();
    assert_eq!(bench.end().await, "SUCCEEDED");
    assert_eq!(bench.file("runs"), "1\n2\n");
}

/// A handler that a killed `lamp` could not end: it bears what the step's did.
#[tokio::test]
async fn what_a_killed_light_left_running_ends_before_the_step_begins_again() {
    let script = "echo $LAMP_STEP_ID > mark; [ \"$LAMP_STEP_RUN\" -gt 1 ] || sleep 30";
    let mut bench = Bench::of(&[step("one", "a.sh", &[])]).handler("a.sh", script);
    bench.jobs.say(Heard::Listening);
    bench.step().await;
    while bench.file("mark").trim().is_empty() {
        tokio::time::sleep(SOON).await;
    }
    let mut left = std::process::Command::new("sleep");
    left.arg("30")
        .env(leftovers::MARK, bench.file("mark").trim())
        .process_group(0);
    let mut left = left.spawn().unwrap();
    bench.restart();
    assert_eq!(left.wait().unwrap().signal(), Some(9));
    assert_eq!(bench.end().await, "SUCCEEDED");
}

#[tokio::test]
async fn a_job_that_is_cancelled_ends_its_handler() {
    let script = "sleep 1; echo late > said";
    let mut bench = Bench::of(&[step("one", "a.sh", &[])]).handler("a.sh", script);
    bench.jobs.say(Heard::Listening);
    bench.step().await;
    "CANCELED".clone_into(&mut bench.status);
    bench.jobs.say(Heard::Message {
        topic: format!("{BASE}notify-next"),
        payload: b"{\"timestamp\": 1}".to_vec(),
    });
    assert!(bench.until_other().await.is_none());
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(bench.file("said"), "");
    let over = std::iter::from_fn(|| bench.news.try_recv().ok());
    assert!(
        over.into_iter()
            .any(|line| matches!(line.news, News::JobOver { .. }))
    );
}

/// What timeout(1) starts is in a group of its own, and so is a job of a shell
/// with `set -m`.
const OTHER_GROUP: &str = "timeout 30 sh -c 'echo $$ > pid; exec sleep 30' &
    while ! [ -s pid ]; do sleep 0.01; done;";

#[tokio::test]
async fn nothing_of_a_step_runs_on_however_it_ended() {
    for (end, status) in [
        ("exit 0", "SUCCEEDED"),
        ("exit 3", "FAILED"),
        ("kill -9 $$", "FAILED"),
        ("exec yes", "FAILED"),
        ("wait", "FAILED"),
    ] {
        let script = format!("{OTHER_GROUP} {end}");
        let mut bench = Bench::of(&[step("one", "a.sh", &[])])
            .patient(Duration::from_secs(3))
            .handler("a.sh", &script);
        assert_eq!(bench.end().await, status, "{end}");
        assert!(!bench.file("pid").is_empty() && !bench.runs(), "{end}");
    }
}

#[tokio::test]
async fn nothing_of_a_job_that_is_cancelled_runs_on() {
    let script = format!("{OTHER_GROUP} wait");
    let mut bench = Bench::of(&[step("one", "a.sh", &[])]).handler("a.sh", &script);
    bench.jobs.say(Heard::Listening);
    bench.step().await;
    while !bench.runs() {
        tokio::time::sleep(SOON).await;
    }
    "CANCELED".clone_into(&mut bench.status);
    assert!(bench.until_other().await.is_none());
    assert!(!bench.runs());
}

/// AWS's timer, with retries: the same job is next, and nothing else is said.
#[tokio::test]
async fn an_execution_that_is_given_again_takes_the_place_of_the_first() {
    let script = "echo run >> runs; [ $(wc -l < runs) -gt 1 ] || exec sleep 60";
    let mut bench = Bench::of(&[step("one", "a.sh", &[])]).handler("a.sh", script);
    bench.jobs.say(Heard::Listening);
    bench.step().await;
    while bench.file("runs").is_empty() {
        tokio::time::sleep(SOON).await;
    }
    "QUEUED".clone_into(&mut bench.status);
    bench.execution = 2;
    let ended = timeout(LONG, bench.until_other()).await;
    assert!(matches!(ended, Ok(None)), "{ended:?}");
    assert_eq!(bench.status, "SUCCEEDED");
    assert_eq!(bench.file("runs"), "run\nrun\n");
}

#[tokio::test]
async fn a_job_goes_on_while_the_light_is_away_and_what_was_lost_is_said_again() {
    let mut bench = Bench::of(&[step("one", "a.sh", &[])]).handler("a.sh", "sleep 0.2");
    bench.jobs.say(Heard::Listening);
    bench.step().await;
    bench.jobs.say(Heard::Lost);
    tokio::time::sleep(Duration::from_millis(600)).await;
    bench.lost = 1;
    assert_eq!(bench.end().await, "SUCCEEDED");
}

#[tokio::test]
async fn a_renewal_is_the_rotations_matter() {
    let rotation = OperationId::from_random([5; 16]);
    let renewal = step("Renew", HANDLER, &[rotation.as_str(), "1", "DUE"]);
    let gave_up = Heard::GaveUp(rotation.clone(), "too late".to_owned());
    for (heard, status, said) in [
        (Heard::Renewed(rotation.clone()), "SUCCEEDED", ""),
        (gave_up, "FAILED", "too late"),
    ] {
        let mut bench = Bench::of(std::slice::from_ref(&renewal));
        bench.jobs.say(Heard::Listening);
        let order = bench.until_other().await;
        assert!(
            matches!(&order, Some(Order::Renew(id)) if *id == rotation),
            "{order:?}"
        );
        // The light connects with its new certificate.
        bench.jobs.say(Heard::Lost);
        bench.jobs.say(Heard::Listening);
        let order = bench.until_other().await;
        assert!(
            matches!(order, Some(Order::Renew(_))),
            "it is reminded: {order:?}"
        );
        let other = OperationId::from_random([6; 16]);
        bench.jobs.say(Heard::GaveUp(other, String::new()));
        bench.jobs.say(heard);
        assert!(bench.until_other().await.is_none());
        assert_eq!(bench.status, status);
        let stderr = bench.details["stderr"].as_str().unwrap_or_default();
        assert_eq!(stderr, said);
    }
}
