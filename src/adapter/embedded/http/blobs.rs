//! Blobs (distribution-spec, "Pulling blobs", "Checking if content exists in the registry").

use std::io::{Seek as _, SeekFrom};

use axum::body::Body;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::ReaderStream;

use super::answer::{Answer, CONTENT_DIGEST, Refusal, answer};
use super::app::{App, blocking};
use crate::adapter::embedded::EmbeddedError;
use crate::model::Digest;

/// How much of a blob is in memory at once, in bytes.
const WINDOW: usize = 256 * 1024;

/// Tells whether a blob is here, and its size.
pub async fn probe(app: &App, digest: Digest) -> Result<Answer, Refusal> {
    let layout = app.store.layout.clone();
    let asked = digest.clone();
    let size = blocking(move || layout.renew(&digest)).await?.ok_or_else(|| unknown(&asked))?;
    let headers = headers(&asked).into_iter().chain([(header::CONTENT_LENGTH, size.to_string())]);
    answer(StatusCode::OK, headers, Body::empty())
}

/// Streams a blob, or the one range of it that was asked for (RFC 9110, section 14).
pub async fn read(app: &App, digest: Digest, asked: &HeaderMap) -> Result<Answer, Refusal> {
    let layout = app.store.layout.clone();
    let range = asked.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(Range::read);
    let wanted = digest.clone();
    let opened = blocking(move || {
        let Some((mut file, size)) = layout.blob(&digest)? else { return Ok(None) };
        let part = range.map(|range| range.within(size));
        let start = part.flatten().map_or(0, |(start, _)| start);
        let sought = file.seek(SeekFrom::Start(start));
        sought.map_err(EmbeddedError::io("read", &layout.blob_path(&digest)))?;
        Ok::<_, EmbeddedError>(Some((file, size, part)))
    });
    let (file, size, part) = opened.await?.ok_or_else(|| unknown(&wanted))?;
    let file = tokio::fs::File::from_std(file);
    let stream = |length| Body::from_stream(ReaderStream::with_capacity(file.take(length), WINDOW));
    let length = |length: u64| (header::CONTENT_LENGTH, length.to_string());
    match part {
        None => answer(StatusCode::OK, headers(&wanted).into_iter().chain([length(size)]), stream(size)),
        Some(Some((start, end))) => {
            let part = (header::CONTENT_RANGE, format!("bytes {start}-{end}/{size}"));
            let count = end - start + 1;
            let headers = headers(&wanted).into_iter().chain([length(count), part]);
            answer(StatusCode::PARTIAL_CONTENT, headers, stream(count))
        }
        Some(None) => {
            let message = format!("the blob has {size} bytes");
            Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", message)
                .with(header::CONTENT_RANGE, format!("bytes */{size}")))
        }
    }
}

fn headers(digest: &Digest) -> [(HeaderName, String); 3] {
    [
        (header::CONTENT_TYPE, "application/octet-stream".to_owned()),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (CONTENT_DIGEST, digest.to_string()),
    ]
}

fn unknown(digest: &Digest) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", format!("no blob {digest}"))
}

/// A single byte range as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    /// `bytes=first-` and `bytes=first-last`
    From(u64, Option<u64>),
    /// `bytes=-count`
    Last(u64),
}

impl Range {
    /// Reads a `Range` header; `None` for one that is ignored: several ranges, other units,
    /// or nonsense.
    fn read(text: &str) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.trim().split_once('-')?;
        let number = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten()
        };
        match (first, last) {
            ("", count) => Some(Self::Last(number(count)?)),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// Returns the first and last byte in a blob of `size`; `None` if no byte is in it.
    fn within(self, size: u64) -> Option<(u64, u64)> {
        let end = size.checked_sub(1)?;
        match self {
            Self::From(first, last) => (first <= end).then(|| (first, last.unwrap_or(end).min(end))),
            Self::Last(0) => None,
            Self::Last(count) => Some((size.saturating_sub(count), end)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Range;

    #[test]
    fn ranges() {
        let check =
            |text, expect| assert_eq!(Range::read(text).map(|range| range.within(10)), expect, "{text}");
        check("bytes=0-", Some(Some((0, 9))));
        check("bytes=2-4", Some(Some((2, 4))));
        check("bytes=2-99", Some(Some((2, 9))));
        check("bytes=-3", Some(Some((7, 9))));
        check("bytes=-99", Some(Some((0, 9))));
        check("bytes=10-", Some(None));
        check("bytes=-0", Some(None));
        for ignored in
            ["", "bytes", "bytes=", "bytes=-", "bytes=4-2", "bytes=0-1,3-4", "bytes=+1-2", "items=0-1"]
        {
            check(ignored, None);
        }
        assert_eq!(Range::From(0, None).within(0), None);
    }
}
