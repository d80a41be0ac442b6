//! Copies images to another repository, of the same registry or another one: whole, with
//! their children and with what is attached to them.
//!
//! What a manifest needs goes before it, so a manifest that is there is whole, and a copy that
//! was cut off goes on where it stopped. Within a registry blobs are mounted; between two they
//! pass through as they come, and are hashed on the way.

use std::collections::BTreeSet;
use std::io;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt, TryStreamExt};

use crate::model::{Descriptor, Digest, Document, MediaType, RawManifest, Repository, Tag};
use crate::port::{Blob, BlobSource, BlobStream, Reference, Registry, RegistryError};

/// Blobs that are moved at once.
const AT_ONCE: usize = 4;
/// How often a list of referrers is written until it holds what others wrote as well.
const TRIES: usize = 5;

/// Why an image was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A registry did not answer as needed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Something that the image needs is gone.
    #[error("{repository} has lost {digest}")]
    Gone {
        /// The repository.
        repository: Repository,
        /// What is gone.
        digest: Digest,
    },
    /// A manifest could not be understood, so what it needs is unknown.
    #[error("{repository}@{digest} cannot be understood: {why}")]
    Unreadable {
        /// The repository.
        repository: Repository,
        /// The manifest.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// The list of what refers to an image is written over again and again.
    #[error("{repository}:{tag} is written over by others again and again")]
    Contended {
        /// The repository.
        repository: Repository,
        /// The list's tag.
        tag: Tag,
    },
}

/// Copies from one repository to another.
pub(super) struct Copier<'a> {
    registry: &'a dyn Registry,
    from: &'a Repository,
    to: &'a Repository,
    /// Tags of the source that name what they are attached to.
    attached: Vec<(Digest, Tag)>,
}

impl<'a> Copier<'a> {
    pub async fn new(
        registry: &'a dyn Registry,
        from: &'a Repository,
        to: &'a Repository,
    ) -> Result<Self, CopyError> {
        let tags = registry.tags(from).await?.tags;
        // The lists of referrers are made anew: what they list may be there in part.
        let is_list = |tag: &Tag, subject: &Digest| *tag == Tag::of_referrers(subject);
        let attached = tags.into_iter().filter_map(|tag| Some((tag.subject()?, tag)));
        let attached = attached.filter(|(subject, tag)| !is_list(tag, subject)).collect();
        Ok(Self { registry, from, to, attached })
    }

    /// Copies an image and puts it under a tag, unless that holds something else.
    pub async fn image(&self, digest: &Digest, tag: &Tag) -> Result<(), CopyError> {
        let raw = self.manifest(digest).await?;
        if self.registry.head(self.to, &tag.clone().into()).await?.is_none() {
            self.registry.put(self.to, &tag.clone().into(), &raw).await?;
        }
        self.attachments(raw).await
    }

    /// Copies a manifest by digest, what it needs first; returns it.
    fn manifest<'s>(&'s self, digest: &'s Digest) -> BoxFuture<'s, Result<RawManifest, CopyError>> {
        async move {
            let at = Reference::Digest(digest.clone());
            let raw = self.registry.get(self.from, &at).await?.ok_or_else(|| self.gone(digest))?;
            if self.registry.head(self.to, &at).await?.is_some() {
                return Ok(raw);
            }
            match self.read(&raw)? {
                Document::Image(image) => {
                    let mut seen = BTreeSet::new();
                    let parts = std::iter::once(image.config).chain(image.layers);
                    let parts = parts.filter(|part| !is_elsewhere(part) && seen.insert(part.digest.clone()));
                    futures_util::stream::iter(parts.map(Ok::<_, CopyError>))
                        .try_for_each_concurrent(AT_ONCE, |part| async move { self.blob(&part).await })
                        .await?;
                }
                Document::Index(index) => {
                    let is_manifest = |child: &&Descriptor| child.media_type.parse::<MediaType>().is_ok();
                    for child in index.manifests.iter().filter(is_manifest) {
                        self.manifest(&child.digest).await?;
                    }
                }
            }
            self.registry.put(self.to, &at, &raw).await?;
            Ok(raw)
        }
        .boxed()
    }

