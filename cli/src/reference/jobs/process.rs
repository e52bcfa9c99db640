//! A handler as a process: without a shell, in a group of its own that ends
//! with it, for a limited time, and printing so much and no more.

use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use lamplighter_domain::job::execution::{Exit, Output, Room, Run};
use rustix::process::{Pid, Signal, kill_process_group};
use std::os::unix::process::ExitStatusExt;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until, timeout};

use super::handlers::User;
use super::leftovers::MARK;

/// Where a handler's own programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// For what a handler has printed, once it has ended: what it left running may
/// hold its output open for ever.
const DRAIN: Duration = Duration::from_millis(500);
/// For a process to end that was killed. One that is another user's by now
/// (`exec sudo`) cannot be killed by a `lamp` that is not root.
const REAP: Duration = Duration::from_secs(3);

/// How a handler ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit: Exit,
    pub(super) output: Output,
    /// Whether its process is gone, too.
    pub(super) gone: bool,
}

impl Ended {
    /// What never ran.
    pub(super) fn not_started(reason: String) -> Self {
        Self {
            exit: Exit::NotStarted(reason),
            output: Output::default(),
            gone: true,
        }
    }
}

/// The command for a handler in a folder. Its arguments reach it as they are,
/// and so does the mark to all that it starts.
pub(super) fn command(
    run: &Run,
    mark: &str,
    folder: &Path,
    within: &Path,
    user: Option<User>,
) -> Command {
    let mut command = Command::new(folder.join(&run.handler));
    command
        .args(&run.args)
        .env_clear()
        .env("PATH", PATH)
        .envs(run.env.iter().map(|(name, value)| (name, value)))
        .env(MARK, mark)
        .current_dir(within)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(user) = user {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// Runs it to its end, for as long as it may take, or until it is not wanted.
pub(super) async fn run(
    mut command: Command,
    patience: Duration,
    unwanted: impl Future<Output = ()>,
) -> Ended {
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => return Ended::not_started(error.to_string()),
    };
    let mut output = Output::default();
    let until = Instant::now() + patience;
    let group = Group(child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())));
    let exit = tokio::select! {
        exit = watch(&mut child, until, &mut output) => exit,
        () = unwanted => Exit::Signal(Signal::KILL.as_raw()),
    };
    drop(group);
    // It may have left its group.
    let _ = child.start_kill();
    let gone = ends(child.wait(), REAP).await;
    Ended { exit, output, gone }
}

/// Whether something ends within a time.
async fn ends(work: impl Future, within: Duration) -> bool {
    timeout(within, work).await.is_ok()
}

/// All that a handler has started, ended with it.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

async fn watch(child: &mut Child, until: Instant, output: &mut Output) -> Exit {
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let (mut out_bytes, mut err_bytes) = ([0; 8192], [0; 8192]);
    let mut ended: Option<(Exit, Instant)> = None;
    loop {
        let drained = ended.as_ref().map(|(_, drained)| *drained);
        let room = tokio::select! {
            count = read(&mut out, &mut out_bytes) => output.out(&out_bytes[..count]),
            count = read(&mut err, &mut err_bytes) => output.err(&err_bytes[..count]),
            status = child.wait(), if ended.is_none() => {
                ended = Some((exit(status), Instant::now() + DRAIN));
                Room::More
            }
            () = sleep_until(until), if ended.is_none() => return Exit::TooLong,
            () = sleep_until(drained.unwrap_or(until)), if ended.is_some() => Room::More,
        };
        if room == Room::None {
            return Exit::TooMuch;
        }
        if let Some((exit, drained)) = &ended
            && ((out.is_none() && err.is_none()) || Instant::now() >= *drained)
        {
            return exit.clone();
        }
    }
}

/// Some bytes; none at the end, after which nothing more is read.
async fn read(from: &mut Option<impl AsyncRead + Unpin>, bytes: &mut [u8]) -> usize {
    let Some(stream) = from else {
        return std::future::pending().await;
    };
    let count = stream.read(bytes).await.unwrap_or(0);
    if count == 0 {
        *from = None;
    }
    count
}

