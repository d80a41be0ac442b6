//! Looks at what a sweep deleted: what the registry still has of it, and what stands in its place.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};

use crate::exec::image::labels::{Labels, Unread, labels};
use crate::exec::pace;
use crate::model::{
    Descriptor, Digest, Document, Image, KeptManifest, Key, MediaType, RawManifest, Repository, Timestamp,
};
use crate::port::{RegistryError, RegistryReader};
use crate::retention::{Remains, RemainsState};

/// A manifest as a record keeps it.
pub(crate) struct Taken {
    pub kept: KeptManifest,
    /// What may be put back; nothing if the record's bytes are not what it says.
    pub manifest: Option<RawManifest>,
}

/// Looks at manifests that were deleted.
pub(crate) struct Look<'a> {
    pub registry: &'a dyn RegistryReader,
    pub repositories: &'a [Repository],
    /// The keys that sweeps under way have claimed, and until when.
    pub claims: BTreeMap<Key, Timestamp>,
}

impl Look<'_> {
    /// Returns what was found out about each, and what else stands of what they need. A registry that
    /// does not answer ends it: what is unknown is never missing.
    pub async fn all(
        &self,
        taken: &[Taken],
    ) -> Result<(Vec<Remains>, BTreeSet<(String, Digest)>), RegistryError> {
        let looks = taken.iter().map(|one| self.one(one, taken));
        let remains: Vec<Remains> =
            futures_util::stream::iter(looks).buffered(pace::REQUESTS).try_collect().await?;
        let mut needed = BTreeSet::new();
        let mut standing = BTreeSet::new();
        for one in &remains {
            let RemainsState::Known { stands, children, bases, .. } = &one.state else { continue };
            if *stands {
                standing.insert((one.repository.clone(), one.digest.clone()));
            }
            needed.extend(children.iter().map(|digest| (one.repository.clone(), digest.clone())));
            let everywhere = self.repositories.iter().map(|repository| repository.name().to_owned());
            let bases =
                everywhere.flat_map(|name| bases.values().map(move |base| (name.clone(), base.clone())));
            needed.extend(bases);
        }
        needed.retain(|place| !standing.contains(place));
        let looks = needed.into_iter().map(|(name, digest)| async move {
            let Some(repository) = self.repository(&name) else { return Ok(None) };
            let found = self.registry.head(repository, &digest.clone().into()).await?;
            Ok::<_, RegistryError>(found.map(|_| (name, digest)))
        });
        let found: Vec<_> =
            futures_util::stream::iter(looks).buffer_unordered(pace::REQUESTS).try_collect().await?;
        standing.extend(found.into_iter().flatten());
        Ok((remains, standing))
    }

    fn repository(&self, name: &str) -> Option<&Repository> {
        self.repositories.iter().find(|repository| repository.name() == name)
    }

    async fn one(&self, one: &Taken, all: &[Taken]) -> Result<Remains, RegistryError> {
        let KeptManifest { repository: name, tag, key, digest, .. } = &one.kept;
        let state = match (self.repository(name), &one.manifest) {
            (None, _) => RemainsState::Doubtful("its repository is none of ours".to_owned()),
            (_, None) => RemainsState::Doubtful("its record holds other bytes than it says".to_owned()),
            (Some(repository), Some(manifest)) => match self.state(repository, one, manifest, all).await {
                Ok(state) => state,
                Err(Unread::Broken(why)) => RemainsState::Doubtful(why),
                Err(Unread::Registry(error)) => return Err(error),
            },
        };
        let (repository, tag, key, digest) = (name.clone(), tag.clone(), key.clone(), digest.clone());
        Ok(Remains { repository, tag, key, digest, state })
    }

    async fn state(
        &self,
        repository: &Repository,
        one: &Taken,
        manifest: &RawManifest,
        all: &[Taken],
    ) -> Result<RemainsState, Unread> {
        let document = manifest.document().map_err(|error| Unread::Broken(error.to_string()))?;
        let by_digest = manifest.digest().clone().into();
        let stands = self.registry.head(repository, &by_digest).await?.is_some();
        let holds = match &one.kept.tag {
            Some(tag) => self.registry.head(repository, &tag.clone().into()).await?,
            None => None,
        };
        let (mut children, mut lacks, mut said) = (BTreeSet::new(), None, Labels::default());
        match &document {
            Document::Image(image) => {
                children.extend(image.subject.iter().map(|subject| subject.digest.clone()));
                lacks = self.lacks(repository, image).await?;
                if lacks.is_none() {
                    said = labels(self.registry, repository, image).await?;
                }
            }
            Document::Index(index) => {
                let is_manifest = |child: &&Descriptor| child.media_type.parse::<MediaType>().is_ok();
                let below = index.manifests.iter().filter(is_manifest);
                children.extend(below.chain(&index.subject).map(|child| child.digest.clone()));
                // An index has no labels: its manifests say what its key is.
                for child in &index.manifests {
                    if let Some(image) = self.child(repository, &child.digest, all).await?
                        && self.lacks(repository, &image).await?.is_none()
                    {
                        said = labels(self.registry, repository, &image).await?;
                    }
                    if said.key.is_some() {
                        break;
                    }
                }
            }
        }
        let claimed = std::iter::once(&one.kept.key).chain(said.parents.keys());
        let claimed = claimed.filter_map(|key| self.claims.get(key)).max().copied();
        Ok(RemainsState::Known {
            stands,
            holds,
            children,
            bases: said.parents,
            lacks,
            says: said.key.map(|key| (key, said.generation)),
            claimed,
        })
    }

    /// Returns the first blob of an image that is no longer there.
    async fn lacks(&self, repository: &Repository, image: &Image) -> Result<Option<Digest>, RegistryError> {
        let blobs: BTreeSet<&Digest> =
            std::iter::once(&image.config).chain(&image.layers).map(|blob| &blob.digest).collect();
        for blob in blobs {
            if !self.registry.has_blob(repository, blob).await? {
                return Ok(Some(blob.clone()));
            }
        }
        Ok(None)
    }

    /// Returns the image of an index that goes back with it, or that stands.
    async fn child(
        &self,
        repository: &Repository,
        digest: &Digest,
        all: &[Taken],
    ) -> Result<Option<Image>, RegistryError> {
        let is_it = |one: &&Taken| one.kept.repository == repository.name() && one.kept.digest == *digest;
        let manifest = match all.iter().find(is_it).and_then(|one| one.manifest.clone()) {
            Some(manifest) => Some(manifest),
            None => self.registry.get(repository, &digest.clone().into()).await?,
        };
        Ok(match manifest.and_then(|manifest| manifest.document().ok()) {
            Some(Document::Image(image)) => Some(image),
            Some(Document::Index(_)) | None => None,
        })
    }
}
