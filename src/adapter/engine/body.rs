//! The build context as a request body: written by a blocking thread, in constant memory.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::mpsc;

use crate::adapter::context::tar::{self, TarError};
use crate::port::{BuildRequest, ContextError};

/// The bytes sent at a time.
const PIECE: usize = 256 << 10;
/// The pieces waiting at most.
const WAITING: usize = 4;

/// Why a context could not be sent, once that is known.
#[derive(Clone, Default)]
pub struct Failure(Arc<Mutex<Option<ContextError>>>);

impl Failure {
    /// Takes the error, if there was one.
    pub fn take(&self) -> Option<ContextError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: ContextError) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

/// Starts to write the context of `request`. The stream ends in an error if that fails;
/// what went wrong stands in [`Failure`] before. Dropping the stream ends the writing.
pub fn stream(request: &BuildRequest) -> (impl Stream<Item = io::Result<Bytes>> + Send + 'static, Failure) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let failure = Failure::default();
    let (root, entries) = (request.root.clone(), request.entries.clone());
    let (dockerfile, told) = (request.dockerfile.clone(), failure.clone());
    tokio::task::spawn_blocking(move || {
        let pieces = Pieces { sender: sender.clone(), piece: BytesMut::with_capacity(PIECE) };
        match tar::write(&root, &entries, &dockerfile, pieces) {
            Ok(()) => {}
            Err(TarError::Context(error)) => {
                told.set(error);
                // Nobody to tell if the other side is gone.
                let _ = sender.blocking_send(Err(io::Error::other("the build context cannot be read")));
            }
            Err(TarError::Write(_)) => {}
        }
    });
    let stream = unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    (stream, failure)
}

/// Sends what is written in pieces.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: BytesMut,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = PIECE - self.piece.len();
        let count = bytes.len().min(room);
        self.piece.extend_from_slice(&bytes[..count]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, BytesMut::with_capacity(PIECE));
        self.sender
            .blocking_send(Ok(piece.freeze()))
            .map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "the engine takes no more"))
    }
}
