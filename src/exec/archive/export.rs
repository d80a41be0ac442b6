//! Export: images that stand, streamed from the registry into one archive, and images that were
//! built for one machine alone, out of its engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt;
use oci_client::manifest::{IMAGE_CONFIG_MEDIA_TYPE, IMAGE_LAYER_MEDIA_TYPE, OciImageManifest};

use crate::exec::archive::pack::{Blobs, PackError, Sink, pack};
use crate::exec::event::{Emit, Event};
use crate::exec::image::probe::observe;
use crate::exec::keys::ResolvedBox;
use crate::exec::run::{NOWHERE, RunError, local_image, local_path};
use crate::exec::setting::{EnginePorts, RunContext};
use crate::model::{
    ArchiveError, ArchivedBox, Contents, Descriptor, Digest, ErrorKind, Explained, Explanation, RawManifest,
    Repository, children,
};
use crate::port::{Blob, BlobSource, BlobStream, RegistryError, RegistryReader, SavedImage, Whole};

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
    Image { name: String, source: ArchiveError },
    /// The images together make no archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its bytes could not be read or written.
    #[error(transparent)]
    Pack(#[from] PackError),
}

impl Explained for ExportError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Run(error) => error.explain(),
            Self::Registry(error) => error.explain(),
            Self::Pack(error) => error.explain(),
            Self::Image { .. } | Self::Archive(_) => ErrorKind::Failed.into(),
        }
    }
}

/// Writes the images of `boxes` to `sink`: those that stand, and in the place of those that do
/// not what was built for this machine alone. Returns what the archive holds.
pub async fn export(
    registry: &dyn RegistryReader,
    ports: EnginePorts<'_>,
    setting: &RunContext,
    boxes: &[&ResolvedBox],
    sink: Sink,
    emit: Emit<'_>,
) -> Result<Contents, ExportError> {
    let (mut archived, mut manifests, mut places) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for keyed in boxes {
        let name = keyed.wanted.name.clone();
        let seen = observe(registry, &setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
        let tag = keyed.wanted.tag.with_generation(seen.generation);
        let (repository, of_box) = match seen.state.digest() {
            Some(digest) => {
                let repository = keyed.wanted.repository.clone();
                let of_box = standing(registry, &repository, digest, &name).await?;
                (repository, of_box)
            }
            None => {
                let generation = seen.generation;
                let missing = RunError::of(name.clone(), seen);
                let image = local_image(ports, keyed, generation, &missing).await?;
                let saved = ports.store.save(&image.ok_or(missing)?).await.map_err(RunError::from)?;
                let raw = taken(saved, &mut places);
                let path = local_path(&ports.secrets.namespace(), &keyed.wanted);
                let repository = Repository::new(NOWHERE, &path);
                (repository.unwrap_or_else(|_| keyed.wanted.repository.clone()), vec![raw])
            }
        };
        let Some(root) = of_box.first().map(RawManifest::descriptor) else { continue };
        let one = ArchivedBox { name: name.clone(), repository: repository.clone(), tag, root };
        manifests.extend(of_box.into_iter().map(|raw| (raw.digest().clone(), raw)));
        // Where a blob lies: in the first of the places that have it.
        let bad = |source| ExportError::Image { name: name.clone(), source };
        let alone = Contents::new(vec![one.clone()], &manifests).map_err(bad)?;
        for digest in alone.blobs().keys() {
            places.entry(digest.clone()).or_insert_with(|| Origin::Registry(repository.clone()));
        }
        archived.push(one);
    }
    let contents = Contents::new(archived, &manifests)?;
    let total = contents.size();
    let told = |sent| emit(Event::Moved { what: "exporting", sent, total });
    pack(&contents, &Places { registry, places }, &sink, &told).await?;
    Ok(contents)
}

/// Reads the manifests of an image that stands, its own first.
async fn standing(
    registry: &dyn RegistryReader,
    repository: &Repository,
    digest: &Digest,
    name: &str,
) -> Result<Vec<RawManifest>, ExportError> {
    let bad = |source| ExportError::Image { name: name.to_owned(), source };
    let raw = manifest(registry, repository, digest).await?.ok_or_else(|| bad(missing(digest)))?;
    let mut of_box = vec![raw.clone()];
    for child in children(&raw).map_err(bad)? {
        let found = manifest(registry, repository, &child.digest).await?;
        of_box.push(found.ok_or_else(|| bad(missing(&child.digest)))?);
    }
    Ok(of_box)
}

/// Notes where the parts of an image are that no registry has, and writes its manifest.
fn taken(saved: SavedImage, places: &mut BTreeMap<Digest, Origin>) -> RawManifest {
    let described = |source: &Arc<dyn BlobSource>, media_type: &str| {
        let Blob { digest, size } = source.blob();
        Descriptor::new(media_type, digest.clone(), *size).into()
    };
    let config: Arc<dyn BlobSource> = Arc::new(Whole::new(saved.config));
    let document = OciImageManifest {
        config: described(&config, IMAGE_CONFIG_MEDIA_TYPE),
        layers: saved.layers.iter().map(|layer| described(layer, IMAGE_LAYER_MEDIA_TYPE)).collect(),
        ..OciImageManifest::default()
    };
    for source in std::iter::once(config).chain(saved.layers) {
        places.entry(source.blob().digest.clone()).or_insert(Origin::Engine(source));
    }
    RawManifest::of(document)
}

async fn manifest(
    registry: &dyn RegistryReader,
    repository: &Repository,
    digest: &Digest,
) -> Result<Option<RawManifest>, RegistryError> {
    registry.get(repository, &digest.clone().into()).await
}

fn missing(digest: &Digest) -> ArchiveError {
    ArchiveError::Missing { digest: digest.clone() }
}

/// Where a blob is read.
enum Origin {
    Registry(Repository),
    Engine(Arc<dyn BlobSource>),
}

struct Places<'a> {
    registry: &'a dyn RegistryReader,
    places: BTreeMap<Digest, Origin>,
}

#[async_trait]
impl Blobs for Places<'_> {
    async fn open(&self, blob: &Blob) -> Result<BlobStream<'_, PackError>, PackError> {
        let digest = blob.digest.clone();
        let missing = || PackError::Missing { digest: digest.clone() };
        match self.places.get(&digest).ok_or_else(missing)? {
            Origin::Registry(repository) => {
                let pieces = self.registry.open_blob(repository, blob, 0).await?.ok_or_else(missing)?;
                Ok(Box::pin(pieces.map_err(PackError::from)))
            }
            Origin::Engine(source) => {
                let failed = move |source| PackError::Read { digest: digest.clone(), source };
                let pieces = source.open(0).await.map_err(failed.clone())?;
                Ok(Box::pin(pieces.map_err(failed)))
            }
        }
    }
}
