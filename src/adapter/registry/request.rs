//! A request: what is sent, how much may come back, and whether it may be sent again.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::mpsc;

use crate::adapter::locked::locked;
use crate::model::printable;
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
    /// How long it may be told to wait; by default as long as [`super::Limits`] say.
    pub(super) patience: Option<Duration>,
    /// Must not reach into the private network.
    pub(super) is_guarded: bool,
}

/// What may be sent a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Reads, and writes of the same bytes to the same place.
    Freely,
    /// Only if the first one was certainly not carried out: a late second DELETE could hit
    /// what somebody has pushed in between, and an upload session ends with its first PUT.
    Unprocessed,
    /// The body is gone once it was sent; whoever sent it knows what is next.
    Never,
}

impl Repeat {
    /// Tells whether a request answered with `status` may be sent again.
    pub(super) fn allows(self, status: StatusCode) -> bool {
        match self {
            Self::Freely => {
                matches!(status.as_u16(), 408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
            }
            Self::Unprocessed => matches!(status.as_u16(), 425 | 429),
            Self::Never => false,
        }
    }
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
        Self {
            method,
            url,
            headers,
            body,
            limit: Some(SMALL),
            repeat: Repeat::Freely,
            patience: None,
            is_guarded: false,
        }
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

    pub(super) fn patient(self, patience: Duration) -> Self {
        Self { patience: Some(patience), ..self }
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
        RegistryError { request: name(&self.method, &self.url), failure }
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

/// Names a request for a person: no query, which may hold a signature, and no credentials.
pub(super) fn name(method: &Method, url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Both fail only for URLs that cannot hold credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    printable(&format!("{method} {url}"), 300)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_delete_is_repeated_only_if_it_was_turned_away() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        for code in [408, 499, 500, 502, 503, 504, 520, 522, 524] {
            assert!(Repeat::Freely.allows(status(code)));
            assert!(!Repeat::Unprocessed.allows(status(code)));
        }
        for code in [200, 400, 401, 403, 404, 405, 501] {
            assert!(!Repeat::Freely.allows(status(code)));
        }
        assert!(Repeat::Unprocessed.allows(status(429)));
    }
}
