//! Files that are whole or not there, whenever the power goes.
//!
//! A write goes to a file beside, which is flushed to the disk, takes the place
//! of the old one by a rename, and is there for good once its directory has
//! been flushed too (rename(2) is atomic; fsync(2) says that it does not flush
//! the directory's entry).

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// For the owner only.
pub(super) const SECRET: u32 = 0o600;

/// What is begun beside a file and was never finished.
pub(super) const UNFINISHED: &str = "new";

/// Puts a file in its place, whole.
pub(super) fn put(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let beside = beside(path);
    power::step("create")?;
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)?;
    // The process's umask can only have narrowed the mode.
    file.set_permissions(Permissions::from_mode(mode))?;
    power::step("write").inspect_err(|_| {
        let _ = file.write_all(&content[..content.len() / 2]);
    })?;
    file.write_all(content)?;
    power::step("flush")?;
    file.sync_all()?;
    power::step("rename")?;
    fs::rename(&beside, path)?;
    flush_directory(path)
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    power::step("remove")?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory that only its owner enters; it may be there already.
pub(super) fn directory(path: &Path) -> io::Result<()> {
    power::step("mkdir")?;
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    flush_directory(path)
}

/// Flushes the directory that a file is in.
fn flush_directory(of: &Path) -> io::Result<()> {
    power::step("flush directory")?;
    let parent = match of.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    name.into()
}

/// In tests the power can go before any step; here it stays.
#[cfg(not(test))]
mod power {
    #[expect(clippy::unnecessary_wraps, reason = "in tests it fails")]
    pub(super) const fn step(_: &'static str) -> std::io::Result<()> {
        Ok(())
    }
}

/// A supply of power that lasts for so many steps of this thread.
#[cfg(test)]
pub(super) mod power {
    use std::cell::{Cell, RefCell};
    use std::io;

    thread_local! {
        static LEFT: Cell<usize> = const { Cell::new(usize::MAX) };
        static TAKEN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
    }

    /// Lets this many steps happen; those after them fail.
    pub(in crate::reference) fn lasts(steps: usize) {
        LEFT.set(steps);
        TAKEN.take();
    }

    /// Lets everything happen again, and says what happened since.
    pub(in crate::reference) fn back() -> Vec<&'static str> {
        LEFT.set(usize::MAX);
        TAKEN.take()
    }

    pub(in crate::reference) fn step(name: &'static str) -> io::Result<()> {
        let left = LEFT.get();
        if left == 0 {
            return Err(io::Error::other("the power is gone"));
        }
        LEFT.set(left - 1);
        TAKEN.with_borrow_mut(|taken| taken.push(name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::testing::Scratch;

    #[test]
    fn a_file_is_flushed_before_it_takes_its_place() {
        let scratch = Scratch::new();
        power::lasts(usize::MAX);
        put(&scratch.path().join("x"), b"1", SECRET).unwrap();
        assert_eq!(
            power::back(),
            ["create", "write", "flush", "rename", "flush directory"]
        );
    }

    #[test]
    fn without_power_a_file_is_the_old_or_the_new_one() {
        let scratch = Scratch::new();
        let path = scratch.path().join("x");
        put(&path, b"old", SECRET).unwrap();
        for steps in 0..5 {
            power::lasts(steps);
            put(&path, b"new!", SECRET).unwrap_err();
            power::back();
            let expected: &[u8] = if steps < 4 { b"old" } else { b"new!" };
            assert_eq!(fs::read(&path).unwrap(), expected, "after {steps} steps");
        }
        put(&path, b"third", SECRET).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"third");
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, SECRET);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }
}
