//! Uploads (distribution-spec, "Pushing blobs", "Mounting a blob from another repository").
//!
//! POST opens a session, one PUT sends everything and closes it. What was cut goes on from
//! where the registry says it is; a session that it no longer knows begins anew. Only a
//! registry that takes no body of that length gets it in parts.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, StatusCode, Url};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::address;
use super::answer::Answer;
use super::client::{HttpRegistry, Right};
use super::feed::{self, UploadBody};
use super::request::{Repeat, Request};
use super::{retry, session};
use crate::model::Repository;
use crate::port::{Blob, BlobSource, Failure, Pushed, RegistryError};

const OCTETS: &str = "application/octet-stream";

/// The shortest part that is sent, in bytes.
const PART: u64 = 16 * 1024 * 1024;

/// How often an upload that does not get on may be told that its token is stale.
const REFRESHES: u32 = 2;

/// The time a registry gets to store what it was sent, on top of the deadline: this many bytes
/// a second.
const STORED_A_SECOND: u64 = 10 * 1024 * 1024;

/// One upload, as far as it has come.
struct Upload<'a> {
    registry: &'a HttpRegistry,
    repository: &'a Repository,
    blob: &'a Blob,
    feed: UploadBody<'a>,
    /// Send parts of at least so many bytes.
    part: Option<u64>,
    /// Goes on with what an earlier request had sent.
    is_resumed: bool,
}

/// Where an upload goes on.
#[derive(Clone)]
struct Open {
    url: Url,
    /// How much the registry has.
    offset: u64,
    /// The shortest part that it takes.
    shortest: u64,
}

/// What an exchange came to.
enum Outcome {
    /// The blob is there.
    Done,
    /// A part was taken.
    Open(Open),
    /// It is not known how much was taken.
    Unclear(RegistryError),
    /// Nothing was taken, for want of a token that has been fetched by now.
    Stale(RegistryError),
    /// The session cannot be used any more.
    Over(RegistryError),
    /// No use in trying again.
    Failed(RegistryError),
}

impl HttpRegistry {
    /// Uploads a blob, or has it mounted.
    pub(super) async fn upload_blob(
        &self,
        repository: &Repository,
        source: &dyn BlobSource,
        mount: Option<&Repository>,
    ) -> Result<Pushed, RegistryError> {
        let (blob, feed) = (source.blob(), UploadBody::new(source));
        let mut upload = Upload { registry: self, repository, blob, feed, part: None, is_resumed: false };
        let begun = match mount.filter(|from| from.host() == repository.host()) {
            Some(from) => upload.mount(from).await?,
            None => None,
        };
        match begun {
            Some(Outcome::Done) => return Ok(Pushed::Mounted),
            Some(Outcome::Open(open)) => upload.run(Some(open)).await?,
            _ => upload.run(None).await?,
        }
        Ok(Pushed::Sent)
    }
}

