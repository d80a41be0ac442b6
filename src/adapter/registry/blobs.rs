//! Blobs: whether they are there, and small ones (distribution-spec, "Pulling blobs").
//!
//! A HEAD may come from a cache that has outlived the blob, so a byte of it is read.

use bytes::Bytes;
use reqwest::header::{HeaderValue, RANGE};
use reqwest::{Method, StatusCode};

use super::client::{HttpRegistry, Right};
use super::hash;
use crate::model::{Digest, Repository};
use crate::port::RegistryError;

impl HttpRegistry {
    pub(super) async fn holds_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let request = self.request(Method::GET, repository, &format!("blobs/{digest}"))?.streamed();
        let request = request.header(RANGE, HeaderValue::from_static("bytes=0-0"));
        let mut answer = self.send(request, repository, Right::Pull).await?;
        // Nothing has no first byte.
        let is_nothing = hash::matches(b"", digest);
        if answer.is_absent()? {
            return Ok(false);
        }
        match (answer.status, answer.rest.take()) {
            (StatusCode::OK | StatusCode::PARTIAL_CONTENT, Some(mut rest)) => {
                Ok(matches!(rest.piece().await, Ok(Some(piece)) if !piece.is_empty()) || is_nothing)
            }
            (StatusCode::RANGE_NOT_SATISFIABLE, _) => Ok(is_nothing),
            _ => Err(answer.failure()),
        }
    }

    pub(super) async fn read_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, RegistryError> {
        let remembered = self.remembered.as_ref();
        if let Some(bytes) = remembered.and_then(|kept| kept.read(digest)).filter(|kept| kept.len() <= limit)
        {
            return Ok(Some(bytes));
        }
        let request = self.request(Method::GET, repository, &format!("blobs/{digest}"))?.limit(limit);
        let mut is_again = false;
        loop {
            let answer = self.send(request.clone(), repository, Right::Pull).await?;
            if answer.is_absent()? {
                return Ok(None);
            }
            if answer.status != StatusCode::OK {
                return Err(answer.failure());
            }
            if hash::matches(&answer.body, digest) {
                if let Some(kept) = remembered {
                    kept.keep(digest, &answer.body);
                }
                return Ok(Some(answer.body));
            }
            // Once, bytes may have been damaged on their way.
            if is_again {
                let found = Digest::of(&answer.body);
                return Err(match answer.body.is_empty() {
                    true => answer.untrusted("it is said to be here, and is empty"),
                    false => answer.untrusted(format!("another digest than asked for: {found}")),
                });
            }
            is_again = true;
        }
    }
}
