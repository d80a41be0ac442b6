//! A directory that a Dockerfile names as if it were an image, hashed.

use std::path::{Path, PathBuf};

use crate::inputs::{Dockerignore, DockerignoreError, Selection, entries_digest};
use crate::model::{Digest, Entry, RelPath};
use crate::port::{Context, ContextError, Scan, Special};

/// What is left out of a directory besides what its own `.dockerignore` names.
const NEVER: &[u8] = b"\n**/.git\n";
/// The largest Dockerfile, `.dockerignore` or pinned document that is read, in bytes.
pub(crate) const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// A directory, hashed.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub root: PathBuf,
    pub entries: Vec<Entry>,
    pub special: Vec<Special>,
    pub digest: Digest,
}

impl Directory {
    /// The value of a pin that this working copy stands in for.
    pub(super) fn pin(&self) -> String {
        let hex = self.digest.hex();
        format!("local-{}", hex.get(..40).unwrap_or(hex))
    }
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: ContextError,
    },
    /// Its ignore file cannot be used.
    #[error(transparent)]
    Ignore(#[from] DockerignoreError),
    /// There is nothing in it that could be copied.
    #[error("{} holds nothing that its .dockerignore leaves", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
}

/// Hashes a directory, whose ignore file lies below `root`.
pub(super) fn read(context: &dyn Context, root: &Path, path: &Path) -> Result<Directory, DirectoryError> {
    let failed = |source| DirectoryError::Read { path: path.to_owned(), source };
    let file = path.join(".dockerignore");
    let mut patterns = context.read(root, &file, FILE_LIMIT).map_err(failed)?.unwrap_or_default();
    patterns.extend_from_slice(NEVER);
    let ignore = Dockerignore::parse(&file.display().to_string(), &patterns)?;
    let selection = Selection::whole(ignore);
    let Scan { entries, special } = context.scan(path, &selection).map_err(failed)?;
    if entries.is_empty() {
        return Err(DirectoryError::Empty { path: path.to_owned() });
    }
    let digest = entries_digest(&entries);
    Ok(Directory { root: path.to_owned(), entries, special, digest })
}

/// Joins a directory, which may be the empty path, and a path in it.
pub(crate) fn joined(root: &Path, path: &RelPath) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    match root.as_os_str().as_bytes() {
        b"" => path.as_bytes().to_vec(),
        root => [root, b"/", path.as_bytes()].concat(),
    }
}
