//! Files and directories for one user's eyes: what stands in a store stands nowhere else, and it
//! lies in a repository, which may have been made by a stranger.
//!
//! Nothing is reached through a symbolic link, and no umask decides who may read.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

use super::EmbeddedError;

/// The mode of directories.
const DIRECTORY: u32 = 0o700;
/// The mode of files.
pub const FILE: u32 = 0o600;

/// Makes a directory, if there is none, and sees to it that nobody else can look into it.
pub fn directory(path: &Path) -> Result<(), EmbeddedError> {
    let made = DirBuilder::new().mode(DIRECTORY).create(path);
    match made {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY)
                .create(path)
                .map_err(EmbeddedError::io("create", path))?;
        }
        Err(error) => return Err(EmbeddedError::io("create", path)(error)),
    }
    let found = fs::symlink_metadata(path).map_err(EmbeddedError::io("read", path))?;
    if !found.is_dir() {
        return Err(EmbeddedError::io("use", path)(io::Error::other("it is no directory of its own")));
    }
    tighten(path, found.permissions().mode(), DIRECTORY)
}

/// Tells whether others can reach a directory.
pub fn is_open(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o077 != 0)
}

/// Takes the files that stand in a directory from all others.
pub fn files_in(path: &Path) -> Result<(), EmbeddedError> {
    for entry in fs::read_dir(path).map_err(EmbeddedError::io("list", path))? {
        let entry = entry.map_err(EmbeddedError::io("list", path))?;
        let path = entry.path();
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_file() => tighten(&path, found.permissions().mode(), FILE)?,
            // Another process may have been quicker.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

fn tighten(path: &Path, mode: u32, wanted: u32) -> Result<(), EmbeddedError> {
    if mode & 0o777 == wanted {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(wanted)).map_err(EmbeddedError::io("close", path))
}

/// Opens a file for reading; one that is no plain file is an error, and nothing waits for one.
pub fn open(path: &Path) -> io::Result<File> {
    plain(options().read(true).open(path)?)
}

/// Opens a file for writing, making it where there is none.
pub fn open_or_create(path: &Path) -> io::Result<File> {
    plain(options().write(true).create(true).truncate(false).mode(FILE).open(path)?)
}

/// Reads a small file.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn options() -> OpenOptions {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options.custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    options
}

fn plain(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is not a file")),
    }
}
