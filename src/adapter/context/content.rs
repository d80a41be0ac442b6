//! The content of an open file, as a digest and as an entry.

use std::io::Read;

use super::root::{Found, Root, Source, io_error};
use crate::model::{Digest, Entry, EntryKind, FileHasher, RelPath};
use crate::port::ContextError;

/// Hashes an open file from its start to its end; nothing if it changes meanwhile.
pub(super) fn stream(
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

pub(super) fn entry(path: RelPath, digest: Digest, found: Found) -> Entry {
    let Found { stamp, executable } = found;
    Entry { path, kind: EntryKind::File { digest, size: stamp.size, executable } }
}
