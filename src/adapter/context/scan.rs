//! A scan: all cores list directories and hash files until nothing is left.

use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use super::cache::{Cache, Fresh};
use super::hash::{self, BUFFER, Hashed};
use super::node::{Node, Open};
use super::queue::{Job, Queue};
use super::root::{Found, Root};
use super::walk::{self, Listed};
use crate::adapter::locked::locked;
use crate::model::{Entry, EntryKind, RelPath};
use crate::port::{ContextError, ContextFilter, Scan, Special};

/// The bytes of a directory's names that are read at a time.
const NAMES: usize = 32 << 10;

/// Scans `root`; what was hashed and may be remembered is returned as well.
pub fn scan(
    root: &Root,
    cache: Option<&Cache>,
    filter: &dyn ContextFilter,
) -> Result<(Scan, Vec<Fresh>), ContextError> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let scan = Shared { root, cache, filter, cores, queue: Queue::default(), end: Mutex::default() };
    scan.queue.push(Job::Directory(Node::root()));
    let parts: Vec<Part> = thread::scope(|scope| {
        let others: Vec<_> = (1..cores).map(|_| scope.spawn(|| scan.work())).collect();
        let own = scan.work();
        let join = |other: thread::ScopedJoinHandle<'_, Part>| {
            other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        std::iter::once(own).chain(others.into_iter().map(join)).collect()
    });
    let (mut runs, mut fresh, mut special) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        runs.extend(part.runs.into_iter().filter(|run| !run.is_empty()));
        runs.extend(part.directories.iter().filter_map(|node| Some(vec![node.entry()?])));
        fresh.extend(part.fresh);
        special.extend(part.special);
    }
    special.sort_unstable();
    match scan.end.into_inner().unwrap_or_else(PoisonError::into_inner) {
        None => Ok((Scan { entries: join(runs), special }, fresh)),
        Some(error) => Err(error),
    }
}

/// Sorts by path. A run is what one directory holds, in order; with the runs in order as
/// well, little is left to do.
fn join(mut runs: Vec<Vec<Entry>>) -> Vec<Entry> {
    runs.sort_unstable_by(|a, b| a[0].path.cmp(&b[0].path));
    let mut entries = Vec::with_capacity(runs.iter().map(Vec::len).sum());
    runs.into_iter().for_each(|run| entries.extend(run));
    entries.sort_by(|a: &Entry, b| a.path.cmp(&b.path));
    entries
}

struct Shared<'r> {
    root: &'r Root,
    cache: Option<&'r Cache>,
    filter: &'r dyn ContextFilter,
    cores: usize,
    queue: Queue<'r>,
    /// The first error, which ends the scan.
    end: Mutex<Option<ContextError>>,
}

/// What one worker found.
#[derive(Default)]
struct Part {
    /// Entries, in runs that are each in order.
    runs: Vec<Vec<Entry>>,
    /// Directories that are entries if they hold nothing.
    directories: Vec<Arc<Node>>,
    fresh: Vec<Fresh>,
    special: Vec<Special>,
}

impl<'r> Shared<'r> {
    fn work(&self) -> Part {
        let mut part = Part::default();
        let mut buffer = vec![0; BUFFER];
        let mut names = vec![MaybeUninit::uninit(); NAMES];
        let mut again = false;
        while let Some(job) = self.queue.next(again) {
            again = true;
            let done = match job {
                Job::Directory(node) => self.list(node, &mut part, &mut names),
                Job::Files(open, paths) => self.files(&open, paths, &mut part, &mut buffer),
                Job::Chunks(large) => large.hash(self.root, &self.queue, &mut buffer).map(|hashed| {
                    if let Some((entry, found)) = hashed {
                        part.remember(self.cache, &large.open, &entry, found);
                        part.runs.push(vec![entry]);
                    }
                }),
            };
            if let Err(error) = done {
                locked(&self.end).get_or_insert(error);
                self.queue.stop();
            }
        }
        part
    }

    fn list(
        &self,
        node: Arc<Node>,
        part: &mut Part,
        names: &mut [MaybeUninit<u8>],
    ) -> Result<(), ContextError> {
        let Listed { mut links, special } =
            walk::list(self.root, self.cache, self.filter, &node, &self.queue, names)?;
        links.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        part.runs.push(links);
        part.directories.push(node);
        part.special.extend(special);
        Ok(())
    }

    fn files(
        &self,
        open: &Arc<Open<'r>>,
        mut paths: Vec<RelPath>,
        part: &mut Part,
        buffer: &mut [u8],
    ) -> Result<(), ContextError> {
        paths.sort_unstable_by(|a, b| b.cmp(a));
        let mut run = Vec::with_capacity(paths.len());
        let mut hint = 0;
        let mut large = None;
        while let Some(path) = paths.pop() {
            if self.queue.is_stopped() {
                break;
            }
            if paths.len() > 1 && self.queue.is_hungry() {
                let half = paths.split_off(paths.len() / 2);
                self.queue.push(Job::Files(Arc::clone(open), std::mem::replace(&mut paths, half)));
            }
            match hash::file(self.root, open, path, &mut hint, buffer)? {
                Hashed::Known(entry) => run.push(entry),
                Hashed::Read(entry, found) => {
                    part.remember(self.cache, open, &entry, found);
                    run.push(entry);
                }
                Hashed::Large(found) => {
                    large = Some(found);
                    break;
                }
            }
        }
        part.runs.push(run);
        if let Some(large) = large {
            // All take part in it as soon as they can; the rest waits.
            if !paths.is_empty() {
                self.queue.push(Job::Files(Arc::clone(open), paths));
            }
            (0..self.cores).for_each(|_| self.queue.push(Job::Chunks(Arc::clone(&large))));
        }
        Ok(())
    }
}

impl Part {
    /// Notes a file that was read, if it may be remembered.
    fn remember(&mut self, cache: Option<&Cache>, open: &Open<'_>, entry: &Entry, found: Found) {
        let is_kept = open.known.is_some() && cache.is_some_and(|cache| cache.takes(&found.stamp));
        if let (true, EntryKind::File { digest, .. }) = (is_kept, &entry.kind) {
            let hash = digest.to_sha256();
            self.fresh.extend(hash.map(|hash| Fresh { path: entry.path.clone(), stamp: found.stamp, hash }));
        }
    }
}
