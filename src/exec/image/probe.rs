//! What stands in the registry for a box: present, missing, broken or unknown.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt};
use oci_spec::image::ImageConfiguration;
use tokio::sync::OnceCell;

use crate::exec::keys::Keyed;
use crate::exec::ledger::Ledger;
use crate::exec::ledger::past::PastRecords;
use crate::model::{
    Descriptor, Digest, Document, Generation, Image, Key, MediaType, Platform, RawManifest, RecordTag,
    Repository, chain,
};
use crate::plan::{Recorded, Seen, State, Wanted};
use crate::port::{Failure, Reference, Registry, RegistryError};

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
/// Boxes that are asked about at once, each by two requests.
const AT_ONCE: usize = 32;

/// Observes all boxes at once. A box that is unknown says so in its state; nothing here fails.
pub async fn observe_all(
    registry: &dyn Registry,
    ledger: &Repository,
    wanted: &[(Wanted, Platform)],
) -> BTreeMap<String, Seen> {
    let markers = &OnceCell::new();
    futures_util::stream::iter(wanted)
        .map(|(want, platform)| async move {
            (want.name.clone(), observe_beside(registry, ledger, want, platform, markers).await)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await
}

/// What stands for a box, and the bytes of its manifest where it is present.
pub(crate) struct Found {
    pub seen: Seen,
    pub manifest: Option<RawManifest>,
}

/// Observes all boxes at once, in their order, with the markers of a list of the ledger that is
/// read meanwhile.
pub(crate) async fn find_all<E>(
    registry: &dyn Registry,
    boxes: &[Keyed],
    past: impl Future<Output = Result<PastRecords, E>>,
) -> Result<(PastRecords, Vec<Found>), E> {
    let find = async |keyed: &Keyed, generation| {
        find(registry, &keyed.wanted, generation, &keyed.spec.platform).await
    };
    let first = join_all(boxes.iter().map(|keyed| find(keyed, Generation(0))));
    let (past, first) = futures_util::try_join!(past, first.map(Ok))?;
    // What a marker ends does not count, whatever its tag holds.
    let found =
        boxes.iter().zip(first).map(async |(keyed, first)| match past.generation(keyed.wanted.key()) {
            Generation(0) => first,
            current => find(keyed, current).await,
        });
    let found = join_all(found).await;
    Ok((past, found))
}

/// How many markers of a key are asked for one by one before all are listed.
const LOOKS: u32 = 8;
/// How many are asked for in all.
const LOOKS_AT_MOST: u32 = 64;

/// Observes one box: the current generation of its key, and what stands under its tag.
pub async fn observe(
    registry: &dyn Registry,
    ledger: &Repository,
    want: &Wanted,
    platform: &Platform,
) -> Seen {
    observe_beside(registry, ledger, want, platform, &OnceCell::new()).await
}

/// Observes one of several boxes: of `markers`, a list of the ledger, all need one at most.
async fn observe_beside(
    registry: &dyn Registry,
    ledger: &Repository,
    want: &Wanted,
    platform: &Platform,
    markers: &OnceCell<PastRecords>,
) -> Seen {
    let list = Ledger::new(registry, ledger);
    let mut generation = Generation(0);
    for looks in 1..=LOOKS_AT_MOST {
        // Marker and tag are asked for together; the tag's answer counts only without a marker.
        let (over, found) = tokio::join!(
            is_over(registry, ledger, want.key(), generation),
            find(registry, want, generation, platform),
        );
        match over {
            // A key is rebuilt a few times; where somebody wrote more markers one list tells of all.
            Ok(true) if looks == LOOKS => match markers.get_or_try_init(|| list.markers()).await {
                Ok(past) => generation = past.generation(want.key()).max(generation.next()),
                Err(error) => {
                    let state = State::Unknown { why: error.to_string(), wants_login: false };
                    return Seen { generation, state };
                }
            },
            Ok(true) => generation = generation.next(),
            Ok(false) => return found.seen,
            Err(error) => return Seen { generation, state: unknown(&error) },
        }
    }
    let why = format!("markers of key {} are being written faster than they are read", want.key());
    Seen { generation, state: State::Unknown { why, wants_login: false } }
}

/// Returns the sizes of what stands, in bytes.
pub(crate) fn sizes(seen: &BTreeMap<String, Seen>) -> BTreeMap<String, u64> {
    seen.iter().filter_map(|(name, seen)| Some((name.clone(), seen.size()?))).collect()
}

async fn is_over(
    registry: &dyn Registry,
    ledger: &Repository,
    key: &Key,
    generation: Generation,
) -> Result<bool, RegistryError> {
    let marker = RecordTag::Over { key: key.clone(), generation };
    // `over.`, a key and a number: never longer than a tag may be.
    let Ok(tag) = marker.tag() else { return Ok(false) };
    Ok(registry.head(ledger, &tag.into()).await?.is_some())
}

/// Looks at one generation of a box, whether a marker ends it or not.
async fn find(registry: &dyn Registry, want: &Wanted, generation: Generation, platform: &Platform) -> Found {
    let at = want.tag.with_generation(generation).tag().into();
    let inspected = inspect(registry, &want.repository, &at, platform).await;
    let absent = |state| Found { seen: Seen { generation, state }, manifest: None };
    let broken = |why: &str| absent(State::Broken { why: why.to_owned() });
    match inspected {
        Ok(None) => absent(State::Missing),
        Err(Unread::Registry(error)) => absent(unknown(&error)),
        Err(Unread::Broken(why)) => absent(State::Broken { why }),
        Ok(Some(Inspected { labels, .. })) if labels.key.as_ref() != Some(want.key()) => {
            broken("its labels hold another key")
        }
        Ok(Some(Inspected { labels, .. })) if labels.generation != Some(generation) => {
            broken("its labels hold another generation")
        }
        Ok(Some(Inspected { manifest, labels, size })) => {
            let (digest, recorded) = (manifest.digest().clone(), Recorded { parents: labels.parents, size });
            let seen = Seen { generation, state: State::Present { digest, recorded } };
            Found { seen, manifest: Some(manifest) }
        }
    }
}

fn unknown(error: &RegistryError) -> State {
    State::Unknown { why: error.to_string(), wants_login: error.failure.wants_login() }
}

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
    registry: &dyn Registry,
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
    registry: &dyn Registry,
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
