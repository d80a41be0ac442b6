//! All blobs of an archive, by their digests.

use std::collections::BTreeMap;
use std::io::Read as _;

use super::blob::ArchivedBlob;
use super::error::Fault;
use crate::model::{ArchiveError, Digest};

/// What an archive holds besides its documents.
pub(super) struct Blobs(pub BTreeMap<Digest, ArchivedBlob>);

impl Blobs {
    /// Returns a blob, which has to be there.
    pub fn find(&self, digest: &Digest) -> Result<&ArchivedBlob, Fault> {
        self.0.get(digest).ok_or_else(|| ArchiveError::Missing { digest: digest.clone() }.into())
    }

    /// Reads a small blob whole.
    pub fn read(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>, Fault> {
        let mut reader = self.find(digest)?.section(0);
        let size = usize::try_from(reader.left).unwrap_or(usize::MAX);
        if size > limit {
            let what = format!("the size of {digest}");
            return Err(Fault::Limit { what, limit: format!("{limit} bytes") });
        }
        let mut bytes = vec![0; size];
        reader.read_exact(&mut bytes).map_err(Fault::read)?;
        if Digest::of(&bytes) == *digest {
            Ok(bytes)
        } else {
            Err(Fault::Digest { digest: digest.clone(), found: Digest::of(&bytes) })
        }
    }
}
