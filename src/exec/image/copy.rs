//! Copying an image to another repository, of the same registry or of another one.
//!
//! Content first: blobs, children, the manifest, and the tag last. The bytes are the same, so
//! are the digests. Blobs that are said to be there are not sent; when the registry then lacks
//! one, nothing that it said is believed any more, and all are sent once.

use std::io;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::exec::heal::put_or_heal;
use crate::exec::pace;
use crate::model::{
    Digest, Document, ErrorKind, Explained, Explanation, ManifestError, RawManifest, Repository, Tag,
};
use crate::port::{
    Blob, BlobSource, BlobStream, Failure, Reference, RegistryError, RegistryReader, RegistryWriter,
};

/// How deep indexes may lie in indexes.
const DEEPEST: usize = 4;

/// Where an image is copied from.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub registry: &'a dyn RegistryReader,
    pub repository: &'a Repository,
}

/// Where it is copied to.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    pub registry: &'a dyn RegistryWriter,
    pub repository: &'a Repository,
}

/// Why an image was not copied. No tag was moved.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A registry did not do as asked.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// There is no such image, or a part of it is missing.
    #[error("{repository} has no {what}")]
    Missing {
        repository: Repository,
        /// What: a manifest, or a blob.
        what: String,
    },
    /// A manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The list of what refers to an image is written over by others, again and again.
    #[error("{repository}:{tag} is written over by others again and again")]
    Contended { repository: Repository, tag: Tag },
    /// Indexes lie in indexes.
    #[error("index {digest} lies deeper than {DEEPEST} indexes")]
    TooDeep {
        /// The one that does.
        digest: Digest,
    },
}

impl Explained for CopyError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Registry(error) => error.explain(),
            Self::Missing { .. } => ErrorKind::Missing.into(),
            Self::Manifest(_) | Self::TooDeep { .. } => ErrorKind::Unreachable.into(),
            Self::Contended { .. } => ErrorKind::Refused.into(),
        }
    }
}

/// Copies the image at `at`, and gives it `tag`; returns its digest.
pub async fn copy(
    from: Place<'_>,
    at: &Reference,
    to: Target<'_>,
    tag: Option<&Tag>,
) -> Result<Digest, CopyError> {
    let raw = find(from, at).await?;
    manifest(from, to, &raw, DEEPEST).await?;
    if let Some(tag) = tag {
        to.registry.put(to.repository, &Reference::Tag(tag.clone()), &raw).await?;
    }
    Ok(raw.digest().clone())
}

async fn find(from: Place<'_>, at: &Reference) -> Result<RawManifest, CopyError> {
    let found = from.registry.get(from.repository, at).await?;
    found.ok_or_else(|| missing(from, format!("manifest {at}")))
}

fn missing(from: Place<'_>, what: String) -> CopyError {
    CopyError::Missing { repository: from.repository.clone(), what }
}

/// Copies a manifest and all it needs.
fn manifest<'a>(
    from: Place<'a>,
    to: Target<'a>,
    raw: &'a RawManifest,
    depth: usize,
) -> BoxFuture<'a, Result<(), CopyError>> {
    async move {
        let at = Reference::Digest(raw.digest().clone());
        match raw.document()? {
            Document::Index(index) => {
                let depth = depth
                    .checked_sub(1)
                    .ok_or_else(|| CopyError::TooDeep { digest: raw.digest().clone() })?;
                for child in &index.manifests {
                    let child = find(from, &Reference::Digest(child.digest.clone())).await?;
                    manifest(from, to, &child, depth).await?;
                }
                to.registry.put(to.repository, &at, raw).await?;
            }
            Document::Image(image) => {
                let parts: Vec<Blob> =
                    std::iter::once(&image.config).chain(&image.layers).map(Blob::from).collect();
                blobs(from, to, &parts, true).await?;
                let (all, once) = (|| blobs(from, to, &parts, false), &pace::UPLOADS[..1]);
                put_or_heal(to.registry, to.repository, &at, raw, once, lacks_a_blob, all).await?;
            }
        }
        Ok(())
    }
    .boxed()
}

/// Moves blobs, but those that the registry says it has if that is believed.
async fn blobs(from: Place<'_>, to: Target<'_>, parts: &[Blob], is_believed: bool) -> Result<(), CopyError> {
    let mount = (from.repository.host() == to.repository.host() && is_believed).then_some(from.repository);
    let one = async |blob: &Blob| -> Result<(), CopyError> {
        if is_believed && to.registry.has_blob(to.repository, &blob.digest).await? {
            return Ok(());
        }
        let source = Elsewhere { place: from, blob: blob.clone() };
        to.registry.push_blob(to.repository, &source, mount).await?;
        Ok(())
    };
    stream::iter(parts).map(one).buffer_unordered(pace::BLOBS).try_collect().await
}

/// Tells whether a manifest was refused because a blob is not there (distribution-spec, "Error
/// Codes").
fn lacks_a_blob(failure: &Failure) -> bool {
    let codes = ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN"];
    matches!(failure, Failure::Status { status: 400 | 404, detail }
        if codes.iter().any(|code| detail.starts_with(code)))
}

/// A blob of a registry, to be uploaded to another one.
struct Elsewhere<'a> {
    place: Place<'a>,
    blob: Blob,
}

#[async_trait]
impl BlobSource for Elsewhere<'_> {
    fn blob(&self) -> &Blob {
        &self.blob
    }

    async fn open(&self, from: u64) -> io::Result<BlobStream<'_, io::Error>> {
        let Place { registry, repository } = self.place;
        let opened = registry.open_blob(repository, &self.blob, from).await.map_err(io::Error::other)?;
        let pieces = opened.ok_or_else(|| {
            io::Error::new(io::ErrorKind::NotFound, format!("{repository} has no blob {}", self.blob.digest))
        })?;
        Ok(pieces.map_err(io::Error::other).boxed())
    }
}
