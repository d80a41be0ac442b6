//! The contexts of all boxes, scanned side by side: one that is small does not occupy all cores.

use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::exec::keys::error::KeysError;
use crate::exec::keys::prepare::Prepared;
use crate::exec::keys::tree::Tree;
use crate::inputs::{Links, Missing, Reads, Selection};
use crate::model::RelPath;
use crate::port::{ContextError, ContextFilter, Scan};

impl Tree<'_> {
    /// Returns what the build of each box can read, in their order.
    pub(super) fn scan_all(&self, boxes: &mut [Prepared<'_>]) -> Vec<Result<Scan, KeysError>> {
        let cores = thread::available_parallelism().map_or(1, usize::from).min(boxes.len());
        let mut found: Vec<_> = boxes.iter().map(|_| Ok(Scan::default())).collect();
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

    fn scan(&self, one: &mut Prepared<'_>) -> Result<Scan, KeysError> {
        let Prepared { spec, root, ignore, analysis, .. } = one;
        let reads = &mut analysis.reads;
        let name = || spec.name.clone();
        if matches!(reads, Reads::Nothing) {
            return Ok(Scan::default());
        }
        let bad = |source| match source {
            ContextError::Io { action: "open" | "list", path, .. } if path == *root && !root.is_dir() => {
                KeysError::NoContext { name: name(), path: spec.context.clone() }
            }
            source => KeysError::Context { name: name(), source },
        };
        let mut link = |path: &[u8]| self.context.link(root, &RelPath::new(path).ok()?);
        let mut links = Links::new(&mut link);
        let mut selection = Selection::new(reads, ignore.clone(), &mut links);
        let scan = |filter: &dyn ContextFilter| self.context.scan(root, filter).map_err(bad);
        let mut found = scan(&selection)?;
        if selection.follow(&found.entries, &mut links) {
            found = scan(&selection)?;
        }
        if let Some(Missing { source, leads }) = selection.missing(&found.entries).into_iter().next() {
            let (pattern, at) = (source.path, source.at);
            return Err(KeysError::NothingMatches { name: name(), at, pattern, leads });
        }
        if let Some((reason, line)) = selection.grown() {
            let (reason, line) = (reason.clone(), *line);
            *reads = Reads::Whole { reason, line, named: true };
        }
        Ok(found)
    }
}
