//! Directories of a walk: as entries, and as they are open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cache::Files;
use super::root::Directory;
use crate::model::{Entry, EntryKind, RelPath};

/// A directory of the walk.
pub struct Node {
    pub(super) path: Option<RelPath>,
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

    pub(super) fn below(self: &Arc<Self>, path: RelPath, counts: bool) -> Arc<Self> {
        let parent = Some(Arc::clone(self));
        Arc::new(Self { path: Some(path), parent, counts, holds: AtomicBool::new(false) })
    }

    /// Notes that something at or below it is an entry.
    pub(super) fn hold(&self) {
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
    pub known: Option<Files>,
}
