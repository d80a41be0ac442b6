//! Copies an image with everything that is attached to it: lists of referrers, and what tags
//! such as `sha256-<hex>.sig` name.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use oci_client::manifest::ImageIndexEntry;
use serde_json::Value;

use crate::exec::image::copy::{CopyError, Place, Target, copy};
use crate::exec::pace;
use crate::model::{Descriptor, Digest, Document, MediaType, RawManifest, Repository, Tag};
use crate::port::{Reference, RegistryWriter};

/// Copies from one repository to another, of one registry or of two.
pub(crate) struct Copier<'a> {
    registry: &'a dyn RegistryWriter,
    from: &'a Repository,
    to: &'a Repository,
    /// Tags of the source that name what they are attached to.
    attached: Vec<(Digest, Tag)>,
}

impl<'a> Copier<'a> {
    pub async fn new(
        registry: &'a dyn RegistryWriter,
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
        let is_free = self.registry.head(self.to, &tag.clone().into()).await?.is_none();
        let raw = self.copy(digest, Some(tag).filter(|_| is_free)).await?;
        self.follow(raw).await
    }

    async fn copy(&self, digest: &Digest, tag: Option<&Tag>) -> Result<RawManifest, CopyError> {
        let at = Reference::Digest(digest.clone());
        let from = Place { registry: self.registry, repository: self.from };
        let to = Target { registry: self.registry, repository: self.to };
        copy(from, &at, to, tag).await?;
        self.read(digest).await
    }

    async fn read(&self, digest: &Digest) -> Result<RawManifest, CopyError> {
        let at = Reference::Digest(digest.clone());
        let found = self.registry.get(self.to, &at).await?;
        found
            .ok_or_else(|| CopyError::Missing { repository: self.to.clone(), what: format!("manifest {at}") })
    }

    /// Copies what refers to a manifest and to its children, by list and by tag.
    fn follow(&self, raw: RawManifest) -> BoxFuture<'_, Result<(), CopyError>> {
        async move {
            let subject = raw.digest();
            for referrer in self.registry.referrers(self.from, subject).await? {
                let copied = self.copy(&referrer.digest, None).await?;
                self.list(subject, &referrer, &copied).await?;
                self.follow(copied).await?;
            }
            for (_, tag) in self.attached.iter().filter(|(of, _)| of == subject) {
                let at = Reference::Tag(tag.clone());
                let Some(found) = self.registry.head(self.from, &at).await? else { continue };
                let copied = self.copy(&found, Some(tag)).await?;
                self.follow(copied).await?;
            }
            if let Document::Index(index) = raw.document()? {
                for child in index.manifests {
                    let child = self.read(&child.digest).await?;
                    self.follow(child).await?;
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
        let mut entry = ImageIndexEntry::from(referrer.clone());
        if let Document::Image(image) = copied.document()? {
            // As the specification wants it: what the list says is the referrer's own.
            entry.annotations = Some(image.annotations);
        }
        let empty = RawManifest::of_index(Vec::new());
        for _ in 0..pace::SHARED {
            let listed = self.registry.referrers(self.to, subject).await?;
            if listed.iter().any(|one| one.digest == referrer.digest) {
                return Ok(());
            }
            let raw = self.registry.get(self.to, &tag.clone().into()).await?;
            // What others wrote there, fields that are not known here among it, stays as it is.
            let read = |raw: &RawManifest| serde_json::from_slice::<Value>(raw.bytes()).ok();
            let mut index = raw.as_ref().and_then(read).or_else(|| read(&empty)).unwrap_or_default();
            if let Some(manifests) = index["manifests"].as_array_mut() {
                manifests.push(serde_json::json!(entry));
            }
            let raw = RawManifest::new(MediaType::OciIndex, index.to_string());
            self.registry.put(self.to, &tag.clone().into(), &raw).await?;
        }
        Err(CopyError::Contended { repository: self.to.clone(), tag })
    }
}