    /// Copies what refers to a manifest and to its children, by list and by tag.
    fn attachments(&self, raw: RawManifest) -> BoxFuture<'_, Result<(), CopyError>> {
        async move {
            let subject = raw.digest();
            for referrer in self.registry.referrers(self.from, subject).await? {
                let copied = self.manifest(&referrer.digest).await?;
                self.list(subject, &referrer, &copied).await?;
                self.attachments(copied).await?;
            }
            for (_, tag) in self.attached.iter().filter(|(of, _)| of == subject) {
                let at = Reference::Tag(tag.clone());
                let Some(found) = self.registry.head(self.from, &at).await? else { continue };
                let copied = self.manifest(&found).await?;
                self.registry.put(self.to, &at, &copied).await?;
                self.attachments(copied).await?;
            }
            if let Document::Index(index) = self.read(&raw)? {
                let is_manifest = |child: &&Descriptor| child.media_type.parse::<MediaType>().is_ok();
                for child in index.manifests.iter().filter(is_manifest) {
                    let at = Reference::Digest(child.digest.clone());
                    let child = self.registry.get(self.to, &at).await?;
                    self.attachments(child.ok_or_else(|| self.gone(subject))?).await?;
                }
            }
            Ok(())
        }
        .boxed()
    }

    /// Makes sure that the target lists a referrer. A registry that keeps no list itself has one
    /// under a tag, which others may write at the same moment: what they wrote is kept.
    async fn list(
        &self,
        subject: &Digest,
        referrer: &Descriptor,
        copied: &RawManifest,
    ) -> Result<(), CopyError> {
        let tag = Tag::of_referrers(subject);
        let mut entry = serde_json::json!(referrer);
        if let Document::Image(image) = self.read(copied)? {
            // As the specification wants it: what the list says is the referrer's own.
            entry["annotations"] = serde_json::json!(image.annotations);
        }
        for _ in 0..TRIES {
            let listed = self.registry.referrers(self.to, subject).await?;
            if listed.iter().any(|one| one.digest == referrer.digest) {
                return Ok(());
            }
            let raw = self.registry.get(self.to, &tag.clone().into()).await?;
            let before = raw.as_ref().map(|raw| serde_json::from_slice::<serde_json::Value>(raw.bytes()));
            let mut index = before.and_then(Result::ok).unwrap_or_else(|| {
                serde_json::json!({ "schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(), "manifests": [] })
            });
            if let Some(manifests) = index["manifests"].as_array_mut() {
                manifests.push(entry.clone());
            }
            let raw = RawManifest::new(MediaType::OciIndex, index.to_string());
            self.registry.put(self.to, &tag.clone().into(), &raw).await?;
        }
        Err(CopyError::Contended { repository: self.to.clone(), tag })
    }

    async fn blob(&self, part: &Descriptor) -> Result<(), CopyError> {
        if self.registry.has_blob(self.to, &part.digest).await? {
            return Ok(());
        }
        let source = Remote { registry: self.registry, repository: self.from, blob: part.into() };
        let mount = (self.from.host() == self.to.host()).then_some(self.from);
        self.registry.push_blob(self.to, &source, mount).await?;
        Ok(())
    }

    fn read(&self, raw: &RawManifest) -> Result<Document, CopyError> {
        raw.document().map_err(|error| CopyError::Unreadable {
            repository: self.from.clone(),
            digest: raw.digest().clone(),
            why: error.to_string(),
        })
    }

    fn gone(&self, digest: &Digest) -> CopyError {
        CopyError::Gone { repository: self.from.clone(), digest: digest.clone() }
    }
}

/// Layers that may not be distributed are not in any registry of ours (image-spec, "Non-Distributable
/// Layers").
fn is_elsewhere(part: &Descriptor) -> bool {
    part.media_type.contains("nondistributable") || part.media_type.contains("foreign")
}

/// A blob of a registry, read as often as it is needed.
struct Remote<'a> {
    registry: &'a dyn Registry,
    repository: &'a Repository,
    blob: Blob,
}

#[async_trait]
impl BlobSource for Remote<'_> {
    fn blob(&self) -> &Blob {
        &self.blob
    }

    async fn open(&self, from: u64) -> io::Result<BlobStream<'_, io::Error>> {
        let opened = self.registry.open_blob(self.repository, &self.blob, from).await;
        match opened.map_err(io::Error::other)? {
            Some(stream) => Ok(stream.map(|piece| piece.map_err(io::Error::other)).boxed()),
            None => Err(io::Error::new(io::ErrorKind::NotFound, format!("{} is gone", self.blob.digest))),
        }
    }
}
