//! Files that have their name only when they are whole.

use std::io::ErrorKind::NotFound;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::error::CliError;
use crate::adapter::beneath;

/// Puts a file with this text at the place of what is there: no reader sees half of it, and where a
/// link stood, what it led to stays as it is.
///
/// # Errors
/// Something else than a file is there, such as a device, which would be gone for everybody.
pub fn write(path: &Path, text: &str) -> Result<(), CliError> {
    let is_file = path.metadata().map_or_else(|error| error.kind() == NotFound, |it| it.is_file());
    // `/dev/stdout` may lead to a file.
    if !is_file || path.starts_with("/dev") {
        return Err(CliError::Usage(format!("{}: what is there is no file", path.display())));
    }
    let directory = directory(path)?;
    let write = || {
        let mut file =
            tempfile::Builder::new().prefix(".boxwright-").permissions(mode()).tempfile_in(directory)?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(|source| CliError::Io { action: "write", path: path.to_owned(), source })
}

/// Names the directory that a file is in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// Returns the directory that a file is made in before it gets this name.
///
/// # Errors
/// A link of a repository leads it out of that, or into its `.git`: whoever committed that would
/// choose what is written over. Who names such a place itself means it.
pub fn directory(path: &Path) -> Result<&Path, CliError> {
    let directory = parent(path);
    match std::env::current_dir().ok().and_then(|here| beneath::astray(&here, directory)) {
        None => Ok(directory),
        Some(real) => Err(CliError::Usage(format!(
            "{}: its directory is {}, by a link in the repository; name that itself if it is meant",
            path.display(),
            real.display()
        ))),
    }
}

/// What an ordinary file may have; the process's mask is taken off by the system.
pub fn mode() -> std::fs::Permissions {
    std::fs::Permissions::from_mode(0o666)
}
