//! Whether a user gets to a folder. A handler is that user's process before it
//! enters the folder it works in, and before its program is looked for.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::io::Errno;

use super::handlers::User;
use crate::failure::Failure;

/// Looks whether a user gets to a folder, an absolute path without links, which
/// an option of the command line names.
///
/// # Errors
/// When one of the folders on the way does not let that user through, or this
/// process cannot become that user.
pub(super) fn check(name: &str, user: User, to: &Path, option: &str) -> Result<(), Failure> {
    let way: Vec<_> = to.ancestors().collect();
    for folder in way.into_iter().rev() {
        let Err(error) = enter(user, folder) else {
            continue;
        };
        if Errno::from_io_error(&error) != Some(Errno::ACCESS) {
            let reason = format!("--job-user {name}: {error}");
            let remedy = "Run lamp as root, or as that user.";
            return Err(Failure::usage(reason, remedy));
        }
        let (at, class) = (folder.display(), class(user, folder));
        let reason = format!("--job-user {name}: {at} does not let that user through: {error}");
        let remedy = format!("`chmod {class}+x {at}`, or name a folder elsewhere with {option}.");
        return Err(Failure::usage(reason, &remedy));
    }
    Ok(())
}

/// Enters a folder as handlers do. That is tried, for more decides than a mode
/// (acl(5)): what has no name is not there, and is only looked for in the folder.
fn enter(user: User, folder: &Path) -> io::Result<()> {
    let mut command = Command::new("");
    command.current_dir(folder).uid(user.uid).gid(user.gid);
    match command.status() {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whose bits of a folder's mode count for a user, as chmod(1) names them.
fn class(user: User, folder: &Path) -> char {
    match fs::metadata(folder) {
        Ok(about) if about.uid() == user.uid => 'u',
        Ok(about) if about.gid() == user.gid => 'g',
        _ => 'o',
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::future::pending;
    use std::os::unix::fs::{PermissionsExt, chown};
    use std::path::PathBuf;
    use std::time::Duration;

    use lamplighter_domain::job::execution::{Exit, Run};
    use rustix::process::geteuid;

    use super::super::record::Record;
    use super::super::{Settings, handlers, process};
    use super::*;
    use crate::keys::KeysDir;
    use crate::reference::testing::{Scratch, thing};

    const LONG: Duration = Duration::from_secs(20);

    /// A user that the tests are not, and may become; none where they are not root's.
    #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
    fn nobody() -> Option<User> {
        if !geteuid().is_root() {
            eprintln!("skipped: only root becomes another user");
            return None;
        }
        let users = handlers::users(&["nobody".to_owned()]).unwrap();
        users.get("nobody").copied()
    }

    fn set(folder: &Path, mode: u32) {
        fs::set_permissions(folder, Permissions::from_mode(mode)).unwrap();
    }

    /// A scratch directory's path without links.
    fn path(scratch: &Scratch) -> PathBuf {
        fs::canonicalize(scratch.path()).unwrap()
    }

    /// What a handler in `programs` says to be, run as `nobody` in a folder.
    async fn run(programs: &Path, within: &Path, nobody: User) -> (Exit, String) {
        fs::create_dir_all(programs).unwrap();
        let program = programs.join("who.sh");
        fs::write(&program, "#!/bin/sh\nid -un > said\n").unwrap();
        set(&program, 0o755);
        let run = Run {
            handler: "who.sh".to_owned(),
            folder: None,
            args: Vec::new(),
            user: None,
            env: ["LAMP_JOB_ID", "LAMP_STEP_RUN", "LAMP_STEP_BOOT"].map(|n| (n, String::new())),
        };
        let command = process::command(&run, "mark", programs, within, Some(nobody));
        let exit = process::run(command, LONG, pending()).await.exit;
        let said = fs::read_to_string(within.join("said")).unwrap_or_default();
        (exit, said)
    }

    /// Folders `a/b` of these owners and modes, and who is not let through where.
    #[tokio::test]
    async fn a_user_gets_as_far_as_a_handler_does() {
        let Some(nobody) = nobody() else { return };
        let (uid, gid) = (Some(nobody.uid), Some(nobody.gid));
        for (a, b, (uid, gid), refused) in [
            (0o711, 0o711, (None, None), None),
            (0o711, 0o700, (None, None), Some("o+x {}/a/b`")),
            (0o700, 0o711, (None, None), Some("o+x {}/a`")),
            (0o711, 0o710, (None, gid), None),
            (0o711, 0o701, (None, gid), Some("g+x {}/a/b`")),
            (0o711, 0o677, (uid, gid), Some("u+x {}/a/b`")),
        ] {
            let scratch = Scratch::new();
            let outer = path(&scratch).join("a");
            let inner = outer.join("b");
            fs::create_dir_all(&inner).unwrap();
            chown(&inner, uid, gid).unwrap();
            set(&inner, b);
            set(&outer, a);
            let checked = check("nobody", nobody, &inner, "--jobs-dir");
            let remedy = checked.err().and_then(|failure| failure.remedy);
            let expected = refused.map(|end| end.replace("{}", path(&scratch).to_str().unwrap()));
            let told = remedy.as_deref().zip(expected.as_deref());
            assert_eq!(remedy.is_some(), expected.is_some(), "{a:o} {b:o}");
            assert!(told.is_none_or(|(all, end)| all.contains(end)), "{told:?}");
            let elsewhere = scratch.path().join("handlers");
            let (exit, _) = run(&elsewhere, &inner, nobody).await;
            let started = !matches!(exit, Exit::NotStarted(_));
            assert_eq!(started, refused.is_none(), "{a:o} {b:o}: {exit:?}");
        }
    }

    /// What a command line with this folder for jobs, and those handlers, is
    /// refused with.
    fn refusal(directory: &Path, programs: &Path, named: &[&str]) -> Option<(String, String)> {
        let named: Vec<_> = named.iter().map(|name| (*name).to_owned()).collect();
        let settings = Settings::new(directory, Some(programs), &named, LONG);
        let failure = settings.err()?;
        Some((failure.reason, failure.remedy.unwrap_or_default()))
    }

    #[tokio::test]
    async fn a_user_of_jobs_runs_in_a_folder_that_lamp_has_made() {
        let Some(nobody) = nobody() else { return };
        let scratch = Scratch::new();
        let (keys, programs) = (path(&scratch).join("keys"), path(&scratch).join("programs"));
        KeysDir::open(&keys).unwrap();
        fs::create_dir(&programs).unwrap();
        assert_eq!(refusal(&keys, &programs, &[]), None);

        let (reason, remedy) = refusal(&keys, &programs, &["nobody"]).unwrap();
        let named = keys.display();
        let cause = format!("{named} does not let that user through: Permission denied");
        assert!(reason.contains(&cause), "{reason}");
        assert!(remedy.contains(&format!("`chmod o+x {named}`")), "{remedy}");
        set(&keys, 0o701);
        assert_eq!(refusal(&keys, &programs, &["nobody"]), None);

        set(&programs, 0o700);
        let (reason, remedy) = refusal(&keys, &programs, &["nobody"]).unwrap();
        assert!(reason.contains("/programs does not"), "{reason}");
        assert!(remedy.contains("--handlers"), "{remedy}");
        set(&programs, 0o755);

        let fresh = path(&scratch).join("new/jobs");
        for directory in [&keys, &fresh] {
            assert_eq!(refusal(directory, &programs, &["nobody"]), None);
            let record = Record::open(directory, &thing("x")).unwrap();
            record.give_to(nobody).unwrap();
            let ran = run(&programs, &record.work(), nobody).await;
            assert_eq!(ran, (Exit::Code(0), "nobody\n".to_owned()));
        }
    }
}
