//! Content digests of files: plain for small ones, a two-level tree for large ones.
//!
//! The specification is `testdata/keys/README.md`, "Files".

use sha2::{Digest as _, Sha256};

use super::Digest;

/// The size of a chunk in bytes; a file that is larger is hashed as a tree of chunks.
pub const CHUNK: u64 = 8 << 20;

/// The digest of a file whose chunks have these SHA-256 hashes, in order: the hash of the
/// only chunk, or of all hashes one after the other.
///
/// For hashing chunks in parallel: each is [`CHUNK`] bytes long, the last at least one. An
/// empty file is one empty chunk.
pub fn tree_digest(chunks: &[[u8; 32]]) -> Digest {
    match chunks {
        [] => Digest::of(b""),
        [only] => Digest::from_sha256(*only),
        several => {
            let mut hash = Sha256::new();
            for chunk in several {
                hash.update(chunk);
            }
            Digest::from_sha256(hash.finalize().into())
        }
    }
}

/// Hashes a file's bytes as they come.
#[derive(Debug, Clone, Default)]
pub struct FileHasher {
    chunks: Vec<[u8; 32]>,
    current: Sha256,
    /// Bytes in `current`.
    filled: u64,
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
                self.chunks.push(self.current.finalize_reset().into());
                self.filled = 0;
            }
            let room = usize::try_from(CHUNK - self.filled).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.current.update(now);
            self.filled += now.len() as u64;
            bytes = later;
        }
    }

    /// Returns the digest and the size in bytes.
    pub fn finish(mut self) -> (Digest, u64) {
        let size = self.chunks.len() as u64 * CHUNK + self.filled;
        self.chunks.push(self.current.finalize().into());
        (tree_digest(&self.chunks), size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(pieces: &[&[u8]]) -> (Digest, u64) {
        let mut hasher = FileHasher::new();
        for piece in pieces {
            hasher.update(piece);
        }
        hasher.finish()
    }

    #[test]
    fn small_files_have_their_plain_digest() {
        assert_eq!(hash(&[]), (Digest::of(b""), 0));
        assert_eq!(hash(&[b"a", b"", b"bc"]), (Digest::of(b"abc"), 3));
        let full = vec![7; 8 << 20];
        assert_eq!(hash(&[&full]), (Digest::of(&full), CHUNK));
    }

    #[test]
    fn large_files_are_a_tree_however_they_are_read() {
        let bytes: Vec<u8> = (0..(8 << 20) + 5_u32).map(|n| n.to_le_bytes()[0]).collect();
        let (first, rest) = bytes.split_at(8 << 20);
        let hashes = [Sha256::digest(first), Sha256::digest(rest)].concat();
        let expect = (Digest::of(&hashes), bytes.len() as u64);
        assert_eq!(hash(&[&bytes]), expect);
        assert_eq!(hash(&[&bytes[..1], &bytes[1..(8 << 20) + 1], &bytes[(8 << 20) + 1..]]), expect);
        assert_ne!(expect.0, Digest::of(&bytes));
    }
}
