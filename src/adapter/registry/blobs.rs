//! Blobs: whether they are there, and small ones (distribution-spec, "Pulling blobs").

use bytes::Bytes;
use reqwest::{Method, StatusCode};

use super::answer;
use super::{HttpRegistry, Right};
use crate::model::{Digest, Repository};
use crate::port::RegistryError;

impl HttpRegistry {
    pub(super) async fn head_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<bool, RegistryError> {
        let request = self.request(Method::HEAD, repository, &format!("blobs/{digest}"))?;
        let answer = self.send(request, repository, Right::Pull).await?;
        if answer.is_absent()? {
            return Ok(false);
        }
        if answer.status == StatusCode::OK { Ok(true) } else { Err(answer.failure()) }
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
        let answer = self.send(request, repository, Right::Pull).await?;
        if answer.is_absent()? {
            return Ok(None);
        }
        if answer.status != StatusCode::OK {
            return Err(answer.failure());
        }
        if !answer::matches(&answer.body, digest) {
            let found = Digest::of(&answer.body);
            return Err(answer.untrusted(format!("another digest than asked for: {found}")));
        }
        if let Some(kept) = remembered {
            kept.keep(digest, &answer.body);
        }
        Ok(Some(answer.body))
    }
}
