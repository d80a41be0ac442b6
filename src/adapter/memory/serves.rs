//! What the registry in memory answers to each request that is carried out.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{MemoryRegistry, Verb};
use crate::adapter::untag;
use crate::model::{Descriptor, Digest, Document, RawManifest, Repository, Tag, Timestamp};
use crate::port::{
    Blob, BlobSource, BlobStream, DeleteSupport, Deleted, Failure, Pushed, Reference, Registry,
    RegistryError, RegistryReader, RegistryResult, RegistryWriter, TagList,
};

fn refused(code: &str, message: &str) -> Failure {
    Failure::Status { status: 400, detail: format!("{code}: {message}") }
}

#[async_trait]
impl RegistryReader for MemoryRegistry {
    async fn now(&self, _host: &str) -> RegistryResult<Timestamp> {
        self.serve(Verb::Now, None, None, |state| Ok(state.now)).await
    }

    async fn head(&self, repository: &Repository, at: &Reference) -> RegistryResult<Option<Digest>> {
        self.serve(Verb::Head, Some(repository), Some(at.to_string()), |state| {
            let store = state.stores.get(repository);
            Ok(store.and_then(|store| store.resolve(at)).map(|manifest| manifest.digest().clone()))
        })
        .await
    }

    async fn get(&self, repository: &Repository, at: &Reference) -> RegistryResult<Option<RawManifest>> {
        self.serve(Verb::Get, Some(repository), Some(at.to_string()), |state| {
            Ok(state.stores.get(repository).and_then(|store| store.resolve(at)).cloned())
        })
        .await
    }

    async fn tags(&self, repository: &Repository) -> RegistryResult<TagList> {
        self.serve(Verb::Tags, Some(repository), None, |state| {
            let tags = state.stores.get(repository).map(|store| store.tags.keys().cloned().collect());
            Ok(TagList { tags: tags.unwrap_or_default(), invalid: Vec::new() })
        })
        .await
    }

    /// There is no list of its own in 2.8.2, so the tag that stands in for it is read.
    async fn referrers(&self, repository: &Repository, subject: &Digest) -> RegistryResult<Vec<Descriptor>> {
        self.serve(Verb::Referrers, Some(repository), Some(subject.to_string()), |state| {
            let Some(store) = state.stores.get(repository) else { return Ok(Vec::new()) };
            let mut listed =
                match store.resolve(&Tag::of_referrers(subject).into()).map(RawManifest::document) {
                    None => Vec::new(),
                    Some(Ok(Document::Index(index))) => index.manifests,
                    Some(_) => {
                        let detail = "its list of referrers is no index".to_owned();
                        return Err(Failure::Untrusted { detail });
                    }
                };
            // What is gone is no longer listed.
            let stands = |one: &Descriptor| store.manifests.contains_key(&one.digest);
            let all = state.referring.iter().filter(|(of, one)| of == subject && stands(one));
            listed.extend(all.map(|(_, one)| one.clone()));
            Ok(listed)
        })
        .await
    }

    async fn has_blob(&self, repository: &Repository, digest: &Digest) -> RegistryResult<bool> {
        self.serve(Verb::HasBlob, Some(repository), Some(digest.to_string()), |state| {
            Ok(state.stores.get(repository).is_some_and(|store| store.blobs.contains_key(digest)))
        })
        .await
    }

    async fn open_blob(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: u64,
    ) -> RegistryResult<Option<BlobStream<'_, RegistryError>>> {
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
        .await
    }

    async fn get_blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        limit: usize,
    ) -> RegistryResult<Option<Bytes>> {
        self.serve(Verb::GetBlob, Some(repository), Some(digest.to_string()), |state| {
            let blob = state.stores.get(repository).and_then(|store| store.blobs.get(digest));
            match blob {
                Some(bytes) if bytes.len() > limit => Err(Failure::TooLong { limit }),
                blob => Ok(blob.cloned()),
            }
        })
        .await
    }
}

#[async_trait]
impl RegistryWriter for MemoryRegistry {
    async fn put(
        &self,
        repository: &Repository,
        at: &Reference,
        manifest: &RawManifest,
    ) -> RegistryResult<()> {
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
        .await
    }

    async fn push_blob(
        &self,
        repository: &Repository,
        blob: &dyn BlobSource,
        mount: Option<&Repository>,
    ) -> RegistryResult<Pushed> {
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
        .await
    }
}

#[async_trait]
impl Registry for MemoryRegistry {
    async fn deleting(&self, repository: &Repository) -> RegistryResult<DeleteSupport> {
        self.serve(Verb::DeleteSupport, Some(repository), None, |state| {
            Ok(if state.read_only || !state.deletes {
                DeleteSupport::Nothing
            } else {
                DeleteSupport::Manifests
            })
        })
        .await
    }

    async fn delete(&self, repository: &Repository, digest: &Digest) -> RegistryResult<Deleted> {
        self.serve(Verb::Delete, Some(repository), Some(digest.to_string()), |state| {
            if state.read_only || !state.deletes {
                return Ok(Deleted::Unsupported);
            }
            if state.refused.as_ref() == Some(digest) {
                return Ok(Deleted::Refused { why: "more than 5000 downloads".to_owned() });
            }
            let Some(store) = state.stores.get_mut(repository) else { return Ok(Deleted::NotFound) };
            let Some(raw) = store.manifests.remove(digest) else { return Ok(Deleted::NotFound) };
            let tags = store.tags.extract_if(.., |_, at| at == digest).map(|(tag, _)| tag).collect();
            if let Some(deleted) = &mut state.deleted {
                deleted.push((repository.clone(), raw, tags));
            }
            Ok(Deleted::Gone)
        })
        .await
    }

    async fn untag(&self, repository: &Repository, tag: &Tag) -> RegistryResult<Deleted> {
        let delete = async |digest: Digest| self.delete(repository, &digest).await;
        untag::by_throwaway(self, repository, tag, delete).await
    }

    fn restores(&self, _: &Repository) -> bool {
        self.state().deleted.is_some()
    }

    async fn restore(&self, repository: &Repository, digest: &Digest) -> RegistryResult<bool> {
        let state = &mut *self.state();
        let mut deleted = state.deleted.iter().flatten();
        let Some((_, raw, tags)) = deleted.find(|(at, raw, _)| at == repository && raw.digest() == digest)
        else {
            return Ok(false);
        };
        let store = state.stores.entry(repository.clone()).or_default();
        store.manifests.insert(digest.clone(), raw.clone());
        store.tags.extend(tags.iter().map(|tag| (tag.clone(), digest.clone())));
        Ok(true)
    }
}
