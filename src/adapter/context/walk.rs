//! Walking a context: which entries there are, and which files are to be hashed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::hash::Queue;
use super::root::io_error;
use crate::model::{Entry, EntryKind, RelPath};
use crate::port::{ContextError, ContextFilter, Visit};

/// Boxwright's own state in a context's root.
const OWN_STATE: &[u8] = b".boxwright";

/// What a walk found beside the files, which went to the queue.
pub enum Walked {
    /// Symbolic links and empty directories.
    Others(Vec<Entry>),
    /// The filter asked for a wider one at this path.
    Widen(RelPath),
}

/// Walks `root` in one thread and hands the files that `filter` takes to `queue`.
pub fn walk(root: &Path, filter: &dyn ContextFilter, queue: &Queue<'_>) -> Result<Walked, ContextError> {
    let mut others = Vec::new();
    let mut open = Directories::default();
    // Entries of one directory need no order: all are sorted in the end.
    let mut walk = WalkDir::new(root).min_depth(1).follow_links(false).into_iter();
    while let Some(next) = walk.next() {
        if queue.is_stopped() {
            break;
        }
        let entry = next.map_err(|error| walk_error(root, error))?;
        open.leave(entry.depth(), &mut others);
        let path = relative(root, &entry)?;
        let kind = entry.file_type();
        if kind.is_dir() {
            let own = entry.depth() == 1 && path.as_bytes() == OWN_STATE;
            match if own { Visit::Prune } else { filter.directory(&path) } {
                Visit::Take => open.enter(path, true),
                Visit::Pass => open.enter(path, false),
                Visit::Prune => walk.skip_current_dir(),
                Visit::Widen => return Ok(Walked::Widen(path)),
            }
            continue;
        }
        if entry.depth() == 1 && path.as_bytes() == OWN_STATE {
            continue;
        }
        match filter.leaf(&path, kind.is_symlink()) {
            Visit::Take => open.took(),
            Visit::Pass | Visit::Prune => continue,
            Visit::Widen => return Ok(Walked::Widen(path)),
        }
        if kind.is_symlink() {
            let target =
                std::fs::read_link(entry.path()).map_err(|error| io_error("read", entry.path(), error))?;
            let target = target.as_os_str().as_bytes().into();
            others.push(Entry { path, kind: EntryKind::Symlink { target } });
        } else if kind.is_file() {
            queue.push(path);
        } else {
            let kind = match kind {
                kind if kind.is_fifo() => "FIFO",
                kind if kind.is_socket() => "socket",
                _ => "device",
            };
            return Err(ContextError::Special { path: entry.into_path(), kind });
        }
    }
    open.leave(1, &mut others);
    Ok(Walked::Others(others))
}

/// The directories from the root down to where the walk is.
#[derive(Default)]
struct Directories(Vec<Directory>);

struct Directory {
    path: RelPath,
    counts: bool,
    holds: bool,
}

impl Directories {
    fn enter(&mut self, path: RelPath, counts: bool) {
        self.0.push(Directory { path, counts, holds: false });
    }

    fn took(&mut self) {
        if let Some(last) = self.0.last_mut() {
            last.holds = true;
        }
    }

    /// Leaves all directories at `depth` and below; those that count and hold nothing
    /// become entries.
    fn leave(&mut self, depth: usize, entries: &mut Vec<Entry>) {
        while self.0.len() >= depth {
            let Some(left) = self.0.pop() else { return };
            if left.counts && !left.holds {
                entries.push(Entry { path: left.path, kind: EntryKind::Directory });
                self.took();
            } else if left.holds {
                self.took();
            }
        }
    }
}

fn relative(root: &Path, entry: &DirEntry) -> Result<RelPath, ContextError> {
    let path = entry.path();
    let bytes = path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes();
    RelPath::new(bytes).map_err(|error| io_error("list", path, std::io::Error::other(error)))
}

fn walk_error(root: &Path, error: walkdir::Error) -> ContextError {
    let path = error.path().map_or_else(|| PathBuf::from(OsStr::new(root)), Path::to_owned);
    let source = error.into_io_error().unwrap_or_else(|| std::io::Error::other("a loop of links"));
    ContextError::Io { action: "list", path, source }
}
