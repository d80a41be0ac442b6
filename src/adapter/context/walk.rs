//! Listing directories: which entries there are, and which files are to be hashed.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;

use super::cache::Cache;
use super::names::Names;
use super::node::{Node, Open};
use super::queue::{Job, Queue};
use super::root::{Root, io_error};
use crate::model::{Entry, EntryKind, RelPath};
use crate::port::{ContextError, ContextFilter, Special, Visit};

/// Boxwright's own state in a context's root.
const OWN_STATE: &[u8] = b".boxwright";
/// How many files of one directory are held back before they are hashed.
const BATCH: usize = 512;

/// What a directory holds besides files.
#[derive(Default)]
pub struct Listed {
    /// Symbolic links.
    pub links: Vec<Entry>,
    /// What no context holds.
    pub special: Vec<Special>,
}

/// Lists a directory, its names by way of `buffer`; its files and directories go to the queue.
pub fn list<'r>(
    root: &'r Root,
    cache: Option<&'r Cache>,
    filter: &dyn ContextFilter,
    node: &Arc<Node>,
    queue: &Queue<'r>,
    buffer: &mut [MaybeUninit<u8>],
) -> Result<Listed, ContextError> {
    let here = node.path.as_ref();
    let directory = root.directory(here)?;
    let known = cache.and_then(|cache| cache.directory(here.map_or(b"", RelPath::as_bytes), directory.fd()));
    let open = Arc::new(Open { directory, known });
    let at = || here.map_or_else(|| root.path().to_owned(), |path| root.join(path));
    let fail = |errno: Errno| io_error("list", &at(), errno.into());
    let mut listed = Listed::default();
    let mut files = Vec::new();
    let mut names = Names::new(open.directory.fd(), buffer).map_err(fail)?;
    while let Some(next) = names.next() {
        let (name, kind) = next.map_err(fail)?;
        if name == b"." || name == b".." || (here.is_none() && name == OWN_STATE) {
            continue;
        }
        if queue.is_stopped() {
            break;
        }
        let name = OsStr::from_bytes(name);
        let shown = || at().join(name);
        let path = RelPath::join(here, name.as_bytes())
            .map_err(|error| io_error("list", &shown(), std::io::Error::other(error)))?;
        let kind = match kind {
            FileType::Unknown => rustix::fs::statat(open.directory.fd(), name, AtFlags::SYMLINK_NOFOLLOW)
                .map(|stat| FileType::from_raw_mode(stat.st_mode))
                .map_err(|errno| io_error("list", &shown(), errno.into()))?,
            kind => kind,
        };
        let is_directory = kind == FileType::Directory;
        let visit = if is_directory { filter.directory(&path) } else { filter.leaf(&path) };
        match visit {
            Visit::Pass if is_directory => {}
            Visit::Pass | Visit::Prune => continue,
            Visit::Take => {
                if let Some(kind) = special(kind) {
                    listed.special.push(Special { path, kind });
                    continue;
                }
                node.hold();
            }
        }
        match kind {
            FileType::Directory => queue.push(Job::Directory(node.below(path, visit == Visit::Take))),
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(open.directory.fd(), name, Vec::new())
                    .map_err(|errno| io_error("read", &shown(), errno.into()))?;
                let kind = EntryKind::Symlink { target: target.to_bytes().into() };
                listed.links.push(Entry { path, kind });
            }
            _ => {
                files.push(path);
                if files.len() >= BATCH {
                    queue.push(Job::Files(Arc::clone(&open), std::mem::take(&mut files)));
                }
            }
        }
    }
    if !files.is_empty() {
        queue.push(Job::Files(open, files));
    }
    Ok(listed)
}

/// What it is that no context holds.
fn special(kind: FileType) -> Option<&'static str> {
    match kind {
        FileType::RegularFile | FileType::Directory | FileType::Symlink => None,
        FileType::Fifo => Some("FIFO"),
        FileType::Socket => Some("socket"),
        _ => Some("device"),
    }
}
