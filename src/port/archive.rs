//! Archives of boxes, as they are read.

use super::blob::BlobSource;
use crate::model::{Contents, Digest};

/// An archive of boxes, every byte of which was read and is what its digest says it is.
///
/// It may change afterwards: whoever reads a blob hashes it again.
pub trait Archive: Send + Sync {
    /// Tells what it holds.
    fn contents(&self) -> &Contents;

    /// Lends one of the blobs of its contents.
    fn blob(&self, digest: &Digest) -> Option<&dyn BlobSource>;
}
