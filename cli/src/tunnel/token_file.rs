//! The file that keeps a tunnel's token: the only copy of it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::keys::at;

/// Refuses a file that may have the only token of another tunnel.
pub(super) fn not_there(file: &Path) -> Result<(), Failure> {
    if file.symlink_metadata().is_err() {
        return Ok(());
    }
    Err(Failure::refused(
        "token-file",
        format!(
            "{} is there already, and may be the only copy of a tunnel's token",
            file.display()
        ),
        "Give another --token-file, or --force to replace it.",
    ))
}

/// Makes sure that a token can be kept before there is one: it is given once.
/// Without a name the file will be in the working folder.
pub(super) fn try_out(file: Option<&Path>) -> Result<(), Failure> {
    let file = file.unwrap_or(Path::new("tunnel.token"));
    if file.is_dir() {
        return Err(at(file)(io::ErrorKind::IsADirectory.into()));
    }
    let beside = beside(file);
    let tried = owners_only(&beside).and_then(|_| std::fs::remove_file(&beside));
    tried.map_err(at(file))
}

/// Where a file is written before it takes the place of the one that it replaces.
fn beside(file: &Path) -> PathBuf {
    file.with_extension("new")
}

fn owners_only(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Replaces what is in the file: the token before is worth nothing.
pub(super) fn write(file: &Path, token: &str) -> Result<(), Failure> {
    let beside = beside(file);
    let written = || {
        let mut new = owners_only(&beside)?;
        new.write_all(token.as_bytes())?;
        new.sync_all()?;
        std::fs::rename(&beside, file)
    };
    written().map_err(at(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::read_secret;

    #[test]
    fn a_token_is_its_owners_only_and_replaced() {
        let name = format!("lamp-token-{}", std::process::id());
        let file = std::env::temp_dir().join(name).with_extension("token");
        for token in ["first", "second"] {
            try_out(Some(&file)).unwrap();
            write(&file, token).unwrap();
            assert_eq!(read_secret(&file).unwrap().as_str(), token);
        }
        not_there(&file).unwrap_err();
        std::fs::remove_file(&file).unwrap();
        try_out(Some(&file)).unwrap();
        not_there(&file).unwrap();
        assert!(!file.exists() && !beside(&file).exists());
        try_out(Some(&std::env::temp_dir())).unwrap_err();
        try_out(Some(&file.join("token"))).unwrap_err();
    }
}
