//! DeleteSupport manifests and tags (distribution-spec, "Content Management").
//!
//! Invariant: no delete takes more along than was asked for, and what the registry did not
//! say is looked up, not assumed.

use std::sync::atomic::Ordering::Relaxed;

use reqwest::{Method, StatusCode};

use super::answer::Answer;
use super::client::{HttpRegistry, Right};
use crate::adapter::locked::locked;
use crate::adapter::untag;
use crate::model::{Digest, Repository, Tag};
use crate::port::{DeleteSupport, Deleted, Failure, Reference, RegistryError};

impl HttpRegistry {
    /// Asks for the deletion of what is nowhere: the answer tells whether deletes are answered.
    pub(super) async fn find_deleting(
        &self,
        repository: &Repository,
    ) -> Result<DeleteSupport, RegistryError> {
        let answered = locked(&self.deleting).get(repository).copied();
        let answered = match answered {
            Some(answered) => answered,
            None => {
                let at = Reference::Digest(untag::nowhere());
                let answer = self.send_delete(repository, &at).await?;
                let answered = meaning(&answer)? != Deleted::Unsupported;
                locked(&self.deleting).insert(repository.clone(), answered);
                answered
            }
        };
        let tags = self.host(repository)?.deletes_tags.load(Relaxed);
        Ok(match (answered, tags) {
            (false, _) => DeleteSupport::Nothing,
            (true, false) => DeleteSupport::Manifests,
            (true, true) => DeleteSupport::Tags,
        })
    }

    /// Removes a tag. That a registry deletes tags alone is seen on a manifest that has no
    /// other tag, and made use of from then on: some take DELETE of a tag for one of its
    /// manifest.
    pub(super) async fn remove_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Deleted, RegistryError> {
        let at = Reference::Tag(tag.clone());
        if self.host(repository)?.deletes_tags.load(Relaxed) {
            return self.delete_at(repository, &at).await;
        }
        let delete = async |stand_in: Digest| {
            let by_digest = Reference::Digest(stand_in);
            let answer = self.send_delete(repository, &at).await;
            if !matches!(answer.as_ref().map(meaning), Ok(Ok(Deleted::Gone))) {
                return self.delete_at(repository, &by_digest).await;
            }
            let is_left = self.head_manifest(repository, &by_digest).await?.is_some();
            if is_left && self.head_manifest(repository, &at).await?.is_none() {
                self.host(repository)?.deletes_tags.store(true, Relaxed);
            }
            match is_left {
                // What has no tag is in nobody's way, should this not succeed.
                true => self.delete_at(repository, &by_digest).await.or(Ok(Deleted::Gone)),
                false => Ok(Deleted::Gone),
            }
        };
        untag::by_throwaway(self, repository, tag, delete).await
    }

    /// Deletes by the distribution API.
    pub(super) async fn delete_at(
        &self,
        repository: &Repository,
        at: &Reference,
    ) -> Result<Deleted, RegistryError> {
        let sent = self.send_delete(repository, at).await;
        self.conclude(repository, at, sent, meaning).await
    }

    /// Tells how a delete of `at` ended: by `meaning` of the answer, and where that leaves open
    /// what has happened by looking.
    pub(super) async fn conclude(
        &self,
        repository: &Repository,
        at: &Reference,
        sent: Result<Answer, RegistryError>,
        meaning: impl Fn(&Answer) -> Result<Deleted, RegistryError>,
    ) -> Result<Deleted, RegistryError> {
        let error = match sent {
            Ok(answer) => match meaning(&answer) {
                Ok(Deleted::NotFound) => {
                    return match self.is_gone(repository, at).await? {
                        true => Ok(Deleted::NotFound),
                        false => Err(answer.untrusted("it is here, and it is not")),
                    };
                }
                Ok(deleted) => return Ok(deleted),
                Err(error) => error,
            },
            Err(error) => error,
        };
        let is_unclear = match &error.failure {
            Failure::Status { status, .. } => !matches!(status, 425 | 429) && error.failure.is_transient(),
            failure => failure.is_transient(),
        };
        match is_unclear && matches!(self.is_gone(repository, at).await, Ok(true)) {
            true => Ok(Deleted::Gone),
            false => Err(error),
        }
    }

    /// Tells whether nothing is there, which takes more than a HEAD: its 404 has no body that
    /// would show that it is a registry's.
    async fn is_gone(&self, repository: &Repository, at: &Reference) -> Result<bool, RegistryError> {
        Ok(self.head_manifest(repository, at).await?.is_none()
            && self.get_manifest(repository, at).await?.is_none())
    }

    pub(super) async fn send_delete(
        &self,
        repository: &Repository,
        at: &Reference,
    ) -> Result<Answer, RegistryError> {
        let request = self.manifest_request(Method::DELETE, repository, at)?.once();
        self.send(request, repository, Right::Delete).await
    }
}

/// What the answer to a delete by the distribution API says.
pub(super) fn meaning(answer: &Answer) -> Result<Deleted, RegistryError> {
    match answer.status {
        StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => Ok(Deleted::Gone),
        StatusCode::METHOD_NOT_ALLOWED => Ok(Deleted::Unsupported),
        status if status.is_client_error() && answer.has_code("UNSUPPORTED") => Ok(Deleted::Unsupported),
        _ if answer.is_absent()? => Ok(Deleted::NotFound),
        _ => Err(answer.failure()),
    }
}
