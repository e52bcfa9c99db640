//! What a device keeps for its jobs, in the directory `x.jobs`:
//!
//! | file | what |
//! | --- | --- |
//! | `progress.json` | the execution under way, mode 0600: its document may hold presigned addresses |
//! | `first_version` | the version that the light runs until a job installs one |
//! | `work/` | where handlers run, and leave what later ones need |
//! | `work/firmware_version` | the version that the light runs after its next start |
//! | `work/restart` | left by a handler that wants the light restarted |
//!
//! The folder `work` may be another user's, and `lamp` root: nothing is written
//! there, and what is read is read as a stranger's.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use lamplighter_domain::job::execution::Progress;
use lamplighter_domain::names::ThingName;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;

use super::handlers::User;
use crate::failure::Failure;
use crate::keys::at;
use crate::reference::durable::{self, SECRET};

const PROGRESS: &str = "progress.json";
const FIRST: &str = "first_version";
const WORK: &str = "work";
const FIRMWARE: &str = "firmware_version";
const RESTART: &str = "restart";
/// What a shadow reports as a version has at most this many characters.
const LONGEST_VERSION: usize = 64;
/// A file with more bytes than this is no version with notes on it.
const LARGEST_NOTES: u64 = 65_536;

/// A device's directory.
#[derive(Clone, Debug)]
pub(super) struct Record {
    directory: PathBuf,
}

impl Record {
    /// Makes the directories, which may be there.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn open(under: &Path, thing: &ThingName) -> Result<Self, Failure> {
        let record = Self {
            directory: under.join(format!("{thing}.jobs")),
        };
        let work = record.work();
        durable::directory(&work).map_err(at(&work))?;
        // Handlers of other users get as far as the folder they work in.
        fs::set_permissions(&record.directory, Permissions::from_mode(0o711))
            .map_err(at(&record.directory))?;
        Ok(record)
    }

    /// The folder in which handlers run.
    pub(super) fn work(&self) -> PathBuf {
        self.directory.join(WORK)
    }

    /// Hands that folder to the user as whom the next handler runs.
    pub(super) fn give_to(&self, user: User) -> io::Result<()> {
        chown(self.work(), Some(user.uid), Some(user.gid))
    }

    /// The execution under way.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn progress(&self) -> Result<Option<Progress>, Failure> {
        let path = self.directory.join(PROGRESS);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(at(&path))?,
        };
        serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| Failure::failed(format!("{}: {error}", path.display()), ""))
    }

    /// Stores it, or that there is none.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn keep(&self, progress: Option<&Progress>) -> Result<(), Failure> {
        let path = self.directory.join(PROGRESS);
        let kept = match progress {
            None => durable::remove(&path),
            Some(progress) => {
                let text = serde_json::to_string_pretty(progress)
                    .map_err(|error| Failure::failed(format!("the progress: {error}"), ""))?;
                durable::put(&path, text.as_bytes(), SECRET)
            }
        };
        kept.map_err(at(&path))
    }

    /// The version of the firmware that a job has installed, if one has.
    ///
    /// # Errors
    /// Why what is there is none, for people.
    pub(super) fn installed(&self) -> Result<Option<String>, String> {
        let path = self.work().join(FIRMWARE);
        let found = strangers(&path).and_then(|text| text.as_deref().map(version).transpose());
        found.map_err(|why| format!("{} is not read: {why}", path.display()))
    }

    /// The version that the light runs until then: this, or what it was told
    /// when it first started.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn first(&self, told: &str) -> Result<String, Failure> {
        let path = self.directory.join(FIRST);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                durable::put(&path, format!("{told}\n").as_bytes(), 0o644).map_err(at(&path))?;
                Ok(told.to_owned())
            }
            kept => Ok(kept.map_err(at(&path))?.trim().to_owned()),
        }
    }

    /// Whether a handler wants the light restarted; asked once.
    pub(super) fn wants_restart(&self) -> bool {
        fs::remove_file(self.work().join(RESTART)).is_ok()
    }
}

/// What is in a file of a folder that another user may have, if it is there. Not
/// what a link leads to, by either kind of link: this process may read more than
/// that user. What is no file might be waited for without end.
fn strangers(path: &Path) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(io::Error::other("it is a link")),
        file => File::from(file?),
    };
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if about.nlink() > 1 {
        return Err(io::Error::other("it is the file of another name, too"));
    }
    let mut text = String::new();
    let read = file.take(LARGEST_NOTES + 1).read_to_string(&mut text);
    if text.len() as u64 > LARGEST_NOTES {
        return Err(io::Error::other("it is too large"));
    }
    read.map(|_| Some(text))
}

/// The version that the first line of a text is.
fn version(text: &str) -> io::Result<String> {
    let line = text.lines().next().unwrap_or_default().trim();
    let version = line.chars().filter(|c| !c.is_control());
    let version: String = version.take(LONGEST_VERSION).collect();
    if version.is_empty() {
        return Err(io::Error::other("its first line is empty"));
    }
    Ok(version)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::{Scratch, thing};

    #[test]
    fn the_first_version_is_what_runs_until_another_is_installed() {
        let scratch = Scratch::new();
        let record = Record::open(scratch.path(), &thing("x")).unwrap();
        assert_eq!(record.first("1.0.0").unwrap(), "1.0.0");
        assert_eq!(record.first("9.9.9").unwrap(), "1.0.0", "it has one");
        assert_eq!(record.installed(), Ok(None));
        let file = record.work().join(FIRMWARE);
        let long = "v".repeat(1000);
        for (text, version) in [
            (" 2.1.0 \r\nnotes\n", "2.1.0"),
            (&long, &long[..LONGEST_VERSION]),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(record.installed(), Ok(Some(version.to_owned())));
        }
    }

    #[test]
    fn a_wish_to_restart_is_granted_once() {
        let scratch = Scratch::new();
        let record = Record::open(scratch.path(), &thing("x")).unwrap();
        assert!(!record.wants_restart());
        fs::write(record.work().join(RESTART), "").unwrap();
        assert!(record.wants_restart() && !record.wants_restart());
    }
}
