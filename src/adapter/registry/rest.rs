//! The body of an answer, read as it comes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::timeout;

use super::broken::Broken;

/// The body of an answer, as far as it has not been read.
#[derive(Debug)]
pub(super) struct BodyStream {
    response: reqwest::Response,
    idle: Duration,
}

impl BodyStream {
    pub(super) fn new(response: reqwest::Response, idle: Duration) -> Self {
        Self { response, idle }
    }

    /// Reads what comes next.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Broken> {
        Ok(before(self.idle, self.response.chunk()).await??)
    }

    /// Reads everything, or of an error the beginning.
    pub(super) async fn whole(&mut self, limit: usize, is_success: bool) -> Result<Bytes, Broken> {
        let mut body = BytesMut::new();
        while let Some(piece) = self.piece().await? {
            let room = limit - body.len();
            body.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.len() > room {
                if is_success {
                    return Err(Broken::TooLong(limit));
                }
                break;
            }
        }
        Ok(body.freeze())
    }
}

/// Waits for something that may take so long.
pub(super) async fn before<F: Future>(idle: Duration, work: F) -> Result<F::Output, Broken> {
    timeout(idle, work).await.map_err(|_| Broken::Lost(format!("nothing for {idle:?}")))
}
