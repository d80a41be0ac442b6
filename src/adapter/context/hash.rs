//! Hashing files, each as [`crate::model::FileHasher`] would.
//!
//! A file that changed between the moments before and after it was read is read once more;
//! then that is an error. A file of more than one chunk is `large`, and shared among the workers.

use std::sync::Arc;

use super::content::{entry, stream};
use super::large::{ATTEMPTS, Large};
use super::node::Open;
use super::root::{Found, Root, name};
use crate::model::{CHUNK, Digest, Entry, RelPath};
use crate::port::ContextError;

/// The bytes read at a time.
pub const BUFFER: usize = 256 << 10;

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
