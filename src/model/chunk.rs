//! The digest of a file's bytes as it enters a key: plain SHA-256 for files of up to one
//! chunk, a two-level tree for larger ones, so that the chunks of a large file can be
//! hashed side by side.

use sha2::{Digest as _, Sha256};

use super::Digest;

/// The size of a chunk in bytes.
pub const CHUNK: u64 = 8 << 20;

/// Hashes a file's bytes in order.
///
/// Up to [`CHUNK`] bytes give their SHA-256; more give the SHA-256 over the raw SHA-256 of
/// each chunk, joined.
#[derive(Debug, Clone, Default)]
pub struct FileHasher {
    chunk: Sha256,
    filled: u64,
    chunks: Vec<[u8; 32]>,
}

impl FileHasher {
    /// Starts with no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.filled == CHUNK {
                self.chunks.push(self.chunk.finalize_reset().into());
                self.filled = 0;
            }
            let room = usize::try_from(CHUNK - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.chunk.update(now);
            self.filled += now.len() as u64;
            bytes = later;
        }
    }

    /// Returns the digest and the number of bytes.
    pub fn finish(mut self) -> (Digest, u64) {
        let size = self.chunks.len() as u64 * CHUNK + self.filled;
        self.chunks.push(self.chunk.finalize().into());
        (Self::join(&self.chunks), size)
    }

    /// Returns the digest of a file from the SHA-256 of each of its chunks; an empty file
    /// has one, empty chunk.
    pub fn join(chunks: &[[u8; 32]]) -> Digest {
        match chunks {
            [one] => Digest::from_sha256(*one),
            many => Digest::of(many.as_flattened()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_chunk_is_plain_and_more_are_a_tree() {
        let bytes = vec![7; CHUNK as usize + 1];
        for (size, expect) in [
            (0, Digest::of(b"")),
            (CHUNK as usize, Digest::of(&bytes[1..])),
            (
                CHUNK as usize + 1,
                Digest::of(
                    &[<[u8; 32]>::from(Sha256::digest(&bytes[1..])), Sha256::digest(&bytes[..1]).into()]
                        .concat(),
                ),
            ),
        ] {
            let mut hasher = FileHasher::new();
            bytes[..size].chunks(1 << 20).for_each(|part| hasher.update(part));
            assert_eq!(hasher.finish(), (expect, size as u64));
        }
    }
}
