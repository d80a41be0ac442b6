//! A scan: all cores list directories and hash files until nothing is left.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::cache::{Cache, Fresh};
use super::hash::{self, BUFFER, Hashed};
use super::queue::{Job, Queue};
use super::root::{Found, Root};
use super::walk::{self, Listed, Node, Open};
use crate::model::{Entry, EntryKind, RelPath};
use crate::port::{ContextError, ContextFilter, Scan};

/// Scans `root`; what was hashed and may be remembered is returned as well.
pub fn scan(
    root: &Root,
    cache: Option<&Cache>,
    filter: &dyn ContextFilter,
) -> Result<(Scan, Vec<Fresh>), ContextError> {
    let scan = Shared { root, cache, filter, queue: Queue::default(), end: Mutex::default() };
    scan.queue.push(Job::Directory(Node::root()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let found: Vec<Part> = thread::scope(|scope| {
        let others: Vec<_> = (1..cores).map(|_| scope.spawn(|| scan.work())).collect();
        let own = scan.work();
        let join = |other: thread::ScopedJoinHandle<'_, Part>| {
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::iter::once(own).chain(others.into_iter().map(join)).collect()
    });
    let end = scan.end.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (mut entries, mut fresh) = (Vec::new(), Vec::new());
    for part in found {
        entries.extend(part.entries);
        entries.extend(part.directories.iter().filter_map(|node| node.entry()));
        fresh.extend(part.fresh);
    }
    match end {
        None => {
            // The parts are sorted, which this sort makes use of.
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            Ok((Scan::Entries(entries), fresh))
        }
        Some(Ok(widen)) => Ok((Scan::Widen(widen), fresh)),
        Some(Err(error)) => Err(error),
    }
}

struct Shared<'r> {
    root: &'r Root,
    cache: Option<&'r Cache>,
    filter: &'r dyn ContextFilter,
    queue: Queue<'r>,
    /// What ended the scan before its end: the first error, or where it must be wider.
    end: Mutex<Option<Result<RelPath, ContextError>>>,
}

/// What one worker found.
#[derive(Default)]
struct Part {
    entries: Vec<Entry>,
    /// Directories that are entries if they hold nothing.
    directories: Vec<Arc<Node>>,
    fresh: Vec<Fresh>,
}

impl<'r> Shared<'r> {
    fn work(&self) -> Part {
        let mut part = Part::default();
        let mut buffer = vec![0; BUFFER];
        let mut again = false;
        while let Some(job) = self.queue.next(again) {
            again = true;
            let done = match job {
                Job::Directory(node) => self.list(node, &mut part),
                Job::Files(open, paths) => self.files(&open, paths, &mut part, &mut buffer),
                Job::Chunks(large) => large.hash(self.root, &self.queue, &mut buffer).map(|hashed| {
                    hashed
                        .into_iter()
                        .for_each(|(entry, found)| part.add(self.cache, &large.open, entry, found));
                }),
            };
            if let Err(error) = done {
                self.finish(Err(error));
            }
        }
        part.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        part
    }

    fn finish(&self, end: Result<RelPath, ContextError>) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(end);
        self.queue.stop();
    }

    fn list(&self, node: Arc<Node>, part: &mut Part) -> Result<(), ContextError> {
        let Listed { links, widen } = walk::list(self.root, self.cache, self.filter, &node, &self.queue)?;
        part.entries.extend(links);
        part.directories.push(node);
        if let Some(path) = widen {
            self.finish(Ok(path));
        }
        Ok(())
    }

    fn files(
        &self,
        open: &Arc<Open<'r>>,
        mut paths: Vec<RelPath>,
        part: &mut Part,
        buffer: &mut [u8],
    ) -> Result<(), ContextError> {
        while let Some(path) = paths.pop() {
            if self.queue.is_stopped() {
                break;
            }
            if paths.len() > 1 && self.queue.is_hungry() {
                self.queue.push(Job::Files(Arc::clone(open), paths.split_off(paths.len() / 2)));
            }
            match hash::file(self.root, open, path, buffer)? {
                Hashed::Known(entry) => part.entries.push(entry),
                Hashed::Read(entry, found) => part.add(self.cache, open, entry, found),
                Hashed::Large(large) => {
                    // The others take part as soon as they can; the rest waits.
                    if !paths.is_empty() {
                        self.queue.push(Job::Files(Arc::clone(open), paths));
                    }
                    let cores = thread::available_parallelism().map_or(1, usize::from);
                    (0..cores).for_each(|_| self.queue.push(Job::Chunks(Arc::clone(&large))));
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl Part {
    /// Adds a file that was read.
    fn add(&mut self, cache: Option<&Cache>, open: &Open<'_>, entry: Entry, found: Found) {
        let is_kept = open.known.is_some() && cache.is_some_and(|cache| cache.takes(&found.stamp));
        if let (true, EntryKind::File { digest, .. }) = (is_kept, &entry.kind) {
            let hash = digest.to_sha256();
            self.fresh.extend(hash.map(|hash| Fresh { path: entry.path.clone(), stamp: found.stamp, hash }));
        }
        self.entries.push(entry);
    }
}
