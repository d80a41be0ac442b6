//! What the registry in memory answers to each request that is carried out.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{MemoryRegistry, Verb};
use crate::adapter::untag;
use crate::model::{Descriptor, Digest, Document, RawManifest, Repository, Tag, Timestamp};
use crate::port::{
    Blob, BlobSource, BlobStream, Deleted, Deleting, Failure, Pushed, Reference, Registry, RegistryError,
    TagList,
};

fn refused(code: &str, message: &str) -> Failure {
    Failure::Status { status: 400, detail: format!("{code}: {message}") }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn now(&self, _host: &str) -> Result<Timestamp, RegistryError> {
        self.serve(Verb::Now, None, None, |state| Ok(state.now))
    }

    async fn head(&self, repository: &Repository, at: &Reference) -> Result<Option<Digest>, RegistryError> {
        self.serve(Verb::Head, Some(repository), Some(at.to_string()), |state| {
            let store = state.stores.get(repository);
            Ok(store.and_then(|store| store.resolve(at)).map(|manifest| manifest.digest().clone()))
        })
    }

    async fn get(
        &self,
        repository: &Repository,
        at: &Reference,
    ) -> Result<Option<RawManifest>, RegistryError> {
        self.serve(Verb::Get, Some(repository), Some(at.to_string()), |state| {
            Ok(state.stores.get(repository).and_then(|store| store.resolve(at)).cloned())
        })
    }

    async fn put(
        &self,
        repository: &Repository,
        at: &Reference,
        manifest: &RawManifest,
    ) -> Result<(), RegistryError> {
        self.serve(Verb::Put, Some(repository), Some(at.to_string()), |state| {
            let store = state.writable(repository)?;
            // The real one is written in Go, whose JSON parser takes bytes that are no text.
            let text = String::from_utf8_lossy(manifest.bytes()).into_owned();
            let document = RawManifest::new(manifest.media_type(), text)
                .document()
                .map_err(|error| refused("MANIFEST_INVALID", &error.to_string()))?;
            if matches!(at, Reference::Digest(digest) if digest != manifest.digest()) {
                return Err(refused("DIGEST_INVALID", "provided digest did not match uploaded content"));
            }
            if !store.has(&document) {
                return Err(refused("MANIFEST_BLOB_UNKNOWN", "blob unknown to registry"));
            }
            store.manifests.insert(manifest.digest().clone(), manifest.clone());
            if let Reference::Tag(tag) = at {
                store.tags.insert(tag.clone(), manifest.digest().clone());
            }
            Ok(())
        })
    }

    async fn tags(&self, repository: &Repository) -> Result<TagList, RegistryError> {
        self.serve(Verb::Tags, Some(repository), None, |state| {
            let tags = state.stores.get(repository).map(|store| store.tags.keys().cloned().collect());
            Ok(TagList { tags: tags.unwrap_or_default(), invalid: Vec::new() })
        })
    }

    /// There is no list of its own in 2.8.2, so the tag that stands in for it is read.
    async fn referrers(
        &self,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        self.serve(Verb::Referrers, Some(repository), Some(subject.to_string()), |state| {
            let tag = Tag::of_referrers(subject);
            let store = state.stores.get(repository);
            let Some(raw) = store.and_then(|store| store.resolve(&Reference::Tag(tag))) else {
                return Ok(Vec::new());
            };
            match raw.document() {
                Ok(Document::Index(index)) => Ok(index.manifests),
                _ => Err(Failure::Untrusted { detail: "its list of referrers is no index".to_owned() }),
            }
        })
    }

    async fn deleting(&self, repository: &Repository) -> Result<Deleting, RegistryError> {
        self.serve(Verb::Deleting, Some(repository), None, |state| {
            Ok(if state.read_only || !state.deletes { Deleting::Nothing } else { Deleting::Manifests })
        })
    }

    async fn untag(&self, repository: &Repository, tag: &Tag) -> Result<Deleted, RegistryError> {
        let delete = async |digest: Digest| self.delete(repository, &digest).await;
        untag::by_throwaway(self, repository, tag, delete).await
    }

    async fn delete(&self, repository: &Repository, digest: &Digest) -> Result<Deleted, RegistryError> {
        self.serve(Verb::Delete, Some(repository), Some(digest.to_string()), |state| {
            if state.read_only || !state.deletes {
                return Ok(Deleted::Unsupported);
            }
            let Some(store) = state.stores.get_mut(repository) else { return Ok(Deleted::WasGone) };
            if store.manifests.remove(digest).is_none() {
                return Ok(Deleted::WasGone);
            }
            store.tags.retain(|_, at| at != digest);
            Ok(Deleted::Gone)
        })
    }

    async fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, RegistryError> {
        self.serve(Verb::HasBlob, Some(repository), Some(digest.to_string()), |state| {
            Ok(state.stores.get(repository).is_some_and(|store| store.blobs.contains_key(digest)))
        })
    }

    async fn push_blob(
        &self,
        repository: &Repository,
        blob: &dyn BlobSource,
        mount: Option<&Repository>,
    ) -> Result<Pushed, RegistryError> {
        let Blob { digest, .. } = blob.blob();
        let request = format!("{:?} {repository} {digest}", Verb::PutBlob);
        let read = async || -> std::io::Result<Vec<u8>> {
            let pieces: Vec<Bytes> = blob.open(0).await?.try_collect().await?;
            Ok(pieces.concat())
        };
        let source = |error: std::io::Error| RegistryError {
            request: request.clone(),
            failure: Failure::Source { detail: error.to_string() },
        };
        let elsewhere = mount.and_then(|from| self.state().stores.get(from)?.blobs.get(digest).cloned());
        let (bytes, how) = match elsewhere {
            Some(bytes) => (bytes, Pushed::Mounted),
            None => (Bytes::from(read().await.map_err(source)?), Pushed::Sent),
        };
        self.serve(Verb::PutBlob, Some(repository), Some(digest.to_string()), |state| {
            if Digest::of(&bytes) != *digest {
                return Err(refused("DIGEST_INVALID", "provided digest did not match uploaded content"));
            }
            state.writable(repository)?.blobs.insert(digest.clone(), bytes);
            Ok(how)
        })
    }

    async fn open_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: u64,
    ) -> Result<Option<BlobStream<'_, RegistryError>>, RegistryError> {
        let Blob { digest, size } = blob;
        self.serve(Verb::OpenBlob, Some(repository), Some(digest.to_string()), |state| {
            let blob = state.stores.get(repository).and_then(|store| store.blobs.get(digest));
            let Some(bytes) = blob.cloned() else { return Ok(None) };
            if bytes.len() as u64 != *size {
                return Err(Failure::Untrusted {
                    detail: format!("{} bytes in place of {size}", bytes.len()),
                });
            }
            let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
            let rest = bytes.slice(from..);
            Ok(Some(stream::iter((!rest.is_empty()).then_some(Ok(rest))).boxed()))
        })
    }

    async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, RegistryError> {
        self.serve(Verb::GetBlob, Some(repository), Some(digest.to_string()), |state| {
            let blob = state.stores.get(repository).and_then(|store| store.blobs.get(digest));
            match blob {
                Some(bytes) if bytes.len() > limit => Err(Failure::TooLong { limit }),
                blob => Ok(blob.cloned()),
            }
        })
    }
}
