//! Writing an archive: its documents, then every blob, in one pass and one order, so that the
//! same boxes give the same bytes and nothing has to be held.

use std::io;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc::Sender;

use crate::model::{
    BLOCK, Contents, Digest, ErrorKind, Explained, Explanation, RawManifest, TarHeader, blob_path,
    tar_padding,
};
use crate::port::{Archive, Blob, BlobStream, RegistryError};

/// Where the bytes of an archive go. An error that is put in says that no more will come.
pub type Sink = Sender<io::Result<Bytes>>;

/// Why an archive was not written.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// A blob could not be read from the registry.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A blob could not be read from another archive.
    #[error("failed to read {digest}")]
    Read { digest: Digest, source: io::Error },
    /// A blob that an image refers to is not there.
    #[error("{digest} is missing")]
    Missing { digest: Digest },
    /// Other bytes came than those that were asked for.
    #[error("{digest} is no longer what it was")]
    Changed { digest: Digest },
    /// Nobody takes the bytes any more; whoever took them knows why.
    #[error("the archive is not taken any more")]
    Closed,
}

impl Explained for PackError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Registry(error) => error.explain(),
            Self::Read { .. } | Self::Missing { .. } | Self::Changed { .. } | Self::Closed => {
                ErrorKind::Failed.into()
            }
        }
    }
}

/// Where the blobs of an archive come from.
#[async_trait]
pub(crate) trait Blobs: Sync {
    async fn open(&self, blob: &Blob) -> Result<BlobStream<'_, PackError>, PackError>;
}

/// Writes everything; `told` hears how many bytes of content were written so far.
pub(crate) async fn pack(
    contents: &Contents,
    blobs: &dyn Blobs,
    sink: &Sink,
    told: &(dyn Fn(u64) + Send + Sync),
) -> Result<(), PackError> {
    let mut out = Out { sink, written: 0, told };
    for (name, bytes) in contents.documents() {
        out.whole(name, bytes.into()).await?;
    }
    let sized = contents.blobs().iter().map(|(digest, size)| (digest, None, *size));
    let manifests = contents.manifests().iter().map(|(digest, raw)| (digest, Some(raw), 0));
    let mut all: Vec<(&Digest, Option<&RawManifest>, u64)> = sized.chain(manifests).collect();
    all.sort_by_key(|(digest, ..)| *digest);
    for (digest, manifest, size) in all {
        let name = blob_path(digest);
        match manifest {
            Some(raw) => out.whole(&name, raw.bytes().clone()).await?,
            None => out.blob(&name, Blob { digest: digest.clone(), size }, blobs).await?,
        }
    }
    out.put(Bytes::from_static(&[0; 2 * BLOCK])).await
}

struct Out<'a> {
    sink: &'a Sink,
    written: u64,
    told: &'a (dyn Fn(u64) + Send + Sync),
}

impl Out<'_> {
    async fn put(&self, bytes: Bytes) -> Result<(), PackError> {
        self.sink.send(Ok(bytes)).await.map_err(|_| PackError::Closed)
    }

    async fn whole(&mut self, name: &str, bytes: Bytes) -> Result<(), PackError> {
        let size = bytes.len() as u64;
        let mut entry = BytesMut::from(&TarHeader::file(name, size).to_block()[..]);
        entry.extend_from_slice(&bytes);
        entry.resize(entry.len() + tar_padding(size), 0);
        self.count(size);
        self.put(entry.freeze()).await
    }

    async fn blob(&mut self, name: &str, blob: Blob, blobs: &dyn Blobs) -> Result<(), PackError> {
        let mut pieces = blobs.open(&blob).await?;
        let Blob { digest, size } = &blob;
        self.put(Bytes::copy_from_slice(&TarHeader::file(name, *size).to_block())).await?;
        let (mut left, mut hash) = (*size, Sha256::new());
        while let Some(piece) = pieces.next().await {
            let piece = piece?;
            let changed = || PackError::Changed { digest: digest.clone() };
            left = left.checked_sub(piece.len() as u64).ok_or_else(changed)?;
            hash.update(&piece);
            // The last piece is held back until all of it is known to be right.
            if left == 0 && Digest::from_sha256(hash.clone().finalize().into()) != *digest {
                return Err(changed());
            }
            self.count(piece.len() as u64);
            self.put(piece).await?;
        }
        if left > 0 {
            return Err(PackError::Changed { digest: digest.clone() });
        }
        match tar_padding(*size) {
            0 => Ok(()),
            padding => self.put(Bytes::from_static(&[0; BLOCK]).slice(..padding)).await,
        }
    }

    fn count(&mut self, bytes: u64) {
        self.written += bytes;
        (self.told)(self.written);
    }
}

#[async_trait]
impl Blobs for &dyn Archive {
    async fn open(&self, blob: &Blob) -> Result<BlobStream<'_, PackError>, PackError> {
        let digest = blob.digest.clone();
        let source = self.blob(&digest).ok_or_else(|| PackError::Missing { digest: digest.clone() })?;
        let failed = move |source| PackError::Read { digest: digest.clone(), source };
        let pieces = source.open(0).await.map_err(failed.clone())?;
        Ok(Box::pin(pieces.map_err(failed)))
    }
}
