//! Blobs of any size, as they pass through.

use std::io;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, Stream};

use crate::model::{Descriptor, Digest};

/// What a blob is known by before any of its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl From<&Descriptor> for Blob {
    fn from(descriptor: &Descriptor) -> Self {
        Self { digest: descriptor.digest.clone(), size: descriptor.size }
    }
}

/// A blob's bytes as they come; after an error nothing comes any more.
pub type BlobStream<'a, E> = Pin<Box<dyn Stream<Item = Result<Bytes, E>> + Send + 'a>>;

/// Where a blob's bytes come from, as often as they are needed: an upload that was cut goes on
/// from where the registry says.
#[async_trait]
pub trait BlobSource: Send + Sync {
    /// Tells what it holds.
    fn blob(&self) -> &Blob;

    /// Opens it from byte `from` on, which is at most its size.
    async fn open(&self, from: u64) -> io::Result<BlobStream<'_, io::Error>>;
}

/// A blob in memory.
#[derive(Debug, Clone)]
pub struct Whole {
    blob: Blob,
    bytes: Bytes,
}

impl Whole {
    /// Hashes the bytes.
    pub fn new(bytes: Bytes) -> Self {
        Self { blob: Blob { digest: Digest::of(&bytes), size: bytes.len() as u64 }, bytes }
    }
}

#[async_trait]
impl BlobSource for Whole {
    fn blob(&self) -> &Blob {
        &self.blob
    }

    async fn open(&self, from: u64) -> io::Result<BlobStream<'_, io::Error>> {
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(self.bytes.len());
        let rest = self.bytes.slice(from..);
        Ok(Box::pin(stream::iter((!rest.is_empty()).then_some(Ok(rest)))))
    }
}
