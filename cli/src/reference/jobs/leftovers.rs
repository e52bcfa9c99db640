//! What a step leaves running: what has left the handler's process group, and
//! all of it when `lamp` is killed and can end nothing any more (SIGKILL, no
//! memory left).
//!
//! Every process of a step bears a mark in its environment, which is made of
//! what is on the disk before the step begins. So there is no moment at which a
//! handler runs and is not known, and a process id that is another's by now is
//! not taken for it.

use std::fs;
use std::time::Duration;

use lamplighter_domain::job::execution::Progress;
use rustix::process::{Pid, Signal, getpgid, getpgrp, kill_process_group};

/// The variable that has the mark.
pub(super) const MARK: &str = "LAMP_STEP_ID";
/// What is said when not all of it is ended.
pub(super) const REMAINS: &str = "what a step has started may run on: it cannot be ended";
/// One that forks while it is looked for may leave a child, and one whose program
/// is only being started has no environment yet: it is looked again, until twice
/// in a row there is none.
const LOOKS: u32 = 50;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The mark of the step under way, if it was ever begun. There is none like it:
/// the start of the light is a random number.
pub(super) fn mark(progress: &Progress) -> Option<String> {
    let boot = progress.boot.as_ref()?;
    let (job, execution, step) = (&progress.job_id, progress.execution_number, progress.step);
    Some(format!("{boot}.{job}.{execution}.{step}"))
}

/// Ends the process groups of all that bear a mark. Answers whether none is
/// left; waits a second for it at most.
pub(super) fn end(mark: &str) -> bool {
    let variable = format!("{MARK}={mark}");
    let mut seen = true;
    for _ in 0..LOOKS {
        let groups = groups(variable.as_bytes());
        if groups.is_empty() && !seen {
            return true;
        }
        seen = !groups.is_empty();
        for group in groups {
            let _ = kill_process_group(group, Signal::KILL);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    false
}

/// The groups of the processes with a variable in their environment. That of a
/// process that has ended, or is none of ours, cannot be read.
fn groups(variable: &[u8]) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let environment = fs::read(entry.path().join("environ")).ok()?;
            let bears = environment.split(|byte| *byte == 0).any(|v| v == variable);
            bears.then(|| getpgid(Pid::from_raw(pid)).ok())?
        })
        .filter(|group| *group != getpgrp())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::{Child, Command};

    use super::*;

    fn sleeper(mark: &str) -> Child {
        let mut command = Command::new("sleep");
        let command = command.arg("30").env(MARK, mark).process_group(0);
        command.spawn().unwrap()
    }

    #[test]
    fn what_bears_the_mark_is_ended_and_nothing_else() {
        let own = std::process::id();
        let (mark, other) = (format!("{own}.j.1.0"), format!("{own}.j.1.01"));
        let (mut marked, mut spared) = (sleeper(&mark), sleeper(&other));
        assert!(end(&mark));
        assert_eq!(marked.wait().unwrap().signal(), Some(9));
        assert!(spared.try_wait().unwrap().is_none());
        spared.kill().unwrap();
        spared.wait().unwrap();
        assert!(end(&mark), "there is none any more");
    }

    /// A program that is only being started has an empty environment for a moment.
    #[test]
    fn what_has_just_begun_is_ended_too() {
        for number in 0..20 {
            let mark = format!("{}.k.1.{number}", std::process::id());
            let mut begun = sleeper(&mark);
            assert!(end(&mark));
            assert_eq!(begun.wait().unwrap().signal(), Some(9));
        }
    }
}
