//! The contexts of all boxes, scanned side by side: one that is small does not occupy all cores.

use std::sync::{Mutex, PoisonError};
use std::thread;

use super::{KeysError, Prepared, Tree};
use crate::inputs::{Reads, Selection};
use crate::model::Entry;
use crate::port::{ContextError, ContextFilter, Scan};

impl Tree<'_> {
    /// Returns what the build of each box can read, in their order.
    pub(super) fn scan_all(&self, boxes: &mut [Prepared<'_>]) -> Vec<Result<Vec<Entry>, KeysError>> {
        let cores = thread::available_parallelism().map_or(1, usize::from).min(boxes.len());
        let mut found: Vec<_> = boxes.iter().map(|_| Ok(Vec::new())).collect();
        let left = Mutex::new(boxes.iter_mut().zip(&mut found));
        let work = || {
            loop {
                let next = left.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((one, found)) = next else { return };
                *found = self.scan(one);
            }
        };
        thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
        found
    }

    fn scan(&self, one: &mut Prepared<'_>) -> Result<Vec<Entry>, KeysError> {
        let Prepared { spec, root, ignore, analysis, .. } = one;
        let reads = &mut analysis.reads;
        let name = || spec.name.clone();
        if matches!(reads, Reads::Nothing) {
            return Ok(Vec::new());
        }
        let bad = |source| match source {
            ContextError::Io { action: "open" | "list", path, .. } if path == *root && !root.is_dir() => {
                KeysError::NoContext { name: name(), path: spec.context.clone() }
            }
            source => KeysError::Context { name: name(), source },
        };
        let selection = Selection::new(reads, ignore.clone());
        let scan = |filter: &dyn ContextFilter| self.context.scan(root, filter).map_err(bad);
        let entries = match scan(&selection)? {
            Scan::Entries(entries) => entries,
            Scan::Widen(link) => match scan(&Selection::whole(ignore.clone()))? {
                Scan::Entries(entries) => {
                    if let Some(source) = selection.through(&link) {
                        let reason =
                            format!("`{link}` is a symbolic link, and `{}` reads through it", source.path);
                        *reads = Reads::Whole { reason, line: source.at.line };
                    }
                    return Ok(entries);
                }
                Scan::Widen(path) => {
                    unreachable!("the whole context is wide enough, but {path} asked for more")
                }
            },
        };
        if let Some(source) = selection.missing(&entries).first() {
            let (pattern, at) = (source.path.clone(), source.at.clone());
            return Err(KeysError::NothingMatches { name: name(), at, pattern });
        }
        Ok(entries)
    }
}
