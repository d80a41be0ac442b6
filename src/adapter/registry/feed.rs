//! Feeds an upload from its source, and hashes what it sends.
//!
//! Invariant: the last piece is not sent before everything was hashed, so that a source that
//! changed cannot be taken in.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::sync::mpsc::Sender;
use tokio::time::timeout;

use super::hash::Marks;
use crate::port::{BlobSource, BlobStream, Failure};

/// The longest piece, in bytes: as long as one may be under way before the other side counts
/// as gone.
const PIECE: usize = 64 * 1024;

pub(super) struct UploadBody<'a> {
    source: &'a dyn BlobSource,
    marks: Marks,
}

/// Why an upload's body ended early.
pub(super) enum Broken {
    /// The source is to blame.
    Source(Failure),
    /// Nothing was taken for so long.
    Stalled(Duration),
}

impl<'a> UploadBody<'a> {
    pub(super) fn new(source: &'a dyn BlobSource) -> Self {
        Self { source, marks: Marks::like(&source.blob().digest) }
    }

    /// Sends the bytes from `from` to `end`. Ends early, and well, if nobody takes them any
    /// more.
    pub(super) async fn send(
        &mut self,
        from: u64,
        end: u64,
        pipe: &Sender<io::Result<Bytes>>,
        idle: Duration,
    ) -> Result<(), Broken> {
        let blob = self.source.blob().clone();
        let (mut at, mut hash) = self.marks.back_to(from);
        let wrong = |detail: String| Broken::Source(Failure::Source { detail });
        let unreadable = |error: io::Error| wrong(error.to_string());
        let mut pieces = self.source.open(at).await.map_err(unreadable)?;
        while at < end {
            let Some(bytes) = next(&mut pieces).await.map_err(unreadable)? else {
                return Err(wrong(format!("it ends after {at} of {} bytes", blob.size)));
            };
            let mut rest = bytes.slice(..bytes.len().min(usize::try_from(end - at).unwrap_or(usize::MAX)));
            while !rest.is_empty() {
                let piece = rest.split_to(rest.len().min(PIECE));
                hash.update(&piece);
                let start = at;
                at += piece.len() as u64;
                self.marks.set(at, &hash);
                if at == blob.size && !hash.is(&blob.digest) {
                    return Err(wrong(format!("its bytes are not those of {}", blob.digest)));
                }
                // What the other side has already is only hashed.
                let skip = usize::try_from(from.saturating_sub(start)).unwrap_or(usize::MAX);
                if skip >= piece.len() {
                    continue;
                }
                match timeout(idle, pipe.send(Ok(piece.slice(skip..)))).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return Ok(()),
                    Err(_) => return Err(Broken::Stalled(idle)),
                }
            }
        }
        Ok(())
    }
}

async fn next(pieces: &mut BlobStream<'_, io::Error>) -> io::Result<Option<Bytes>> {
    pieces.next().await.transpose()
}
