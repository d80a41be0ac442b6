//! Export: images that stand, streamed from the registry into one archive.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::TryStreamExt;

use super::event::{Emit, Event};
use super::keys::Keyed;
use super::pack::{Blobs, PackError, Sink, pack};
use super::probe::observe;
use super::run::RunError;
use super::{Ports, Setting};
use crate::model::{ArchiveError, ArchivedBox, Contents, Digest, RawManifest, Repository, children};
use crate::plan::State;
use crate::port::{Blob, BlobStream, Registry, RegistryError};

/// Why boxes were not exported; what was written by then is no archive.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A box is not there, or the registry did not say.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A manifest could not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// An image that an archive does not hold.
    #[error("box {name} cannot be exported: {source}")]
    Image {
        /// The box.
        name: String,
        /// What is wrong with it.
        source: ArchiveError,
    },
    /// The images together make no archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its bytes could not be read or written.
    #[error(transparent)]
    Pack(#[from] PackError),
}

/// Writes the images of `boxes` to `sink`; returns what the archive holds.
pub async fn export(
    ports: Ports<'_>,
    setting: &Setting,
    boxes: &[&Keyed],
    sink: Sink,
    emit: Emit<'_>,
) -> Result<Contents, ExportError> {
    let registry = ports.registry;
    let (mut archived, mut manifests, mut places) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for keyed in boxes {
        let (name, repository) = (keyed.wanted.name.clone(), keyed.wanted.repository.clone());
        let seen = observe(registry, &setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
        let State::Present { digest, .. } = &seen.state else {
            return Err(RunError::from_state(name, seen.state).into());
        };
        let bad = |source| ExportError::Image { name: name.clone(), source };
        let raw = manifest(registry, &repository, digest).await?.ok_or_else(|| bad(missing(digest)))?;
        let mut of_box = vec![raw.clone()];
        for child in children(&raw).map_err(bad)? {
            let found = manifest(registry, &repository, &child.digest).await?;
            of_box.push(found.ok_or_else(|| bad(missing(&child.digest)))?);
        }
        let tag = keyed.wanted.tag.with_generation(seen.generation);
        let one =
            ArchivedBox { name: name.clone(), repository: repository.clone(), tag, root: raw.descriptor() };
        manifests.extend(of_box.into_iter().map(|raw| (raw.digest().clone(), raw)));
        // Where a blob lies: in the first of the repositories that refer to it.
        let alone = Contents::new(vec![one.clone()], &manifests).map_err(bad)?;
        for digest in alone.blobs().keys() {
            places.entry(digest.clone()).or_insert_with(|| repository.clone());
        }
        archived.push(one);
    }
    let contents = Contents::new(archived, &manifests)?;
    let total = contents.size();
    let told = |sent| emit(Event::Moved { what: "exporting", sent, total });
    pack(&contents, &FromRegistry { registry, places }, &sink, &told).await?;
    Ok(contents)
}

async fn manifest(
    registry: &dyn Registry,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<RawManifest>, RegistryError> {
    registry.get(repository, &digest.clone().into()).await
}

fn missing(digest: &Digest) -> ArchiveError {
    ArchiveError::Missing { digest: digest.clone() }
}

struct FromRegistry<'a> {
    registry: &'a dyn Registry,
    places: BTreeMap<Digest, Repository>,
}

#[async_trait]
impl Blobs for FromRegistry<'_> {
    async fn open(&self, blob: &Blob) -> Result<BlobStream<'_, PackError>, PackError> {
        let missing = || PackError::Missing { digest: blob.digest.clone() };
        let repository = self.places.get(&blob.digest).ok_or_else(missing)?;
        let pieces = self.registry.open_blob(repository, blob, 0).await?.ok_or_else(missing)?;
        Ok(Box::pin(pieces.map_err(PackError::from)))
    }
}
