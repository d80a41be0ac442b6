//! One blob in an archive, read from its place.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;

use super::scan::Place;
use crate::model::Digest;
use crate::port::{Blob, BlobSource, BlobStream};

const PIECE: usize = 256 * 1024;

/// A part of a file.
pub(in crate::adapter) struct Section {
    pub file: Arc<File>,
    pub at: u64,
    pub left: u64,
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// A blob that can be read as often as it is needed.
pub(in crate::adapter) struct ArchivedBlob {
    file: Arc<File>,
    blob: Blob,
    start: u64,
}

impl ArchivedBlob {
    pub(super) fn new(file: Arc<File>, digest: Digest, Place { start, size }: Place) -> Self {
        Self::at(file, digest, start, size)
    }

    pub(in crate::adapter) fn at(file: Arc<File>, digest: Digest, start: u64, size: u64) -> Self {
        Self { file, blob: Blob { digest, size }, start }
    }

    /// Returns its bytes from `from` on.
    pub(in crate::adapter) fn section(&self, from: u64) -> Section {
        let from = from.min(self.blob.size);
        Section { file: Arc::clone(&self.file), at: self.start + from, left: self.blob.size - from }
    }
}

#[async_trait]
impl BlobSource for ArchivedBlob {
    fn blob(&self) -> &Blob {
        &self.blob
    }

    async fn open(&self, from: u64) -> io::Result<BlobStream<'_, io::Error>> {
        Ok(Box::pin(stream::try_unfold(self.section(from), |mut section| async move {
            if section.left == 0 {
                return Ok(None);
            }
            let read = move || {
                let mut piece = vec![0; PIECE];
                let count = section.read(&mut piece)?;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                piece.truncate(count);
                Ok(Some((Bytes::from(piece), section)))
            };
            tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
        })))
    }
}
