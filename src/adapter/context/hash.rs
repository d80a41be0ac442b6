//! Hashing files, each as [`FileHasher`] would.
//!
//! A file that changed between the moments before and after it was read is read once more;
//! then that is an error. The chunks of a large file are shared among the workers.

use std::io::Read;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use super::queue::Queue;
use super::root::{Found, Root, Source, io_error, name};
use super::walk::Open;
use crate::adapter::locked::locked;
use crate::model::{CHUNK, Digest, Entry, EntryKind, FileHasher, RelPath};
use crate::port::ContextError;

/// The bytes read at a time.
pub const BUFFER: usize = 256 << 10;
/// How often a file is read before it counts as always changing.
const ATTEMPTS: u32 = 2;

/// What came of a file.
pub enum Hashed<'r> {
    /// It is as it was when it was hashed some time ago.
    Known(Entry),
    /// It was read.
    Read(Entry, Found),
    /// It has more than one chunk.
    Large(Arc<Large<'r>>),
}

/// Hashes a file of one chunk at most, unless its hash is known; `hint` is for the next call
/// on the same directory.
pub fn file<'r>(
    root: &Root,
    open: &Arc<Open<'r>>,
    path: RelPath,
    hint: &mut usize,
    buffer: &mut [u8],
) -> Result<Hashed<'r>, ContextError> {
    let known = open.known.as_ref();
    if let Some(record) = known.and_then(|known| known.find(name(&path).as_encoded_bytes(), hint))
        && let Some(found) = open.directory.find(&path)?.filter(|found| found.stamp == record.stamp)
    {
        return Ok(Hashed::Known(entry(path, Digest::from_sha256(record.hash), found)));
    }
    for _ in 0..ATTEMPTS {
        let source = open.directory.file(&path)?;
        if source.size() > CHUNK {
            return Ok(Hashed::Large(Arc::new(Large::new(Arc::clone(open), path, source))));
        }
        if let Some(digest) = stream(root, &path, &source, buffer)? {
            return Ok(Hashed::Read(entry(path, digest, source.found), source.found));
        }
    }
    Err(ContextError::Changing { path: root.join(&path) })
}

/// Hashes an open file from its start to its end; nothing if it changes meanwhile.
fn stream(
    root: &Root,
    path: &RelPath,
    source: &Source,
    buffer: &mut [u8],
) -> Result<Option<Digest>, ContextError> {
    let mut file = &source.file;
    let mut hasher = FileHasher::new();
    let mut done = 0;
    loop {
        let count = file.read(buffer).map_err(|error| io_error("read", &root.join(path), error))?;
        done += count as u64;
        hasher.update(&buffer[..count]);
        // Whether there is more is seen from the size afterwards; that saves a read.
        if count == 0 || done >= source.size() {
            break;
        }
    }
    let whole = done == source.size() && source.is_still();
    Ok(whole.then(|| hasher.finish().0))
}

fn entry(path: RelPath, digest: Digest, found: Found) -> Entry {
    let Found { stamp, executable } = found;
    Entry { path, kind: EntryKind::File { digest, size: stamp.size, executable } }
}

/// A file of more than one chunk, on which several workers are at work.
pub struct Large<'r> {
    /// Where it stands.
    pub open: Arc<Open<'r>>,
    path: RelPath,
    source: Source,
    next: AtomicUsize,
    /// The hashes so far, and how many are still to come.
    hashes: Mutex<(Vec<[u8; 32]>, usize)>,
    torn: AtomicBool,
}

impl<'r> Large<'r> {
    fn new(open: Arc<Open<'r>>, path: RelPath, source: Source) -> Self {
        let count = usize::try_from(source.size().div_ceil(CHUNK)).unwrap_or(usize::MAX);
        let hashes = Mutex::new((vec![[0; 32]; count], count));
        Self { open, path, source, next: AtomicUsize::new(0), hashes, torn: AtomicBool::new(false) }
    }

    /// Hashes chunks until none is left; whoever hashes the last one returns the entry.
    pub fn hash(
        &self,
        root: &Root,
        queue: &Queue<'_>,
        buffer: &mut [u8],
    ) -> Result<Option<(Entry, Found)>, ContextError> {
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let start = index as u64 * CHUNK;
            if start >= self.source.size() || queue.is_stopped() {
                return Ok(None);
            }
            let hash = self.chunk(root, start, buffer)?;
            let mut hashes = locked(&self.hashes);
            hashes.0[index] = hash;
            hashes.1 -= 1;
            if hashes.1 == 0 {
                return self.finish(root, &hashes.0, buffer).map(Some);
            }
        }
    }

    fn chunk(&self, root: &Root, start: u64, buffer: &mut [u8]) -> Result<[u8; 32], ContextError> {
        let mut hasher = Sha256::new();
        let end = self.source.size().min(start + CHUNK);
        let mut at = start;
        while at < end && !self.torn.load(Ordering::Relaxed) {
            let wanted = usize::try_from(end - at).map_or(buffer.len(), |left| left.min(buffer.len()));
            let count = self
                .source
                .file
                .read_at(&mut buffer[..wanted], at)
                .map_err(|error| io_error("read", &root.join(&self.path), error))?;
            if count == 0 {
                self.torn.store(true, Ordering::Relaxed);
            }
            hasher.update(&buffer[..count]);
            at += count as u64;
        }
        Ok(hasher.finalize().into())
    }

    fn finish(
        &self,
        root: &Root,
        hashes: &[[u8; 32]],
        buffer: &mut [u8],
    ) -> Result<(Entry, Found), ContextError> {
        let path = self.path.clone();
        if !self.torn.load(Ordering::Relaxed) && self.source.is_still() {
            let found = self.source.found;
            return Ok((entry(path, FileHasher::join(hashes), found), found));
        }
        for _ in 1..ATTEMPTS {
            let source = self.open.directory.file(&path)?;
            if let Some(digest) = stream(root, &path, &source, buffer)? {
                return Ok((entry(path, digest, source.found), source.found));
            }
        }
        Err(ContextError::Changing { path: root.join(&path) })
    }
}
