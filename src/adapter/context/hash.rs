//! Hashing a context's files on all cores, each file as [`FileHasher`] would.
//!
//! A file that changed between the moments before and after it was read is read once more;
//! then that is an error. The chunks of a large file are shared among the hashers.

use std::collections::VecDeque;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use sha2::{Digest as _, Sha256};

use super::root::{Root, Source, io_error};
use super::walk::Walked;
use crate::model::{CHUNK, Entry, EntryKind, FileHasher, RelPath};
use crate::port::{ContextError, Scan};

/// The bytes read at a time.
const BUFFER: usize = 512 << 10;
/// The files waiting at most, so that the walk does not run far ahead.
const WAITING: usize = 4096;
/// How often a file is read before it counts as always changing.
const ATTEMPTS: u32 = 2;

/// Runs `walk` on this thread while all cores hash what it pushes.
pub fn with_hashers(
    root: &Root,
    walk: impl FnOnce(&Queue<'_>) -> Result<Walked, ContextError>,
) -> Result<Scan, ContextError> {
    let queue = Queue::new(root);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let (walked, mut entries) = thread::scope(|scope| {
        let hashers: Vec<_> = (0..cores).map(|_| scope.spawn(|| queue.work())).collect();
        let walked = walk(&queue);
        queue.close(!matches!(walked, Ok(Walked::Others(_))));
        let hashed: Vec<Entry> = hashers
            .into_iter()
            .flat_map(|hasher| hasher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        (walked, hashed)
    });
    if let Some(error) = queue.lock().error.take() {
        return Err(error);
    }
    match walked? {
        Walked::Widen(path) => Ok(Scan::Widen(path)),
        Walked::Others(others) => {
            entries.extend(others);
            entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            Ok(Scan::Entries(entries))
        }
    }
}

/// The files to hash.
pub struct Queue<'r> {
    root: &'r Root,
    state: Mutex<State>,
    changed: Condvar,
    stopped: AtomicBool,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Hashers at work, which may add jobs.
    busy: usize,
    /// Whether the walk has ended.
    closed: bool,
    error: Option<ContextError>,
}

enum Job {
    File { path: RelPath, attempt: u32 },
    Chunks(Arc<Large>),
}

/// A file of more than one chunk.
struct Large {
    path: RelPath,
    attempt: u32,
    source: Source,
    next: AtomicUsize,
    /// The hashes so far, and how many are still to come.
    hashes: Mutex<(Vec<[u8; 32]>, usize)>,
    torn: AtomicBool,
}

impl<'r> Queue<'r> {
    fn new(root: &'r Root) -> Self {
        Self { root, state: Mutex::default(), changed: Condvar::new(), stopped: AtomicBool::new(false) }
    }

    /// Adds a file; waits while too many are waiting.
    pub fn push(&self, path: RelPath) {
        let mut state = self.lock();
        while state.jobs.len() >= WAITING && !self.is_stopped() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.jobs.push_back(Job::File { path, attempt: 1 });
        // Only hashers wait while this thread pushes.
        self.changed.notify_one();
    }

    /// Tells whether an error has made going on pointless.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn close(&self, stop: bool) {
        let mut state = self.lock();
        state.closed = true;
        if stop {
            self.stopped.store(true, Ordering::Relaxed);
        }
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) -> Vec<Entry> {
        let mut done = Vec::new();
        let mut buffer = vec![0; BUFFER];
        while let Some(job) = self.next() {
            let result = match job {
                Job::File { path, attempt } => self.file(path, attempt, &mut buffer),
                Job::Chunks(large) => self.chunks(&large, &mut buffer),
            };
            let mut state = self.lock();
            state.busy -= 1;
            match result {
                Ok(entry) => done.extend(entry),
                Err(error) => {
                    self.stopped.store(true, Ordering::Relaxed);
                    state.error.get_or_insert(error);
                }
            }
            if state.closed || self.is_stopped() {
                self.changed.notify_all();
            }
        }
        done
    }

    fn next(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if self.is_stopped() {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                state.busy += 1;
                if state.jobs.len() == WAITING / 2 {
                    self.changed.notify_all();
                }
                return Some(job);
            }
            if state.closed && state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn file(
        &self,
        path: RelPath,
        mut attempt: u32,
        buffer: &mut [u8],
    ) -> Result<Option<Entry>, ContextError> {
        loop {
            let mut source = self.root.file(&path)?;
            if source.size > CHUNK {
                self.share(Large::new(path, attempt, source));
                return Ok(None);
            }
            let mut hasher = FileHasher::new();
            let mut read = 0;
            while read <= source.size {
                let count = source
                    .file
                    .read(buffer)
                    .map_err(|error| io_error("read", &self.root.join(&path), error))?;
                if count == 0 {
                    break;
                }
                read += count as u64;
                hasher.update(&buffer[..count]);
            }
            if read == source.size && self.root.is_still(&path, &source)? {
                let (digest, size) = hasher.finish();
                let kind = EntryKind::File { digest, size, executable: source.executable };
                return Ok(Some(Entry { path, kind }));
            }
            if attempt == ATTEMPTS {
                return Err(ContextError::Changing { path: self.root.join(&path) });
            }
            attempt += 1;
        }
    }

    /// Puts a large file first, so that every idle hasher takes part.
    fn share(&self, large: Large) {
        let large = Arc::new(large);
        let mut state = self.lock();
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            state.jobs.push_front(Job::Chunks(Arc::clone(&large)));
        }
        self.changed.notify_all();
    }

    /// Hashes chunks of a large file until none is left; whoever hashes the last one
    /// returns the entry.
    fn chunks(&self, large: &Large, buffer: &mut [u8]) -> Result<Option<Entry>, ContextError> {
        loop {
            let index = large.next.fetch_add(1, Ordering::Relaxed);
            let start = index as u64 * CHUNK;
            if start >= large.source.size || self.is_stopped() {
                return Ok(None);
            }
            let hash = self.chunk(large, start, buffer)?;
            let mut hashes = large.hashes.lock().unwrap_or_else(PoisonError::into_inner);
            hashes.0[index] = hash;
            hashes.1 -= 1;
            if hashes.1 == 0 {
                return self.finish(large, &hashes.0);
            }
        }
    }

    fn chunk(&self, large: &Large, start: u64, buffer: &mut [u8]) -> Result<[u8; 32], ContextError> {
        let mut hasher = Sha256::new();
        let end = large.source.size.min(start + CHUNK);
        let mut at = start;
        while at < end && !large.torn.load(Ordering::Relaxed) && !self.is_stopped() {
            let wanted = usize::try_from(end - at).map_or(BUFFER, |left| left.min(BUFFER));
            let count = large
                .source
                .file
                .read_at(&mut buffer[..wanted], at)
                .map_err(|error| io_error("read", &self.root.join(&large.path), error))?;
            if count == 0 {
                large.torn.store(true, Ordering::Relaxed);
            }
            hasher.update(&buffer[..count]);
            at += count as u64;
        }
        Ok(hasher.finalize().into())
    }

    fn finish(&self, large: &Large, hashes: &[[u8; 32]]) -> Result<Option<Entry>, ContextError> {
        let torn = large.torn.load(Ordering::Relaxed);
        if !torn && self.root.is_still(&large.path, &large.source)? {
            let Source { size, executable, .. } = large.source;
            let kind = EntryKind::File { digest: FileHasher::join(hashes), size, executable };
            return Ok(Some(Entry { path: large.path.clone(), kind }));
        }
        if large.attempt == ATTEMPTS {
            return Err(ContextError::Changing { path: self.root.join(&large.path) });
        }
        self.lock().jobs.push_front(Job::File { path: large.path.clone(), attempt: large.attempt + 1 });
        Ok(None)
    }
}

impl Large {
    fn new(path: RelPath, attempt: u32, source: Source) -> Self {
        let count = usize::try_from(source.size.div_ceil(CHUNK)).unwrap_or(usize::MAX);
        let hashes = Mutex::new((vec![[0; 32]; count], count));
        Self { path, attempt, source, next: AtomicUsize::new(0), hashes, torn: AtomicBool::new(false) }
    }
}
