//! Hashing the chunks of a large file, by whoever has nothing else to do.

use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;

use sha2::{Digest as _, Sha256};

use super::large::Large;
use super::queue::Queue;
use super::root::{Found, Root, io_error};
use crate::adapter::locked::locked;
use crate::model::{CHUNK, Entry};
use crate::port::ContextError;

impl<'r> Large<'r> {
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
}
