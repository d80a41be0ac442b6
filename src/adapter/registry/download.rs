//! Reading blobs of any size (distribution-spec, "Pulling blobs"; RFC 9110, section 14).
//!
//! A connection that is cut is taken up again where it was; the hash is over all bytes that
//! were handed out, whatever connections they came by.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, HeaderValue, RANGE};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::answer::Answer;
use super::broken::Broken;
use super::client::{HttpRegistry, Right};
use super::hash::Hash;
use super::request;
use super::rest::BodyStream;
use super::retry;
use crate::model::Repository;
use crate::port::{Blob, BlobStream, Failure, RegistryError};

/// A blob that is being read.
struct Download<'a> {
    registry: &'a HttpRegistry,
    repository: Repository,
    blob: Blob,
    /// The first byte that was not handed out.
    at: u64,
    /// The hash of what was handed out; none if that did not begin at the beginning.
    hash: Option<Hash>,
    /// The request as errors name it.
    request: String,
    rest: Option<BodyStream>,
    /// How many bytes come first that were handed out already.
    skip: u64,
    /// Where the measuring of its rate began, and how long was waited for pieces since then:
    /// that whoever reads takes their time is not the registry's fault.
    measured: (u64, Duration),
    /// Where the last request but the current one left off.
    resumed: u64,
    fruitless: u32,
    is_over: bool,
}

impl HttpRegistry {
    /// Opens a blob; its first bytes are on their way when this returns.
    pub(super) async fn stream_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: u64,
    ) -> Result<Option<BlobStream<'_, RegistryError>>, RegistryError> {
        let mut download = Download {
            registry: self,
            repository: repository.clone(),
            blob: blob.clone(),
            at: from,
            hash: (from == 0).then(|| Hash::like(&blob.digest)),
            request: String::new(),
            rest: None,
            skip: 0,
            measured: (from, Duration::ZERO),
            resumed: from,
            fruitless: 0,
            is_over: false,
        };
        if !download.open().await? {
            return Ok(None);
        }
        let pieces = stream::unfold(download, async |mut download| match download.next().await {
            Ok(Some(piece)) => Some((Ok(piece), download)),
            Ok(None) => None,
            Err(error) => {
                download.is_over = true;
                Some((Err(error), download))
            }
        });
        Ok(Some(pieces.boxed()))
    }
}

impl Download<'_> {
    fn error(&self, failure: Failure) -> RegistryError {
        RegistryError { request: self.request.clone(), failure }
    }

    fn untrusted(&self, detail: String) -> RegistryError {
        self.error(Failure::Untrusted { detail })
    }

    /// Asks for what has not been handed out; `false` if there is no such blob.
    async fn open(&mut self) -> Result<bool, RegistryError> {
        let path = format!("blobs/{}", self.blob.digest);
        let mut request = self.registry.request(Method::GET, &self.repository, &path)?.streamed();
        // A range must hold a byte.
        let from = self.at.min(self.blob.size.saturating_sub(1));
        if from > 0 {
            let range = format!("bytes={from}-");
            request.headers.extend(HeaderValue::try_from(range).ok().map(|range| (RANGE, range)));
        }
        let mut answer = self.registry.send(request, &self.repository, Right::Pull).await?;
        self.request = request::name(&answer.method, &answer.url);
        if answer.is_absent()? {
            return Ok(false);
        }
        let start = match answer.status {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => range_start(&answer, self.blob.size)?,
            _ => return Err(answer.failure()),
        };
        let length = answer.header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if start > self.at || length.is_some_and(|length| start.saturating_add(length) != self.blob.size) {
            let detail = format!("its length does not fit a blob of {} bytes", self.blob.size);
            return Err(answer.untrusted(detail));
        }
        self.skip = self.at - start;
        self.rest = answer.rest.take();
        Ok(true)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        while !self.is_over {
            let Some(rest) = &mut self.rest else {
                if !self.open().await? {
                    return Err(self.untrusted("it was there a moment ago, and is no more".to_owned()));
                }
                continue;
            };
            let asked = Instant::now();
            let piece = rest.piece().await;
            self.measured.1 += asked.elapsed();
            match piece {
                Ok(Some(_)) if self.is_too_slow() => {
                    let idle = self.registry.authorizer.wire.limits().idle;
                    self.cut(Broken::Lost(format!("next to nothing in {idle:?}"))).await?;
                }
                Ok(Some(mut piece)) => {
                    let skipped = piece.len().min(usize::try_from(self.skip).unwrap_or(usize::MAX));
                    self.skip -= skipped as u64;
                    drop(piece.split_to(skipped));
                    if piece.is_empty() {
                        continue;
                    }
                    self.take(&piece)?;
                    if self.at == self.blob.size {
                        self.finish().await?;
                    }
                    return Ok(Some(piece));
                }
                Ok(None) if self.at == self.blob.size => {
                    self.finish().await?;
                    return Ok(None);
                }
                Ok(None) => self.cut(Broken::Lost("the body ended early".to_owned())).await?,
                Err(broken) => self.cut(broken).await?,
            }
        }
        Ok(None)
    }

    fn take(&mut self, piece: &Bytes) -> Result<(), RegistryError> {
        self.at += piece.len() as u64;
        if self.at > self.blob.size {
            return Err(self.untrusted(format!("longer than {} bytes", self.blob.size)));
        }
        if let Some(hash) = &mut self.hash {
            hash.update(piece);
        }
        Ok(())
    }

    /// Checks a blob of which all bytes have come, before the last of them are handed out.
    async fn finish(&mut self) -> Result<(), RegistryError> {
        self.is_over = true;
        if self.hash.as_ref().is_some_and(|hash| !hash.is(&self.blob.digest)) {
            return Err(self.untrusted(format!("its bytes are not those of {}", self.blob.digest)));
        }
        // All that should come has come: that the connection is cut now changes nothing.
        if let Some(mut rest) = self.rest.take()
            && let Ok(Some(more)) = rest.piece().await
            && !more.is_empty()
        {
            return Err(self.untrusted(format!("longer than {} bytes", self.blob.size)));
        }
        Ok(())
    }

    /// Tells whether it drips: less than the least in the time that silence may last.
    fn is_too_slow(&mut self) -> bool {
        let limits = self.registry.authorizer.wire.limits();
        let (at, waited) = self.measured;
        if waited < limits.idle {
            return false;
        }
        self.measured = (self.at, Duration::ZERO);
        self.at - at < limits.least
    }

    /// Lets go of a connection; what got on by less than the least with it did not get on.
    async fn cut(&mut self, broken: Broken) -> Result<(), RegistryError> {
        let limits = self.registry.authorizer.wire.limits();
        self.rest = None;
        self.fruitless = if self.at - self.resumed < limits.least { self.fruitless + 1 } else { 1 };
        (self.resumed, self.measured) = (self.at, (self.at, Duration::ZERO));
        if self.fruitless >= limits.tries {
            return Err(self.error(broken.failure()));
        }
        sleep(retry::backoff(self.fruitless, limits)).await;
        Ok(())
    }
}

/// Reads the first position of `bytes first-last/size`.
fn range_start(answer: &Answer, size: u64) -> Result<u64, RegistryError> {
    let read = |text: &str| {
        let (range, of) = text.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let ends = last.parse::<u64>().ok()?.checked_add(1)? == size;
        let sized = of == "*" || of.parse::<u64>().ok()? == size;
        if ends && sized { first.parse::<u64>().ok() } else { None }
    };
    let start = answer.header(CONTENT_RANGE).and_then(read);
    start.ok_or_else(|| answer.untrusted(format!("its range does not fit a blob of {size} bytes")))
}
