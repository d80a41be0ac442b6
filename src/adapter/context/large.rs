//! A file of more than one chunk, on which several workers are at work.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::content::{entry, stream};
use super::node::Open;
use super::root::{Found, Root, Source};
use crate::model::{CHUNK, Entry, FileHasher, RelPath};
use crate::port::ContextError;

/// How often a file is read before it counts as always changing.
pub(super) const ATTEMPTS: u32 = 2;

/// A file of more than one chunk, on which several workers are at work.
pub struct Large<'r> {
    /// Where it stands.
    pub open: Arc<Open<'r>>,
    pub(super) path: RelPath,
    pub(super) source: Source,
    pub(super) next: AtomicUsize,
    /// The hashes so far, and how many are still to come.
    pub(super) hashes: Mutex<(Vec<[u8; 32]>, usize)>,
    pub(super) torn: AtomicBool,
}

impl<'r> Large<'r> {
    pub(super) fn new(open: Arc<Open<'r>>, path: RelPath, source: Source) -> Self {
        let count = usize::try_from(source.size().div_ceil(CHUNK)).unwrap_or(usize::MAX);
        let hashes = Mutex::new((vec![[0; 32]; count], count));
        Self { open, path, source, next: AtomicUsize::new(0), hashes, torn: AtomicBool::new(false) }
    }

    pub(super) fn finish(
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
