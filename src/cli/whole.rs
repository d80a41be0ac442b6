//! Files that have their name only when they are whole.

use std::io::ErrorKind::NotFound;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path};

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
/// It is in the repository by its name, and elsewhere or in its `.git` by a link: whoever committed
/// that would choose what is written over.
pub fn directory(path: &Path) -> Result<&Path, CliError> {
    let directory = parent(path);
    let here = std::env::current_dir().ok();
    let (Some(here), Ok(real)) = (here, directory.canonicalize()) else { return Ok(directory) };
    // Whoever writes `..` has looked.
    if directory.components().any(|part| part == Component::ParentDir) {
        return Ok(directory);
    }
    let named = here.join(directory);
    let ours = Some(beneath::bounds(&here)).filter(|root| named.starts_with(root));
    // A link may lead to where a `.git` is, so that of those above the first counts.
    let has_git = |above: &&Path| above.join(".git").symlink_metadata().is_ok();
    let root = ours.or_else(|| named.ancestors().filter(has_git).last());
    let Some((root, real_root)) = root.and_then(|root| Some((root, root.canonicalize().ok()?))) else {
        return Ok(directory);
    };
    let below = real.strip_prefix(&real_root).ok();
    let is_inside = below.is_some_and(|below| !below.starts_with(".git"));
    if !is_inside && below != named.strip_prefix(root).ok() {
        return Err(CliError::Usage(format!(
            "{}: its directory is {}, by a link in the repository; name that itself if it is meant",
            path.display(),
            real.display()
        )));
    }
    Ok(directory)
}

/// What an ordinary file may have; the process's mask is taken off by the system.
pub fn mode() -> std::fs::Permissions {
    std::fs::Permissions::from_mode(0o666)
}
