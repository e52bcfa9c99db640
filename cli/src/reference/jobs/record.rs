//! What a device keeps for its jobs, in the directory `x.jobs`:
//!
//! | file | what |
//! | --- | --- |
//! | `progress.json` | the execution under way, mode 0600: its document may hold presigned addresses |
//! | `work/` | where handlers run, and leave what later ones need |
//! | `work/firmware_version` | the version that the light runs after its next start |
//! | `work/restart` | left by a handler that wants the light restarted |

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use lamplighter_domain::job::execution::Progress;
use lamplighter_domain::names::ThingName;

use super::handlers::User;
use crate::failure::Failure;
use crate::keys::at;
use crate::reference::durable::{self, SECRET};

const PROGRESS: &str = "progress.json";
const WORK: &str = "work";
const FIRMWARE: &str = "firmware_version";
const RESTART: &str = "restart";
/// What a shadow reports as a version has at most this many characters.
const LONGEST_VERSION: usize = 64;

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

    /// The version of the firmware that the light runs from its start on:
    /// the one that a job has installed, or else this.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn firmware(&self, first: &str) -> Result<String, Failure> {
        let path = self.work().join(FIRMWARE);
        let installed = fs::read_to_string(&path).unwrap_or_default();
        let version = installed.lines().next().unwrap_or_default().trim();
        let version: String = version.chars().filter(|c| !c.is_control()).collect();
        if version.is_empty() {
            durable::put(&path, format!("{first}\n").as_bytes(), 0o644).map_err(at(&path))?;
            return Ok(first.to_owned());
        }
        Ok(version.chars().take(LONGEST_VERSION).collect())
    }

    /// Whether a handler wants the light restarted; asked once.
    pub(super) fn wants_restart(&self) -> bool {
        fs::remove_file(self.work().join(RESTART)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::{Scratch, thing};

    #[test]
    fn the_first_version_is_what_runs_until_another_is_installed() {
        let scratch = Scratch::new();
        let record = Record::open(scratch.path(), &thing("x")).unwrap();
        assert_eq!(record.firmware("1.0.0").unwrap(), "1.0.0");
        assert_eq!(record.firmware("9.9.9").unwrap(), "1.0.0", "it has one");
        let file = record.work().join(FIRMWARE);
        fs::write(&file, " 2.1.0 \r\nnotes\n").unwrap();
        assert_eq!(record.firmware("1.0.0").unwrap(), "2.1.0");
        fs::write(&file, "v".repeat(1000)).unwrap();
        assert_eq!(record.firmware("1.0.0").unwrap().len(), LONGEST_VERSION);
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
