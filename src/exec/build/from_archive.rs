//! A box taken from an archive in the place of a build: what its tag does not show yet is sent.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::exec::build::judge::disagrees;
use crate::exec::build::outcome::Parents;
use crate::exec::event::{Emit, Event};
use crate::exec::heal::{may_lack, put_or_heal};
use crate::exec::image::labels::{CONFIG_LIMIT, Labels, Unread, read_labels};
use crate::exec::keys::ResolvedBox;
use crate::exec::pace;
use crate::model::{
    ArchivedBox, Digest, ErrorKind, Explained, Explanation, Generation, Image, Repository, children,
};
use crate::plan::{Reason, Recorded};
use crate::port::{Archive, PushEvent, Reference, RegistryError, RegistryWriter};

/// Why a box was not taken from an archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// The archive has no such box.
    #[error("it is neither in the archive nor in the registry")]
    Absent,
    /// Its image is not what its tag says.
    #[error("{0}")]
    Unfit(String),
    /// Its image was replaced meanwhile.
    #[error("the archive holds generation {} of its key, and {} is current", archived.0, current.0)]
    OtherGeneration { archived: Generation, current: Generation },
    /// Its image was made on other parents.
    #[error(transparent)]
    OtherParent(#[from] Reason),
    /// The registry did not take it.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Explained for UploadError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Absent => ErrorKind::Missing.into(),
            Self::Unfit(_) | Self::OtherGeneration { .. } | Self::OtherParent(_) => ErrorKind::Failed.into(),
            Self::Registry(error) => error.explain(),
        }
    }
}

/// Reads an image's labels, which have to hold the key and generation of its tag.
pub(crate) async fn labels_of(
    archive: &dyn Archive,
    one: &ArchivedBox,
    image: &Image,
) -> Result<Labels, String> {
    let digest = &image.config.digest;
    if image.config.size > CONFIG_LIMIT as u64 {
        return Err(format!("its configuration has {} bytes", image.config.size));
    }
    let blob = archive.blob(digest).ok_or_else(|| format!("its configuration {digest} is missing"))?;
    let read = async {
        let pieces: Vec<bytes::Bytes> = blob.open(0).await?.try_collect().await?;
        Ok::<_, std::io::Error>(pieces.concat())
    };
    let bytes = read.await.map_err(|error| error.to_string())?;
    if Digest::of(&bytes) != *digest {
        return Err(format!("its configuration {digest} is no longer what it was"));
    }
    let labels = read_labels(digest, &bytes).map_err(|unread| match unread {
        Unread::Broken(why) => why,
        Unread::Registry(error) => error.to_string(),
    })?;
    if labels.key.as_ref() != Some(one.tag.key()) {
        return Err("its labels hold another key than its tag".to_owned());
    }
    if labels.generation != Some(one.tag.generation()) {
        return Err("its labels hold another generation than its tag".to_owned());
    }
    Ok(labels)
}

/// One box of an archive on its way into its repository.
pub(crate) struct Upload<'a> {
    registry: &'a dyn RegistryWriter,
    archive: &'a dyn Archive,
    one: &'a ArchivedBox,
    repository: &'a Repository,
    /// The repositories of the boxes it stands on, by name: their layers are there already.
    parents: BTreeMap<String, Repository>,
    emit: Emit<'a>,
}

impl<'a> Upload<'a> {
    /// Sends everything of a box that no tag shows, if its image was made for these parents.
    pub async fn send(
        registry: &'a dyn RegistryWriter,
        archive: &'a dyn Archive,
        keyed: &'a ResolvedBox,
        generation: Generation,
        parents: &Parents,
        emit: Emit<'a>,
    ) -> Result<Self, UploadError> {
        let found = archive.contents().images().find(|(one, _)| one.name == keyed.wanted.name);
        let (one, image) = found.ok_or(UploadError::Absent)?;
        let labels = labels_of(archive, one, image).await.map_err(UploadError::Unfit)?;
        let archived = one.tag.generation();
        if archived != generation {
            return Err(UploadError::OtherGeneration { archived, current: generation });
        }
        let recorded = Recorded { parents: labels.parents, size: 0 };
        if let Some(reason) = disagrees(&recorded, parents, keyed) {
            return Err(reason.into());
        }
        let repository = &keyed.wanted.repository;
        emit(Event::Pushing { name: one.name.clone(), reference: format!("{repository}:{}", one.tag) });
        let parents = parents.iter().map(|(name, made)| (name.clone(), made.repository.clone())).collect();
        let upload = Self { registry, archive, one, repository, parents, emit };
        upload.content(false).await?;
        Ok(upload)
    }

    /// Writes the tag, which makes the image visible. A registry that has lost a blob which it
    /// said it has gets everything once more.
    pub async fn show(&self) -> Result<Digest, RegistryError> {
        let root = &self.one.root.digest;
        let Some(raw) = self.archive.contents().manifests().get(root) else { return Ok(root.clone()) };
        let at = Reference::from(self.one.tag.tag());
        let (all, once) = (|| self.content(true), &pace::UPLOADS[..1]);
        put_or_heal(self.registry, self.repository, &at, raw, once, may_lack, all).await?;
        // One that it remembers, and has lost, is not taken in as a manifest; as a blob it is.
        if self.registry.get(self.repository, &root.clone().into()).await?.is_none() {
            self.registry.put_blob(self.repository, raw.bytes().clone()).await?;
            self.registry.put(self.repository, &at, raw).await?;
        }
        Ok(root.clone())
    }

    /// Sends what the registry says it lacks, or everything; then the children of an index.
    async fn content(&self, everything: bool) -> Result<(), RegistryError> {
        let contents = self.archive.contents();
        let blobs: Vec<&Digest> = self.wanted().collect();
        let sent = stream::iter(blobs).map(|digest| self.blob(digest, everything));
        sent.buffer_unordered(pace::BLOBS).try_collect::<Vec<()>>().await?;
        let Some(root) = contents.manifests().get(&self.one.root.digest) else { return Ok(()) };
        for child in children(root).unwrap_or_default() {
            if let Some(raw) = contents.manifests().get(&child.digest) {
                self.registry.put(self.repository, &child.digest.into(), raw).await?;
            }
        }
        Ok(())
    }

    /// The blobs of this box alone.
    fn wanted(&self) -> impl Iterator<Item = &Digest> {
        let contents = self.archive.contents();
        contents.blobs_of(&self.one.name).filter(|digest| contents.blobs().contains_key(digest))
    }

    async fn blob(&self, digest: &Digest, everything: bool) -> Result<(), RegistryError> {
        let registry = self.registry;
        let Some(blob) = self.archive.blob(digest) else { return Ok(()) };
        if everything || !registry.has_blob(self.repository, digest).await? {
            let contents = self.archive.contents();
            let has = |name: &str| contents.blobs_of(name).any(|of_parent| of_parent == digest);
            let from = self.parents.iter().find(|(name, _)| has(name)).map(|(_, repository)| repository);
            registry.push_blob(self.repository, blob, from.filter(|_| !everything)).await?;
        }
        let (layer, sent) = (digest.short().to_owned(), blob.blob().size);
        let event = PushEvent { layer, sent, total: Some(sent) };
        (self.emit)(Event::Push { name: self.one.name.clone(), event });
        Ok(())
    }
}
