//! What a device lets jobs run, and as whom.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) use lamplighter_domain::job::execution::Rules;
use lamplighter_domain::rotation::job::HANDLER;

use super::passage;
use crate::failure::Failure;
use crate::keys::at;

/// What an operator lets jobs do.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where each device keeps what is its jobs'.
    pub(crate) directory: PathBuf,
    /// The folder of handlers; without one the device renews its certificate
    /// and does nothing else.
    pub(crate) handlers: Option<PathBuf>,
    /// As whom handlers may be run, beside the user that this process is.
    pub(crate) users: BTreeMap<String, User>,
    /// How long a handler may take.
    pub(crate) patience: Duration,
}

/// A user of this machine (passwd(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Settings {
    /// What the command line says. Where the devices are to keep what is their
    /// jobs' is made, if it is not there: users of handlers may pass through it.
    ///
    /// # Errors
    /// When the folder of handlers or a user is not there, this process may not
    /// become such a user, or that user does not get to either folder.
    pub(crate) fn new(
        directory: &Path,
        handlers: Option<&Path>,
        named: &[String],
        patience: Duration,
    ) -> Result<Self, Failure> {
        let handlers = handlers.map(folder).transpose()?;
        let users = users(named)?;
        let mut builder = DirBuilder::new();
        let made = builder.recursive(true).mode(0o711).create(directory);
        let found = made.and_then(|()| fs::canonicalize(directory));
        let directory = found.map_err(at(directory))?;
        for (name, user) in named.iter().filter_map(|name| users.get_key_value(name)) {
            passage::check(name, *user, &directory, "--jobs-dir")?;
            if let Some(handlers) = &handlers {
                passage::check(name, *user, handlers, "--handlers")?;
            }
        }
        Ok(Self {
            directory,
            handlers,
            users,
            patience,
        })
    }

    /// What jobs may do now. The folder is looked at for each job.
    pub(super) fn rules(&self) -> Rules {
        let entries = self.handlers.as_deref().map(entries).unwrap_or_default();
        let handler = |(name, why): &(String, Option<String>)| why.is_none().then(|| name.clone());
        let mut handlers: BTreeSet<_> = entries.iter().filter_map(handler).collect();
        handlers.insert(HANDLER.to_owned());
        let unfit = entries
            .into_iter()
            .filter_map(|(name, why)| Some((name, why?)));
        let folder = self.handlers.as_deref().and_then(Path::to_str);
        Rules {
            handlers,
            unfit: unfit.collect(),
            folders: folder.map(str::to_owned).into_iter().collect(),
            users: self.users.keys().cloned().collect(),
        }
    }
}

/// What is in a folder of handlers, and for what is none, why not.
fn entries(folder: &Path) -> Vec<(String, Option<String>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name, unfit(folder, &entry.path())))
        })
        .collect()
}

