//! Outside sources that pins follow: git repositories and addresses.

use std::collections::BTreeSet;

use async_trait::async_trait;

use crate::model::{Digest, ErrorKind, Explained, Explanation};

/// Asks outside sources what they hold now.
#[async_trait]
pub trait Remote: Send + Sync {
    /// Returns the commit that `reference` of the git repository at `url` points to:
    /// a branch, a tag (down to its commit), or a full ref name; nothing if there is none.
    async fn commit(&self, url: &str, reference: &str) -> Result<Option<String>, RemoteError>;

    /// Returns the full names of all refs of the git repository at `url`.
    async fn refs(&self, url: &str) -> Result<BTreeSet<String>, RemoteError>;

    /// Returns the text that `url` serves, of at most `limit` bytes.
    async fn text(&self, url: &str, limit: usize) -> Result<String, RemoteError>;

    /// Returns the SHA-256 digest of what `url` serves.
    async fn checksum(&self, url: &str) -> Result<Digest, RemoteError>;
}

/// Why an outside source did not tell.
#[derive(Debug, thiserror::Error)]
#[error("{source_name}: {detail}")]
pub struct RemoteError {
    /// The git remote or the address, without credentials.
    pub source_name: String,
    pub detail: String,
    /// Whether it was not asked at all, because it may not be.
    pub is_refused: bool,
}

impl Explained for RemoteError {
    fn explain(&self) -> Explanation<'_> {
        if self.is_refused { ErrorKind::Refused.into() } else { ErrorKind::Unreachable.into() }
    }
}
