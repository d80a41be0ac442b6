//! Build contexts on disk.

use std::io;
use std::path::{Path, PathBuf};

use crate::model::{Entry, ErrorKind, Explained, Explanation, RelPath};

/// Reads build contexts. Its calls block; callers keep them off the async runtime.
pub trait Context: Send + Sync {
    /// Walks `root` and hashes what `filter` takes, sorted by path bytes.
    fn scan(&self, root: &Path, filter: &dyn ContextFilter) -> Result<Scan, ContextError>;

    /// Reads a file of at most `limit` bytes that is below `root`, whatever links lead to it; nothing
    /// if it is not there.
    fn read(&self, root: &Path, path: &Path, limit: u64) -> Result<Option<Vec<u8>>, ContextError>;

    /// Returns the target of the symbolic link at `path` below `root`; nothing if there is none, or if
    /// a link leads there.
    fn link(&self, root: &Path, path: &RelPath) -> Option<Box<[u8]>>;

    /// Returns the path without symbolic links in it; nothing if it leads nowhere.
    fn resolve(&self, path: &Path) -> Option<PathBuf>;
}

/// Decides, path by path, what belongs to a context.
pub trait ContextFilter: Sync {
    /// Decides on a directory: whether to look inside, and whether it counts if it is empty.
    fn directory(&self, path: &RelPath) -> Visit;

    /// Decides on a file or a symbolic link.
    fn leaf(&self, path: &RelPath) -> Visit;
}

/// What to do with a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// It is part of the context.
    Take,
    /// It is not; a directory is still looked into.
    Pass,
    /// Neither it nor anything below it is.
    Prune,
}

/// The outcome of a scan.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// All entries, sorted by path bytes.
    pub entries: Vec<Entry>,
    /// What was taken and no context can hold, sorted by path bytes.
    pub special: Vec<Special>,
}

/// Something that is no file, directory or symbolic link: left out, as docker leaves it out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Special {
    /// Where it stands.
    pub path: RelPath,
    /// `FIFO`, `socket` or `device`.
    pub kind: &'static str,
}

/// Why a context cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The system refused.
    #[error("cannot {action} `{path}`")]
    Io {
        /// What was tried: `read`, `list`, …
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A link leads it out of what may be read.
    #[error("`{path}` leads out of `{root}`")]
    Outside {
        path: PathBuf,
        /// What it leads out of.
        root: PathBuf,
    },
    /// It is git's own, which holds what a checkout logged in with.
    #[error("`{path}` is in a `.git`, of which nothing is read")]
    InGit { path: PathBuf },
    /// Its bytes changed each time it was read.
    #[error("`{path}` keeps changing while it is read")]
    Changing { path: PathBuf },
    /// It is no longer what was hashed.
    #[error("`{path}` changed after it was hashed")]
    Changed { path: PathBuf },
}

impl Explained for ContextError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Outside { .. } => ErrorKind::Usage
                .hint("files of a repository are read inside it only; put what it leads to there"),
            Self::InGit { .. } => {
                ErrorKind::Usage.hint("it holds what a checkout logged in with; name a file of the work tree")
            }
            Self::Io { .. } => ErrorKind::Usage.into(),
            Self::Changing { .. } | Self::Changed { .. } => ErrorKind::Failed.into(),
        }
    }
}
