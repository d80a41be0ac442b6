//! Small blobs: head, get and monolithic upload (distribution-spec, "Pulling blobs", "Pushing blobs").

use bytes::Bytes;
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::answer::{self, Answer};
use super::retry::{self, Repeat};
use super::wire::Request;
use super::{HttpRegistry, Right, session};
use crate::model::{Digest, Repository};
use crate::port::RegistryError;

const OCTETS: &str = "application/octet-stream";

/// How often an upload is begun; the tries of opening it are counted apart.
const UPLOADS: u32 = 3;

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

    /// POST opens a session, PUT sends everything and closes it. A session whose PUT failed
    /// cannot be trusted to be as it was, so the upload begins anew.
    pub(super) async fn upload_blob(
        &self,
        repository: &Repository,
        bytes: Bytes,
    ) -> Result<Digest, RegistryError> {
        let digest = Digest::of(&bytes);
        let limits = self.authorizer.wire.limits();
        let deadline = self.authorizer.wire.deadline();
        let mut round = 0;
        loop {
            let opened = self.open_upload(repository, deadline).await?;
            // The query is the registry's own and stays as it is.
            let mut url = session::target(&opened, &opened.url)?;
            url.query_pairs_mut().append_pair("digest", digest.as_str());
            let put = Request::new(Method::PUT, url).once().body(OCTETS, bytes.clone());
            let (error, again) = match self.send_until(put, repository, Right::Push, deadline).await {
                Ok(answer) if answer.status == StatusCode::CREATED => {
                    return taken_in(&answer, &bytes).map(|()| digest);
                }
                // The session is gone, as after a restart of the registry.
                Ok(answer) if answer.has_code("BLOB_UPLOAD_UNKNOWN") => (answer.failure(), true),
                Ok(answer) => (answer.failure(), Repeat::Freely.allows(answer.status)),
                Err(error) => {
                    let passing = error.failure.is_passing();
                    (error, passing)
                }
            };
            round += 1;
            if !again || round == UPLOADS {
                return Err(error);
            }
            sleep(retry::backoff(round, limits)).await;
        }
    }

    async fn open_upload(&self, repository: &Repository, deadline: Instant) -> Result<Answer, RegistryError> {
        let open = self.request(Method::POST, repository, "blobs/uploads/")?.body(OCTETS, Bytes::new());
        let answer = self.send_until(open, repository, Right::Push, deadline).await?;
        if answer.status == StatusCode::ACCEPTED { Ok(answer) } else { Err(answer.failure()) }
    }
}

fn taken_in(answer: &Answer, bytes: &[u8]) -> Result<(), RegistryError> {
    match answer.claimed_digest() {
        Some(claimed) if !answer::matches(bytes, &claimed) => {
            Err(answer.untrusted(format!("it took in {claimed}, which is not what was sent")))
        }
        _ => Ok(()),
    }
}
