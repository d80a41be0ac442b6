//! A request, and the body of its answer.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::answer;
use super::broken::Broken;
use super::retry::Repeat;
use super::wire::locked;
use crate::port::{Failure, RegistryError};

/// The largest part of an error or token answer that is read (rule S1).
pub(super) const SMALL: usize = 64 * 1024;

/// A request, repeatable as it stands unless its body is piped.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Payload,
    /// The longest body that a success may have; `None` leaves it unread.
    pub(super) limit: Option<usize>,
    pub(super) repeat: Repeat,
    /// Must not reach into the private network.
    pub(super) is_guarded: bool,
}

/// What a request carries.
#[derive(Debug, Clone)]
pub(super) enum Payload {
    Bytes(Bytes),
    /// What comes out of a pipe, which somebody fills while the request is under way. It is
    /// sent once, whatever comes of it.
    Piped(Pipe),
}

/// The end of a pipe that is read.
pub(super) type Pipe = Arc<Mutex<Option<mpsc::Receiver<io::Result<Bytes>>>>>;

impl Request {
    pub(super) fn new(method: Method, url: Url) -> Self {
        let (headers, body) = (HeaderMap::new(), Payload::Bytes(Bytes::new()));
        Self { method, url, headers, body, limit: Some(SMALL), repeat: Repeat::Freely, is_guarded: false }
    }

    pub(super) fn limit(self, limit: usize) -> Self {
        Self { limit: Some(limit), ..self }
    }

    /// Leaves the body of a success to be read by whoever asked.
    pub(super) fn streamed(self) -> Self {
        Self { limit: None, ..self }
    }

    /// Sends what comes out of `pipe`, `length` bytes.
    pub(super) fn piped(self, pipe: mpsc::Receiver<io::Result<Bytes>>, length: u64) -> Self {
        let sized = self.header(CONTENT_LENGTH, HeaderValue::from(length));
        let body = Payload::Piped(Arc::new(Mutex::new(Some(pipe))));
        Self { body, repeat: Repeat::Never, ..sized }
    }

    pub(super) fn is_piped(&self) -> bool {
        matches!(self.body, Payload::Piped(_))
    }

    pub(super) fn guarded(self, is_guarded: bool) -> Self {
        Self { is_guarded, ..self }
    }

    pub(super) fn once(self) -> Self {
        Self { repeat: Repeat::Unprocessed, ..self }
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(self, media_type: &'static str, body: Bytes) -> Self {
        let typed = self.header(CONTENT_TYPE, HeaderValue::from_static(media_type));
        Self { body: Payload::Bytes(body), ..typed }
    }

    pub(super) fn error(&self, failure: Failure) -> RegistryError {
        RegistryError { request: answer::name(&self.method, &self.url), failure }
    }
}

impl Payload {
    pub(super) fn into_body(self) -> reqwest::Body {
        match self {
            Self::Bytes(bytes) => bytes.into(),
            Self::Piped(pipe) => {
                let pipe = locked(&pipe).take();
                let pieces = stream::unfold(pipe, async |pipe| {
                    let mut pipe = pipe?;
                    let piece = pipe.recv().await?;
                    Some((piece, Some(pipe)))
                });
                reqwest::Body::wrap_stream(pieces)
            }
        }
    }
}

/// The body of an answer, as far as it has not been read.
#[derive(Debug)]
pub(super) struct Rest {
    response: reqwest::Response,
    idle: Duration,
}

impl Rest {
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
