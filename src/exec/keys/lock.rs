//! Resolving everything that floats, once, before any build: pins that follow a git ref, an
//! image or an address, and outside images that a Dockerfile names by tag.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{BoxSpec, Lock, LockedPin, Mirrors, Pin, PinSource};
use crate::exec::keys::analyse::outside;
use crate::exec::keys::error::KeysError;
use crate::exec::keys::pins::read_pins;
use crate::exec::keys::tree::Tree;
use crate::model::{Digest, ErrorKind, Explained, Explanation, ImageName, Tag};
use crate::port::{Reference, RegistryError, RegistryReader, Remote, RemoteError};

/// A new lock, and how it differs from the one before.
#[derive(Debug, Clone)]
pub struct LockReport {
    /// What everything is resolved to.
    pub lock: Lock,
    /// What moved, in the order of names.
    pub moved: Vec<Moved>,
}

/// One entry that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// `pin NAME` or `image NAME`.
    pub what: String,
    /// The value before; nothing if it is new.
    pub old: Option<String>,
    /// The value now; nothing if it is no longer used.
    pub new: Option<String>,
}

/// Why something could not be resolved. Nothing was built, and no lock written.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The project cannot be read.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// A registry did not answer.
    #[error("image {image} cannot be resolved: {source}")]
    Registry { image: ImageName, source: RegistryError },
    /// A registry said that there is no such image.
    #[error("{image} does not exist: its registry knows no such tag")]
    NoImage { image: ImageName },
    /// A git remote or an address did not answer.
    #[error("pin {pin} cannot be resolved: {source}")]
    Remote { pin: String, source: RemoteError },
    /// A git remote has no such ref.
    #[error("pin {pin}: {url} has no ref {reference}")]
    NoRef { pin: String, url: String, reference: String },
}

impl Explained for LockError {
    fn explain(&self) -> Explanation<'_> {
        let nothing = "nothing was written";
        match self {
            Self::Keys(error) => Explanation { hint: None, ..error.explain() },
            Self::Registry { source, .. } => Explanation {
                kind: ErrorKind::Unreachable,
                hint: Some(nothing.to_owned()),
                ..source.explain()
            },
            Self::Remote { source, .. } => source.explain().undone(nothing),
            Self::NoImage { .. } => ErrorKind::Failed.into(),
            Self::NoRef { .. } => ErrorKind::Failed.hint(nothing),
        }
    }
}

/// Resolves what floats in a project. Entries of `tree.lock` that are still asked for stay as
/// they are, unless `renew` says that they are to be asked for again.
pub async fn resolve(
    tree: Tree<'_>,
    registry: &dyn RegistryReader,
    remote: &dyn Remote,
    renew: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<LockReport, LockError> {
    let old = tree.lock;
    let mirrored = Mirrored { registry, mirrors: &tree.project.mirrors };
    let mut lock = Lock::default();
    for pin in tree.project.pins.values() {
        let Some(asked) = pin.source.asked() else { continue };
        let value = match old.pin(pin).filter(|_| !renew(&pin.name)) {
            Some(value) => value.to_owned(),
            None => ask_pin(pin, mirrored, remote).await?,
        };
        lock.pins.insert(pin.name.clone(), LockedPin { asked, value });
    }
    // Pins may stand in image names, so images come second.
    for image in images(Tree { lock: &lock, ..tree })? {
        let name = image.to_string();
        let digest = match old.images.get(&image).filter(|_| !renew(&name)) {
            Some(digest) => digest.clone(),
            None => ask_image(&image, mirrored).await?,
        };
        lock.images.insert(image, digest);
    }
    let moved = difference(old, &lock);
    Ok(LockReport { lock, moved })
}

/// Lists the outside images of all boxes that are named without a digest.
fn images(tree: Tree<'_>) -> Result<BTreeSet<ImageName>, KeysError> {
    let used: BTreeSet<&str> = tree.project.boxes.iter().flat_map(BoxSpec::pins).collect();
    let pins = read_pins(tree, &used)?;
    let mut images = BTreeSet::new();
    let mut handed = BTreeMap::new();
    for spec in &tree.project.boxes {
        let analysed = tree.analyse(spec, &pins, |parent| handed.get(parent).cloned())?;
        handed.insert(spec.name.clone(), analysed.analysis.handed.clone());
        let named = outside(spec, &analysed.source, &analysed.analysis)?;
        images.extend(named.into_values().filter(|image| image.digest().is_none()));
    }
    Ok(images)
}

async fn ask_pin(pin: &Pin, registry: Mirrored<'_>, remote: &dyn Remote) -> Result<String, LockError> {
    let failed = |source| LockError::Remote { pin: pin.name.clone(), source };
    match &pin.source {
        PinSource::Git { url, reference } => {
            let commit = remote.commit(url, reference).await.map_err(failed)?;
            commit.ok_or_else(|| LockError::NoRef {
                pin: pin.name.clone(),
                url: url.clone(),
                reference: reference.clone(),
            })
        }
        PinSource::Image(image) => Ok(ask_image(image, registry).await?.to_string()),
        PinSource::Url(url) => Ok(remote.checksum(url).await.map_err(failed)?.to_string()),
        PinSource::Files { .. } => Ok(String::new()),
    }
}

/// Registries, as outside images are read from them.
#[derive(Clone, Copy)]
struct Mirrored<'a> {
    registry: &'a dyn RegistryReader,
    mirrors: &'a Mirrors,
}

async fn ask_image(image: &ImageName, from: Mirrored<'_>) -> Result<Digest, LockError> {
    let at = match (image.digest(), image.tag()) {
        (Some(digest), _) => Reference::Digest(digest.clone()),
        (None, Some(tag)) => Reference::Tag(tag.clone()),
        (None, None) => {
            Reference::Tag("latest".parse::<Tag>().map_err(|_| LockError::NoImage { image: image.clone() })?)
        }
    };
    let found = from.registry.head(&from.mirrors.of(image.repository()), &at).await;
    let found = found.map_err(|source| LockError::Registry { image: image.clone(), source })?;
    found.ok_or_else(|| LockError::NoImage { image: image.clone() })
}

fn difference(old: &Lock, new: &Lock) -> Vec<Moved> {
    let flat = |lock: &Lock| -> BTreeMap<String, String> {
        let pins = lock.pins.iter().map(|(name, pin)| (format!("pin {name}"), pin.value.clone()));
        let images = lock.images.iter().map(|(image, digest)| (format!("image {image}"), digest.to_string()));
        pins.chain(images).collect()
    };
    let (before, after) = (flat(old), flat(new));
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let moved = names.into_iter().map(|name| Moved {
        what: name.clone(),
        old: before.get(name).cloned(),
        new: after.get(name).cloned(),
    });
    moved.filter(|moved| moved.old != moved.new).collect()
}
