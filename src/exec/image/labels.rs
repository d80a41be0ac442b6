//! What an image says of itself: its key, its generation, and the images it was built on.

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;

use crate::model::{
    Descriptor, Digest, Document, Generation, Image, Key, MediaType, Platform, RawManifest, Repository, chain,
};
use crate::port::{Failure, Reference, RegistryError, RegistryReader};

/// The label that holds a box's key.
pub const KEY_LABEL: &str = "io.boxwright.key";
/// The label that holds the generation of the key.
pub const GENERATION_LABEL: &str = "io.boxwright.generation";
/// The label that holds the parents' digests by their keys, as a JSON object.
pub const PARENTS_LABEL: &str = "io.boxwright.parents";
/// The largest image configuration that is read, in bytes.
pub(crate) const CONFIG_LIMIT: usize = 8 * 1024 * 1024;
/// More parents than an image can have: each would be asked for in every repository.
const MOST_PARENTS: usize = 1000;

/// What an image says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Inspected {
    /// What stands under the tag: its own manifest, or the index it is in.
    pub manifest: RawManifest,
    pub labels: Labels,
    /// The sum of its layers' sizes as stored, in bytes.
    pub size: u64,
}

/// Why an image could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// The registry did not answer: nothing is known.
    Registry(RegistryError),
    /// It answered, and what it holds is no usable image.
    Broken(String),
}

impl From<RegistryError> for Unread {
    /// What is too long to be read is no image of ours: whoever may push can push it.
    fn from(error: RegistryError) -> Self {
        match error.failure {
            Failure::TooLong { .. } => Self::Broken(error.to_string()),
            _ => Self::Registry(error),
        }
    }
}

/// Reads an image, and in an index the child for `platform`, down to its labels.
pub(crate) async fn inspect(
    registry: &dyn RegistryReader,
    repository: &Repository,
    at: &Reference,
    platform: &Platform,
) -> Result<Option<Inspected>, Unread> {
    let Some(raw) = registry.get(repository, at).await? else { return Ok(None) };
    let image = match raw.document().map_err(|error| Unread::Broken(error.to_string()))? {
        Document::Image(image) => image,
        Document::Index(index) => {
            let fits = |child: &&Descriptor| {
                child.media_type.parse::<MediaType>().is_ok()
                    && child.platform.as_ref().is_some_and(|fields| fields.is(platform))
            };
            let Some(child) = index.manifests.iter().find(fits) else {
                return Err(Unread::Broken(format!("index {} has no image for {platform}", raw.digest())));
            };
            let child = registry.get(repository, &child.digest.clone().into()).await?.ok_or_else(|| {
                Unread::Broken(format!("child {} of index {} is missing", child.digest, raw.digest()))
            })?;
            match child.document().map_err(|error| Unread::Broken(error.to_string()))? {
                Document::Image(image) => image,
                Document::Index(_) => return Err(Unread::Broken("an index stands in an index".to_owned())),
            }
        }
    };
    let labels = labels(registry, repository, &image).await?;
    let size = image.layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
    Ok(Some(Inspected { manifest: raw, labels, size }))
}

/// What an image's labels say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    pub key: Option<Key>,
    pub generation: Option<Generation>,
    /// The digests of the images it was built on, by their keys.
    pub parents: BTreeMap<Key, Digest>,
}

/// Reads what an image's labels say; nothing for what is no container image.
pub(crate) async fn labels(
    registry: &dyn RegistryReader,
    repository: &Repository,
    image: &Image,
) -> Result<Labels, Unread> {
    let is_configuration = matches!(
        image.config.media_type.as_str(),
        "application/vnd.oci.image.config.v1+json" | "application/vnd.docker.container.image.v1+json"
    );
    if image.artifact_type.is_some() || !is_configuration {
        return Ok(Labels::default());
    }
    let digest = &image.config.digest;
    let bytes = registry
        .get_blob(repository, digest, CONFIG_LIMIT)
        .await?
        .ok_or_else(|| Unread::Broken(format!("its configuration {digest} is missing")))?;
    read_labels(digest, &bytes)
}

/// Reads what the labels of an image's configuration say.
pub(crate) fn read_labels(digest: &Digest, bytes: &[u8]) -> Result<Labels, Unread> {
    let read = ImageConfiguration::from_reader(bytes).map_err(|error| {
        Unread::Broken(format!("its configuration {digest} cannot be read: {}", chain(&error)))
    })?;
    let labels = read.config().as_ref().and_then(|config| config.labels().clone()).unwrap_or_default();
    let parents = match labels.get(PARENTS_LABEL) {
        Some(text) => serde_json::from_str::<BTreeMap<Key, Digest>>(text)
            .map_err(|error| Unread::Broken(format!("its label {PARENTS_LABEL} cannot be read: {error}")))?,
        None => BTreeMap::new(),
    };
    if parents.len() > MOST_PARENTS {
        let count = parents.len();
        return Err(Unread::Broken(format!(
            "its label {PARENTS_LABEL} names {count} images, which are too many"
        )));
    }
    Ok(Labels {
        key: labels.get(KEY_LABEL).and_then(|text| text.parse().ok()),
        generation: labels.get(GENERATION_LABEL).and_then(|text| text.parse().ok()).map(Generation),
        parents,
    })
}
