//! Manifests: head, get and put (distribution-spec, "Pull", "Push").

use std::sync::atomic::Ordering::Relaxed;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, StatusCode};
use tokio::time::{Instant, sleep};

use super::answer::Answer;
use super::client::{HttpRegistry, Right};
use super::hash;
use super::request::Request;
use super::retry;
use crate::model::{Digest, MANIFEST_LIMIT, MediaType, RawManifest, Repository};
use crate::port::{Failure, Reference, RegistryError};

/// The largest manifest that is written, in bytes; registries need not take larger ones
/// (distribution-spec, "Pushing Manifests").
const PUSHED_LIMIT: usize = 4 * 1024 * 1024;

impl HttpRegistry {
    pub(super) async fn head_manifest(
        &self,
        repository: &Repository,
        at: &Reference,
    ) -> Result<Option<Digest>, RegistryError> {
        let by_get = async || Ok(self.get_manifest(repository, at).await?.map(|raw| raw.digest().clone()));
        let request = self.manifest_request(Method::HEAD, repository, at)?;
        let host = self.authorizer.wire.host(&request.url)?;
        if host.cannot_head.load(Relaxed) {
            return by_get().await;
        }
        let answer = self.send(request, repository, Right::Pull).await?;
        if answer.is_absent()? {
            return Ok(None);
        }
        match answer.status {
            StatusCode::OK => match (answer.claimed_digest(), at) {
                // Nothing to go by, or nonsense: the bytes settle it.
                (None, _) => by_get().await,
                (Some(found), Reference::Digest(asked)) if *asked != found => {
                    Err(other_digest(&answer, &found))
                }
                (found, _) => Ok(found),
            },
            // A 400 may be about this one request only.
            StatusCode::BAD_REQUEST => by_get().await,
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                host.cannot_head.store(true, Relaxed);
                by_get().await
            }
            _ => Err(answer.failure()),
        }
    }

    pub(super) async fn get_manifest(
        &self,
        repository: &Repository,
        at: &Reference,
    ) -> Result<Option<RawManifest>, RegistryError> {
        let request = self.manifest_request(Method::GET, repository, at)?.limit(MANIFEST_LIMIT);
        let answer = self.send(request, repository, Right::Pull).await?;
        if answer.is_absent()? {
            return Ok(None);
        }
        if answer.status != StatusCode::OK {
            return Err(answer.failure());
        }
        let Some(media_type) = answer.header(CONTENT_TYPE) else {
            return Err(answer.untrusted("it has no media type"));
        };
        let media_type: MediaType =
            media_type.parse().map_err(|error| answer.untrusted(format!("{error}")))?;
        let manifest = RawManifest::new(media_type, answer.body.clone());
        if let Reference::Digest(asked) = at
            && !hash::matches(&answer.body, asked)
        {
            return Err(other_digest(&answer, manifest.digest()));
        }
        if let Some(claimed) = answer.claimed_digest()
            && !hash::matches(&answer.body, &claimed)
        {
            let detail = format!("its digest is {}, and it claims {claimed}", manifest.digest());
            return Err(answer.untrusted(detail));
        }
        Ok(Some(manifest))
    }

    /// Writes a manifest. When it is not known whether that happened, the registry is asked
    /// before it is done again: somebody may have moved the tag on in between.
    pub(super) async fn put_manifest(
        &self,
        repository: &Repository,
        at: &Reference,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
        let put = self
            .manifest_request(Method::PUT, repository, at)?
            .once()
            .body(manifest.media_type().as_str(), manifest.bytes().clone());
        if manifest.bytes().len() > PUSHED_LIMIT {
            let detail = format!("a manifest of {} bytes; {PUSHED_LIMIT} are taken", manifest.bytes().len());
            return Err(put.error(Failure::Source { detail }));
        }
        let wire = &self.authorizer.wire;
        let (deadline, host) = (wire.deadline(), wire.host(&put.url)?);
        let mut tries = 0;
        loop {
            let error = match self.send_until(put.clone(), repository, Right::Push, deadline).await {
                Ok(answer) if matches!(answer.status, StatusCode::CREATED | StatusCode::ACCEPTED) => {
                    return match answer.claimed_digest() {
                        Some(claimed) if !hash::matches(manifest.bytes(), &claimed) => Err(answer
                            .untrusted(format!("it took in {claimed} instead of {}", manifest.digest()))),
                        _ => Ok(()),
                    };
                }
                Ok(answer) => answer.failure(),
                Err(error) => error,
            };
            // One that was turned away has been tried again already.
            let is_turned_away = matches!(error.failure, Failure::Status { status: 425 | 429, .. });
            if is_turned_away || !error.failure.is_transient() {
                return Err(error);
            }
            if matches!(self.head_manifest(repository, at).await, Ok(Some(found)) if found == *manifest.digest())
            {
                return Ok(());
            }
            tries += 1;
            let wait = retry::backoff(tries, wire.limits());
            if tries >= wire.limits().tries || Instant::now() + wait >= deadline || !host.budget.spend() {
                return Err(error);
            }
            sleep(wait).await;
        }
    }

    /// All four media types are always named: with fewer, a registry may say 404 for what it has.
    pub(super) fn manifest_request(
        &self,
        method: Method,
        repository: &Repository,
        at: &Reference,
    ) -> Result<Request, RegistryError> {
        const ACCEPTED: &str = "application/vnd.oci.image.manifest.v1+json, \
             application/vnd.oci.image.index.v1+json, \
             application/vnd.docker.distribution.manifest.v2+json, \
             application/vnd.docker.distribution.manifest.list.v2+json";
        let request = self.request(method, repository, &format!("manifests/{at}"))?;
        Ok(request.header(ACCEPT, HeaderValue::from_static(ACCEPTED)))
    }
}

fn other_digest(answer: &Answer, found: &Digest) -> RegistryError {
    answer.untrusted(format!("another digest than asked for: {found}"))
}