impl Upload<'_> {
    /// Asks for the blob from another repository. Whatever is not a yes is no reason not to
    /// upload it: the right to read there may be missing, or the blob. One credential is shown for
    /// both, so what belongs to another one is not asked for.
    async fn mount(&self, from: &Repository) -> Result<Option<Outcome>, RegistryError> {
        if !self.registry.share_credentials(self.repository, from).await {
            return Ok(None);
        }
        let mut open = self.registry.request(Method::POST, self.repository, "blobs/uploads/")?;
        let name = address::server_name(from);
        open.url.query_pairs_mut().append_pair("mount", self.blob.digest.as_str()).append_pair("from", &name);
        let scopes = [Right::Push.scope(self.repository), Right::Pull.scope(from)].join(" ");
        let deadline = self.registry.authorizer.wire.deadline();
        let root = self.registry.root(self.repository.host())?;
        let open = open.body(OCTETS, Bytes::new());
        let answer = match session::send(&self.registry.authorizer, &root, open, &scopes, deadline).await {
            Ok(answer) => answer,
            Err(RegistryError { failure: Failure::Unauthorized { .. } | Failure::Denied { .. }, .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match answer.status {
            StatusCode::CREATED => self.taken_in(&answer).map(|()| Some(Outcome::Done)),
            StatusCode::ACCEPTED => Ok(Some(Outcome::Open(self.opened(&answer)?))),
            _ => Ok(None),
        }
    }

    async fn run(&mut self, mut open: Option<Open>) -> Result<(), RegistryError> {
        let limits = self.registry.authorizer.wire.limits();
        let (mut fruitless, mut stale, mut most) = (0, 0, 0);
        loop {
            let at = match open.take() {
                Some(at) => at,
                None => self.begin().await?,
            };
            if at.offset > most {
                (most, fruitless, stale) = (at.offset, 0, 0);
            }
            let (url, shortest, again) = (at.url.clone(), at.shortest, at.clone());
            let error = match self.exchange(at).await? {
                Outcome::Done => return Ok(()),
                Outcome::Open(further) => {
                    open = Some(further);
                    continue;
                }
                // Asking where it stands could use up the fresh token.
                Outcome::Stale(_) if stale < REFRESHES => {
                    stale += 1;
                    open = Some(again);
                    continue;
                }
                Outcome::Failed(error) | Outcome::Stale(error) => return Err(error),
                Outcome::Over(error) => error,
                Outcome::Unclear(error) => {
                    open = self.status(url, shortest).await?;
                    if open.is_none() && self.is_there().await {
                        return Ok(());
                    }
                    self.is_resumed |= open.is_some();
                    error
                }
            };
            fruitless += 1;
            if fruitless >= limits.tries {
                return Err(error);
            }
            sleep(retry::backoff(fruitless, limits)).await;
        }
    }

    async fn begin(&self) -> Result<Open, RegistryError> {
        let open = self.registry.request(Method::POST, self.repository, "blobs/uploads/")?;
        let answer =
            self.registry.send(open.body(OCTETS, Bytes::new()), self.repository, Right::Push).await?;
        match answer.status {
            StatusCode::ACCEPTED => self.opened(&answer),
            _ => Err(answer.failure()),
        }
    }

    /// Sends the rest, or the next part of it.
    async fn exchange(&mut self, open: Open) -> Result<Outcome, RegistryError> {
        let size = self.blob.size;
        let part = self.part.map(|part| part.max(open.shortest)).filter(|_| open.offset < size);
        let end = part.map_or(size, |part| size.min(open.offset.saturating_add(part)));
        let mut url = open.url.clone();
        let method = match part {
            Some(_) => Method::PATCH,
            None => {
                // The query is the registry's own and stays as it is.
                url.query_pairs_mut().append_pair("digest", self.blob.digest.as_str());
                Method::PUT
            }
        };
        let mut request = Request::new(method, url).header(CONTENT_TYPE, HeaderValue::from_static(OCTETS));
        if (part.is_some() || open.offset > 0) && open.offset < end {
            let range = format!("{}-{}", open.offset, end - 1);
            request.headers.extend(HeaderValue::try_from(range).ok().map(|range| (CONTENT_RANGE, range)));
        }
        let answer = match self.send(request, open.offset, end).await {
            Ok(answer) => answer,
            Err(error) if error.failure.is_transient() => return Ok(Outcome::Unclear(error)),
            Err(error) => return Ok(Outcome::Failed(error)),
        };
        self.read(&answer, open, end, part.is_some())
    }

    /// Sends the bytes between, and finds out what the registry says to them.
    async fn send(&mut self, request: Request, from: u64, end: u64) -> Result<Answer, RegistryError> {
        let wire = &self.registry.authorizer.wire;
        let idle = wire.limits().idle;
        let (tx, rx) = mpsc::channel(4);
        let name = request.error(Failure::Unreachable { detail: String::new() }).request;
        let error = |failure| RegistryError { request: name.clone(), failure };
        let request = request.piped(rx, end - from);
        // The body has no deadline but the rate it must keep; the answer to it has one.
        let forever = Instant::now() + Duration::from_secs(7 * 86_400);
        let sending = self.registry.send_until(request, self.repository, Right::Push, forever);
        tokio::pin!(sending);
        tokio::select! {
            biased;
            answer = &mut sending => return answer,
            fed = self.feed.send(from, end, &tx, idle) => match fed {
                Ok(()) => drop(tx),
                Err(feed::Broken::Source(failure)) => return Err(error(failure)),
                Err(feed::Broken::Stalled(idle)) => {
                    return Err(error(Failure::Unreachable { detail: format!("nothing was taken for {idle:?}") }));
                }
            },
        }
        let patience = wire.limits().deadline + Duration::from_secs(self.blob.size / STORED_A_SECOND);
        match tokio::time::timeout(patience, sending).await {
            Ok(answer) => answer,
            Err(_) => Err(error(Failure::Unreachable { detail: format!("nothing within {patience:?}") })),
        }
    }

    fn read(
        &mut self,
        answer: &Answer,
        open: Open,
        end: u64,
        is_part: bool,
    ) -> Result<Outcome, RegistryError> {
        let failure = answer.failure();
        Ok(match answer.status.as_u16() {
            201 if !is_part => {
                self.taken_in(answer)?;
                Outcome::Done
            }
            202 if is_part => {
                let mut next = self.opened(answer)?;
                next.shortest = next.shortest.max(open.shortest);
                if answer.header(RANGE).is_none() {
                    next.offset = end;
                }
                match next.offset {
                    taken if taken > end => {
                        return Err(answer.untrusted(format!("it has {taken} bytes, and was sent {end}")));
                    }
                    // That gets the upload no further, however often it is done.
                    taken if taken <= open.offset => {
                        Outcome::Unclear(answer.untrusted("it took nothing of a part"))
                    }
                    _ => Outcome::Open(next),
                }
            }
            401 => Outcome::Stale(failure),
            416 => Outcome::Unclear(failure),
            404 => Outcome::Over(failure),
            413 if self.part.is_none() && self.blob.size > PART => {
                self.part = Some(PART);
                Outcome::Over(failure)
            }
            // The parts may not have been put together as they should.
            400 if self.is_resumed && answer.has_code("DIGEST_INVALID") => Outcome::Over(failure),
            _ if answer.has_code("BLOB_UPLOAD_UNKNOWN") => Outcome::Over(failure),
            _ if Repeat::Freely.allows(answer.status) => Outcome::Unclear(failure),
            _ => Outcome::Failed(failure),
        })
    }

    /// Asks how far an upload has come; `None` if it must begin anew.
    async fn status(&self, url: Url, shortest: u64) -> Result<Option<Open>, RegistryError> {
        let request = Request::new(Method::GET, url);
        let answer = match self.registry.send(request, self.repository, Right::Push).await {
            Ok(answer) => answer,
            Err(error) if error.failure.is_transient() => return Err(error),
            // Whatever keeps one out of this session, another one may be open.
            Err(_) => return Ok(None),
        };
        let is_open = matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED);
        if !is_open || answer.header(RANGE).is_none() {
            return Ok(None);
        }
        let mut open = self.opened(&answer)?;
        open.shortest = open.shortest.max(shortest);
        Ok((open.offset <= self.blob.size).then_some(open))
    }

    /// Tells whether the blob is there after all, because the answer to its upload was lost. A
    /// HEAD may come from a cache that has outlived the blob, so its last byte is read.
    async fn is_there(&self) -> bool {
        let last = self.blob.size.saturating_sub(1);
        match self.registry.stream_blob(self.repository, self.blob, last).await {
            Ok(Some(mut pieces)) => match pieces.next().await {
                Some(piece) => piece.is_ok(),
                None => self.blob.size == 0,
            },
            Ok(None) | Err(_) => false,
        }
    }

    /// Reads where an upload goes on; one that has just been opened has taken nothing.
    fn opened(&self, answer: &Answer) -> Result<Open, RegistryError> {
        let url = match answer.header(LOCATION) {
            None if answer.method != Method::POST => answer.url.clone(),
            _ => session::target(answer, &answer.url)?,
        };
        let offset = match answer.header(RANGE) {
            None => 0,
            Some(range) => taken(range).ok_or_else(|| answer.untrusted("its Range is none"))?,
        };
        let shortest = answer.header(HeaderName::from_static("oci-chunk-min-length"));
        let shortest = shortest.and_then(|text| text.parse().ok()).unwrap_or(0);
        let offset = if answer.method == Method::POST { 0 } else { offset };
        Ok(Open { url, offset, shortest })
    }

    fn taken_in(&self, answer: &Answer) -> Result<(), RegistryError> {
        match answer.claimed_digest() {
            Some(claimed)
                if claimed.algorithm() == self.blob.digest.algorithm() && claimed != self.blob.digest =>
            {
                Err(answer.untrusted(format!("it took in {claimed}, which is not what was sent")))
            }
            _ => Ok(()),
        }
    }
}

/// Reads how many bytes `0-<last>` holds. Registries write `0-0` for none as well as for one:
/// it is read as none, and a byte that is sent twice is told by a 416.
fn taken(range: &str) -> Option<u64> {
    let (first, last) = range.trim().trim_start_matches("bytes=").split_once('-')?;
    let last: u64 = last.parse().ok()?;
    match (first.parse::<u64>().ok()?, last) {
        (0, 0) => Some(0),
        (0, last) => last.checked_add(1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::taken;

    #[test]
    fn ranges_of_uploads() {
        for (text, expect) in [
            ("0-0", Some(0)),
            ("0-1", Some(2)),
            ("bytes=0-99", Some(100)),
            ("0--1", None),
            ("5-9", None),
            ("", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(taken(text), expect, "{text}");
        }
    }
}
