//! Listing directories: which entries there are, and which files are to be hashed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Dir, FileType};

use super::cache::{Cache, Files};
use super::queue::{Job, Queue};
use super::root::{Directory, Root, io_error};
use crate::model::{Entry, EntryKind, RelPath};
use crate::port::{ContextError, ContextFilter, Visit};

/// Boxwright's own state in a context's root.
const OWN_STATE: &[u8] = b".boxwright";
/// How many files of one directory are held back before they are hashed.
const BATCH: usize = 512;

/// A directory of the walk.
pub struct Node {
    path: Option<RelPath>,
    parent: Option<Arc<Node>>,
    /// Whether it is an entry if nothing below it is.
    counts: bool,
    holds: AtomicBool,
}

impl Node {
    /// The context itself, which is never an entry.
    pub fn root() -> Arc<Self> {
        Arc::new(Self { path: None, parent: None, counts: false, holds: AtomicBool::new(false) })
    }

    /// Returns its entry if it is one; known when the walk has ended.
    pub fn entry(&self) -> Option<Entry> {
        let is_entry = self.counts && !self.holds.load(Ordering::Relaxed);
        is_entry.then(|| Some(Entry { path: self.path.clone()?, kind: EntryKind::Directory }))?
    }

    fn below(self: &Arc<Self>, path: RelPath, counts: bool) -> Arc<Self> {
        let parent = Some(Arc::clone(self));
        Arc::new(Self { path: Some(path), parent, counts, holds: AtomicBool::new(false) })
    }

    /// Notes that something at or below it is an entry.
    fn hold(&self) {
        let mut node = Some(self);
        while let Some(this) = node {
            if this.holds.swap(true, Ordering::Relaxed) {
                return;
            }
            node = this.parent.as_deref();
        }
    }
}

/// An open directory, and what is remembered about its files.
pub struct Open<'r> {
    pub directory: Directory<'r>,
    /// Nothing if nothing may be remembered.
    pub known: Option<Files<'r>>,
}

/// What a directory holds besides files.
#[derive(Default)]
pub struct Listed {
    /// Symbolic links.
    pub links: Vec<Entry>,
    /// The directory the filter could not decide about, if there is one.
    pub widen: Option<RelPath>,
}

/// Lists a directory; its files and directories go to the queue.
pub fn list<'r>(
    root: &'r Root,
    cache: Option<&'r Cache>,
    filter: &dyn ContextFilter,
    node: &Arc<Node>,
    queue: &Queue<'r>,
) -> Result<Listed, ContextError> {
    let directory = root.directory(node.path.as_ref())?;
    let at = node.path.as_ref().map_or(&b""[..], RelPath::as_bytes);
    let known = cache.and_then(|cache| cache.directory(at, directory.fd()));
    let open = Arc::new(Open { directory, known });
    let shown = |name: &[u8]| -> PathBuf {
        let directory = node.path.as_ref().map_or_else(|| root.path().to_owned(), |path| root.join(path));
        directory.join(OsStr::from_bytes(name))
    };
    let mut listed = Listed::default();
    let mut files = Vec::new();
    for entry in
        Dir::read_from(open.directory.fd()).map_err(|errno| io_error("list", &shown(b""), errno.into()))?
    {
        let entry = entry.map_err(|errno| io_error("list", &shown(b""), errno.into()))?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." || (node.path.is_none() && name == OWN_STATE) {
            continue;
        }
        if queue.is_stopped() {
            break;
        }
        let path = RelPath::join(node.path.as_ref(), name)
            .map_err(|error| io_error("list", &shown(name), std::io::Error::other(error)))?;
        let kind = match entry.file_type() {
            FileType::Unknown => {
                rustix::fs::statat(open.directory.fd(), entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .map(|stat| FileType::from_raw_mode(stat.st_mode))
                    .map_err(|errno| io_error("list", &shown(name), errno.into()))?
            }
            kind => kind,
        };
        let is_directory = kind == FileType::Directory;
        let visit = match is_directory {
            true => filter.directory(&path),
            false => filter.leaf(&path, kind == FileType::Symlink),
        };
        match visit {
            Visit::Take => node.hold(),
            Visit::Pass if is_directory => {}
            Visit::Pass | Visit::Prune => continue,
            Visit::Widen => return Ok(Listed { widen: Some(path), ..listed }),
        }
        match kind {
            FileType::Directory => queue.push(Job::Directory(node.below(path, visit == Visit::Take))),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(open.directory.fd(), entry.file_name(), Vec::new())
                    .map_err(|errno| io_error("read", &shown(name), errno.into()))?;
                listed
                    .links
                    .push(Entry { path, kind: EntryKind::Symlink { target: target.to_bytes().into() } });
            }
            FileType::RegularFile => {
                files.push(path);
                if files.len() >= BATCH {
                    queue.push(Job::Files(Arc::clone(&open), std::mem::take(&mut files)));
                }
            }
            kind => {
                let kind = match kind {
                    FileType::Fifo => "FIFO",
                    FileType::Socket => "socket",
                    _ => "device",
                };
                return Err(ContextError::Special { path: shown(name), kind });
            }
        }
    }
    if !files.is_empty() {
        queue.push(Job::Files(open, files));
    }
    Ok(listed)
}