/// Why a file is no handler. The folder is the only one, so a link does not lead
/// out of it.
fn unfit(folder: &Path, entry: &Path) -> Option<String> {
    let (within, about) = match look(folder, entry) {
        Ok(found) => found,
        Err(error) => return Some(error.to_string()),
    };
    let why = if !within {
        "it is a link out of the folder of handlers"
    } else if about.is_dir() {
        "it is a folder"
    } else if !about.is_file() {
        "it is no file"
    } else if about.permissions().mode() & 0o111 == 0 {
        "it may not be executed (chmod +x)"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// Whether an entry is in the folder, and what it is, links followed.
fn look(folder: &Path, entry: &Path) -> io::Result<(bool, fs::Metadata)> {
    let (folder, file) = (fs::canonicalize(folder)?, fs::canonicalize(entry)?);
    Ok((file.starts_with(folder), fs::metadata(file)?))
}

/// The folder of handlers, as an absolute path.
///
/// # Errors
/// When there is none.
fn folder(named: &Path) -> Result<PathBuf, Failure> {
    let unusable = |reason: String| {
        let reason = format!("{}: {reason}", named.display());
        Failure::usage(reason, "Name a folder of programs with --handlers.")
    };
    let folder = fs::canonicalize(named).map_err(|error| unusable(error.to_string()))?;
    if folder.is_dir() {
        Ok(folder)
    } else {
        Err(unusable("it is no folder".to_owned()))
    }
}

/// The users as whom jobs may be run: those that are named, and the one that
/// this process is.
///
/// # Errors
/// When one is not there, or this process may not become it.
pub(super) fn users(named: &[String]) -> Result<BTreeMap<String, User>, Failure> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    // Who owns this process's entry is who it is.
    let own = fs::metadata("/proc/self").map(|process| process.uid());
    let own = own.map_err(|error| Failure::failed(format!("/proc/self: {error}"), ""))?;
    allowed(&passwd, own, named)
}

fn allowed(passwd: &str, own: u32, named: &[String]) -> Result<BTreeMap<String, User>, Failure> {
    let all: BTreeMap<_, _> = passwd.lines().filter_map(user).collect();
    let mut users: BTreeMap<_, _> = all
        .iter()
        .filter(|(_, user)| user.uid == own)
        .map(|(name, user)| (name.clone(), *user))
        .collect();
    for name in named {
        let refused = |reason: &str| {
            let reason = format!("--job-user {name}: {reason}");
            Err(Failure::usage(reason, "Run lamp as root, or as that user."))
        };
        match all.get(name) {
            None => return refused("there is no such user"),
            Some(user) if own != 0 && user.uid != own => {
                return refused("this process may not become another user");
            }
            Some(user) => users.insert(name.clone(), *user),
        };
    }
    Ok(users)
}

/// A line of passwd(5): name, password, uid, gid, and more.
fn user(line: &str) -> Option<(String, User)> {
    let mut fields = line.split(':');
    let (name, _) = (fields.next()?, fields.next()?);
    let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((name.to_owned(), User { uid, gid }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::reference::testing::Scratch;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a comment\nlamp:x:7:8::/:\nx:y\n";

    #[test]
    fn only_root_becomes_another_user() {
        let check = |own, named: &[&str], expected: Option<&[&str]>| {
            let named: Vec<_> = named.iter().map(|name| (*name).to_owned()).collect();
            let found = allowed(PASSWD, own, &named).ok();
            let found = found.map(|users| users.into_keys().collect::<Vec<_>>());
            let expected = expected.map(|names| names.iter().map(|n| (*n).to_owned()).collect());
            assert_eq!(found, expected, "{own} {named:?}");
        };
        check(0, &[], Some(&["root"]));
        check(0, &["lamp"], Some(&["lamp", "root"]));
        check(0, &["nobody"], None);
        check(7, &["lamp"], Some(&["lamp"]));
        check(7, &["root"], None);
        check(9, &[], Some(&[]));
    }

    #[test]
    fn handlers_are_the_programs_of_a_folder() {
        let scratch = Scratch::new();
        let put = |name: &str, mode| {
            let path = scratch.path().join(name);
            fs::write(&path, "#!/bin/sh\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        put("a.sh", 0o755);
        put("notes.txt", 0o644);
        fs::create_dir(scratch.path().join("more")).unwrap();
        let elsewhere = Scratch::new();
        for (name, original) in [
            ("b.sh", Path::new("a.sh")),
            ("out.sh", elsewhere.path()),
            ("sh", Path::new("/bin/sh")),
            ("lost.sh", Path::new("nowhere")),
        ] {
            symlink(original, scratch.path().join(name)).unwrap();
        }
        let settings = Settings {
            directory: scratch.path().to_owned(),
            handlers: Some(folder(scratch.path()).unwrap()),
            users: BTreeMap::new(),
            patience: Duration::from_secs(1),
        };
        let rules = settings.rules();
        let handlers: Vec<_> = rules.handlers.into_iter().collect();
        assert_eq!(handlers, ["a.sh", "b.sh", HANDLER]);
        for (name, why) in [
            ("notes.txt", "executed"),
            ("more", "a folder"),
            ("out.sh", "a link out"),
            ("sh", "a link out"),
            ("lost.sh", "No such file"),
        ] {
            assert!(rules.unfit[name].contains(why), "{name}: {:?}", rules.unfit);
        }
        let none = Settings {
            handlers: None,
            ..settings
        };
        assert_eq!(none.rules().handlers.len(), 1);
        folder(&scratch.path().join("a.sh")).unwrap_err();
        folder(&scratch.path().join("nowhere")).unwrap_err();
    }
}
