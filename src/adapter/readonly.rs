//! A registry of which only the reading half is left: whatever a run that may not write asks
//! for, no write, delete or upload is ever sent, and no token with such a right is asked for.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::{Descriptor, Digest, RawManifest, Repository, Tag, Timestamp};
use crate::port::{
    Blob, BlobSource, BlobStream, Deleted, Deleting, Failure, Pushed, Reference, Registry, RegistryError,
    TagList,
};

/// Passes reads on, and refuses the rest.
pub struct ReadOnly {
    inner: Arc<dyn Registry>,
    why: String,
}

impl ReadOnly {
    /// Shuts `inner` for writes; `why` is a lower-case fragment.
    pub fn new(inner: Arc<dyn Registry>, why: String) -> Self {
        Self { inner, why }
    }

    fn refuse<T>(&self, what: &str, repository: &Repository) -> Result<T, RegistryError> {
        Err(RegistryError {
            request: format!("{what} {repository}, which was not sent"),
            failure: Failure::Denied { detail: self.why.clone() },
        })
    }
}

#[async_trait]
impl Registry for ReadOnly {
    async fn now(&self, host: &str) -> Result<Timestamp, RegistryError> {
        self.inner.now(host).await
    }

    async fn head(&self, repository: &Repository, at: &Reference) -> Result<Option<Digest>, RegistryError> {
        self.inner.head(repository, at).await
    }

    async fn get(
        &self,
        repository: &Repository,
        at: &Reference,
    ) -> Result<Option<RawManifest>, RegistryError> {
        self.inner.get(repository, at).await
    }

    async fn put(
        &self,
        repository: &Repository,
        _: &Reference,
        _: &RawManifest,
    ) -> Result<(), RegistryError> {
        self.refuse("PUT to", repository)
    }

    async fn tags(&self, repository: &Repository) -> Result<TagList, RegistryError> {
        self.inner.tags(repository).await
    }

    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.inner.referrers(repository, subject).await
    }

    fn lists_referrers(&self, repository: &Repository) -> bool {
        self.inner.lists_referrers(repository)
    }

    async fn deleting(&self, _: &Repository) -> Result<Deleting, RegistryError> {
        Ok(Deleting::Nothing)
    }

    async fn delete(&self, repository: &Repository, _: &Digest) -> Result<Deleted, RegistryError> {
        self.refuse("DELETE in", repository)
    }

    async fn untag(&self, repository: &Repository, _: &Tag) -> Result<Deleted, RegistryError> {
        self.refuse("DELETE in", repository)
    }

    async fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        self.inner.has_blob(repository, digest).await
    }

    async fn push_blob(
        &self,
        repository: &Repository,
        _: &dyn BlobSource,
        _: Option<&Repository>,
    ) -> Result<Pushed, RegistryError> {
        self.refuse("POST to", repository)
    }

    async fn open_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: u64,
    ) -> Result<Option<BlobStream<'_, RegistryError>>, RegistryError> {
        self.inner.open_blob(repository, blob, from).await
    }

    async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.inner.get_blob(repository, digest, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::memory::MemoryRegistry;
    use crate::model::MediaType;

    #[tokio::test]
    async fn reads_pass_and_no_write_does() {
        let memory = Arc::new(MemoryRegistry::new());
        let repository = Repository::new("127.0.0.1:5000", "a").unwrap();
        let digest = memory.put_blob(&repository, Bytes::from_static(b"{}")).await.unwrap();
        let shut = ReadOnly::new(memory.clone(), "a fork".to_owned());
        assert!(shut.has_blob(&repository, &digest).await.unwrap());
        assert_eq!(shut.get_blob(&repository, &digest, 10).await.unwrap().unwrap(), "{}");
        let raw = RawManifest::new(MediaType::OciManifest, "{}");
        let tag: Tag = "t".parse().unwrap();
        let errors = [
            shut.put(&repository, &tag.clone().into(), &raw).await.unwrap_err(),
            shut.delete(&repository, &digest).await.unwrap_err(),
            shut.untag(&repository, &tag).await.unwrap_err(),
            shut.put_blob(&repository, Bytes::from_static(b"x")).await.unwrap_err(),
        ];
        for error in errors {
            assert!(error.failure.is_refusal() && error.to_string().contains("a fork"), "{error}");
        }
        assert!(!memory.has_blob(&repository, &Digest::of(b"x")).await.unwrap());
        assert_eq!(shut.deleting(&repository).await.unwrap(), Deleting::Nothing);
    }
}