fn exit(status: std::io::Result<ExitStatus>) -> Exit {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => Exit::Code(code),
            (None, signal) => Exit::Signal(signal.unwrap_or_default()),
        },
        Err(error) => Exit::NotStarted(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::future::pending;
    use std::os::unix::fs::{PermissionsExt, chown};

    use rustix::process::getpgrp;

    use super::*;
    use crate::reference::testing::Scratch;

    async fn ran(script: &str, args: &[&str], patience: Duration) -> (Exit, String, Duration) {
        ran_as(None, script, args, patience).await
    }

    async fn ran_as(
        user: Option<User>,
        script: &str,
        args: &[&str],
        patience: Duration,
    ) -> (Exit, String, Duration) {
        let scratch = Scratch::new();
        if let Some(user) = user {
            chown(scratch.path(), Some(user.uid), Some(user.gid)).unwrap();
        }
        let path = scratch.path().join("handler.sh");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let handler = Run {
            handler: "handler.sh".to_owned(),
            folder: None,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            user: None,
            env: [
                ("LAMP_JOB_ID", "job".to_owned()),
                ("LAMP_STEP_RUN", "1".to_owned()),
                ("LAMP_STEP_BOOT", String::new()),
            ],
        };
        let command = command(&handler, "mark", scratch.path(), scratch.path(), user);
        let started = Instant::now();
        let exit = run(command, patience, pending()).await.exit;
        let said = fs::read_to_string(scratch.path().join("said")).unwrap_or_default();
        (exit, said, started.elapsed())
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn a_handler_is_run_as_it_is_named_and_no_shell_reads_its_arguments() {
        let args = ["", "; touch x", "$(id)", "a b", "*"];
        let script = r#"printf '%s|' "$@" "$LAMP_JOB_ID" "$LAMP_STEP_RUN" "$HOME" > said"#;
        let (exit, said, _) = ran(script, &args, LONG).await;
        assert_eq!(exit, Exit::Code(0));
        assert_eq!(said, "|; touch x|$(id)|a b|*|job|1||");
    }

    #[tokio::test]
    async fn how_a_handler_ends() {
        for (script, patience, expected) in [
            ("exit 3", LONG, Exit::Code(3)),
            ("kill -TERM $$", LONG, Exit::Signal(15)),
            ("sleep 30", Duration::from_millis(200), Exit::TooLong),
            ("exec yes", LONG, Exit::TooMuch),
            ("exec yes >&2", LONG, Exit::TooMuch),
        ] {
            let (exit, _, took) = ran(script, &[], patience).await;
            assert_eq!(exit, expected, "{script}");
            assert!(took < Duration::from_secs(15), "{script}: {took:?}");
        }
    }

    #[tokio::test]
    async fn nothing_that_a_handler_started_outlives_it() {
        let script = "(sleep 2; echo late > said) & exit 0";
        let (exit, _, took) = ran(script, &[], LONG).await;
        assert_eq!(exit, Exit::Code(0));
        assert!(took < Duration::from_secs(2), "{took:?}");
    }

    #[tokio::test]
    async fn a_handler_is_ended_when_it_has_left_its_group_or_is_not_wanted() {
        let soon = Duration::from_millis(200);
        let killed = Exit::Signal(9);
        for (patience, wanted, expected) in [(soon, LONG, Exit::TooLong), (LONG, soon, killed)] {
            let mut command = Command::new("sleep");
            command.arg("30").stdin(Stdio::null());
            command.process_group(getpgrp().as_raw_nonzero().get());
            let started = Instant::now();
            let ended = run(command, patience, tokio::time::sleep(wanted)).await;
            assert_eq!(ended.exit, expected);
            assert!(ended.gone && started.elapsed() < REAP, "{ended:?}");
        }
    }

    #[tokio::test]
    async fn what_cannot_be_killed_is_waited_for_so_long() {
        assert!(ends(async {}, LONG).await);
        let waits = ends(pending::<()>(), Duration::from_millis(20));
        assert_eq!(timeout(LONG, waits).await, Ok(false));
    }

    /// Where the tests are root's, another user than they are.
    #[tokio::test]
    async fn a_handler_is_run_as_the_user_that_is_named() {
        let users = super::super::handlers::users;
        let all = users(&["nobody".to_owned()])
            .or_else(|_| users(&[]))
            .unwrap();
        let named = all.get_key_value("nobody").or_else(|| all.iter().next());
        let Some((name, user)) = named else {
            // A user without an entry in passwd(5) cannot be named.
            return;
        };
        let (exit, said, _) = ran_as(Some(*user), "id -un > said; id -G >> said", &[], LONG).await;
        assert_eq!(exit, Exit::Code(0));
        assert!(said.starts_with(&format!("{name}\n")), "{said}");
        if name == "nobody" {
            assert_eq!(
                said.lines().nth(1),
                Some(user.gid.to_string().as_str()),
                "{said}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_no_program_is_not_started() {
        let scratch = Scratch::new();
        let command = Command::new(scratch.path().join("none"));
        let ended = run(command, LONG, pending()).await;
        assert!(matches!(ended.exit, Exit::NotStarted(_)), "{ended:?}");
    }
}
