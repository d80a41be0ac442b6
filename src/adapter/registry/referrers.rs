//! What refers to a manifest (distribution-spec, "Listing Referrers", "Referrers Tag Schema").

use std::collections::HashSet;
use std::sync::atomic::Ordering::Relaxed;

use reqwest::{Method, StatusCode};

use super::client::{HttpRegistry, Right};
use super::request::Request;
use super::tags;
use crate::model::{Descriptor, Digest, Document, MANIFEST_LIMIT, MediaType, RawManifest, Repository, Tag};
use crate::port::{Failure, Reference, RegistryError};

impl HttpRegistry {
    /// Asks the registry for its list, and once it has none reads the tag that stands in.
    pub(super) async fn list_referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let first = self.request(Method::GET, repository, &format!("referrers/{subject}"))?.url;
        let host = self.authorizer.wire.host(&first)?;
        if host.no_referrers.load(Relaxed) {
            return self.tagged_referrers(repository, subject).await;
        }
        let mut found = Vec::new();
        let mut seen = HashSet::from([first.clone()]);
        let mut url = first;
        loop {
            let request = Request::new(Method::GET, url).limit(MANIFEST_LIMIT);
            let answer = self.send(request, repository, Right::Pull).await?;
            if seen.len() == 1 {
                match answer.status.as_u16() {
                    // A registry that has lists answers for what it does not hold with an
                    // empty one, but for repositories that it does not know some have a 404.
                    404 if answer.has_code("NAME_UNKNOWN") => {}
                    404 | 405 | 501 => host.no_referrers.store(true, Relaxed),
                    _ => {}
                }
                if matches!(answer.status.as_u16(), 400 | 404 | 405 | 501) {
                    return self.tagged_referrers(repository, subject).await;
                }
            }
            if answer.status != StatusCode::OK {
                return Err(answer.failure());
            }
            match RawManifest::new(MediaType::OciIndex, answer.body.clone()).document() {
                Ok(Document::Index(index)) => found.extend(index.manifests),
                Ok(Document::Image(_)) | Err(_) => {
                    return Err(answer.untrusted("it is not a list of referrers"));
                }
            }
            let Some(next) = tags::next(&answer)? else { return Ok(found) };
            if !seen.insert(next.clone()) {
                return Err(answer.untrusted("its pages lead in a circle"));
            }
            if seen.len() > self.authorizer.wire.limits().pages {
                return Err(answer.untrusted(format!("more than {} pages", seen.len() - 1)));
            }
            url = next;
        }
    }

    /// Tells whether the registry may keep lists itself; once one was asked for it is known.
    pub(super) fn may_list(&self, repository: &Repository) -> bool {
        let request = self.request(Method::GET, repository, "tags/list");
        let host = request.and_then(|request| self.authorizer.wire.host(&request.url));
        host.map_or(true, |host| !host.no_referrers.load(Relaxed))
    }

    async fn tagged_referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let at = Reference::Tag(Tag::of_referrers(subject));
        let Some(raw) = self.get_manifest(repository, &at).await? else { return Ok(Vec::new()) };
        match raw.document() {
            Ok(Document::Index(index)) => Ok(index.manifests),
            Ok(Document::Image(_)) | Err(_) => Err(RegistryError {
                request: format!("GET {repository}:{at}"),
                failure: Failure::Untrusted { detail: "its list of referrers is no index".to_owned() },
            }),
        }
    }
}
