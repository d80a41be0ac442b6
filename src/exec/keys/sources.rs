//! Directories that a Dockerfile names as if they were images: those of the configuration, and
//! working copies that stand in for a git pin or for such a directory.
//!
//! A directory enters the key by its content and reaches the engine as an image of its own, so
//! that `FROM`, `COPY --from` and `RUN --mount=from=` all read it, on every engine. Its
//! `.dockerignore` is obeyed; `.git` is never part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::config::{BoxSpec, ContextSource};
use crate::exec::keys::analyse::Analysed;
use crate::exec::keys::directory::{Directory, joined, read};
use crate::exec::keys::error::KeysError;
use crate::exec::keys::keyed::ResolvedBox;
use crate::exec::keys::secrets;
use crate::exec::keys::tree::Tree;
use crate::exec::setting::nonce;
use crate::inputs::ImageOrigin;
use crate::port::ContextImage;

/// Where no registry is: an image of this name is in the engine or nowhere.
const NOWHERE: &str = "boxwright.invalid/context";

/// The working copies that some boxes use, by the name of what each stands in for.
pub(crate) type Local = BTreeMap<String, Directory>;

/// Hashes the working copies that these boxes use.
pub(crate) fn local(tree: Tree<'_>, specs: &[BoxSpec]) -> Result<Local, KeysError> {
    let used = |name: &&String| specs.iter().any(|spec| uses(spec, name));
    tree.sources
        .iter()
        .filter(|(name, _)| used(name))
        .map(|(name, path)| {
            let bad = |source| KeysError::Directory { what: format!("--source {name}"), source };
            Ok((name.clone(), read(tree.context, path, path).map_err(bad)?))
        })
        .collect()
}

fn uses(spec: &BoxSpec, name: &str) -> bool {
    spec.pins().any(|pin| pin == name) || matches!(spec.contexts.get(name), Some(ContextSource::Directory(_)))
}

/// The values of pins that working copies stand in for.
pub(crate) fn pins(tree: Tree<'_>, local: &Local) -> BTreeMap<String, String> {
    let is_pin = |name: &&String| tree.project.pins.contains_key(*name);
    local.iter().filter(|(name, _)| is_pin(name)).map(|(name, at)| (name.clone(), at.pin())).collect()
}

/// Hashes the directories that a box's Dockerfile uses, by the names it gives them.
pub(crate) fn directories(
    tree: &Tree<'_>,
    spec: &BoxSpec,
    analysed: &Analysed,
    local: &Local,
) -> Result<BTreeMap<String, Directory>, KeysError> {
    let mut found = BTreeMap::new();
    for image in &analysed.analysis.images {
        let ImageOrigin::Context(name) = &image.origin else { continue };
        let directory = match (local.get(name), spec.contexts.get(name)) {
            (_, Some(ContextSource::Box(_) | ContextSource::Image(_))) | (None, None) => continue,
            (Some(directory), _) => directory.clone(),
            (None, Some(ContextSource::Directory(path))) => {
                let what = format!("box {}: context {name}", spec.name);
                let root = tree.inside(spec, path)?;
                read(tree.context, tree.root, &root)
                    .map_err(|source| KeysError::Directory { what, source })?
            }
        };
        secrets::outside_context(tree.context, spec, tree.root, &directory.root, &directory.entries)?;
        found.insert(name.clone(), directory);
    }
    Ok(found)
}

/// The working copies that a box's key was computed from, those of its parents included.
pub(crate) fn marks(spec: &BoxSpec, local: &Local, done: &[ResolvedBox]) -> BTreeSet<String> {
    let own = local.keys().filter(|name| uses(spec, name)).cloned();
    let parents = spec.parents().filter_map(|parent| done.iter().find(|done| done.wanted.name == parent));
    own.chain(parents.flat_map(|parent| parent.local.iter().cloned())).collect()
}

impl ResolvedBox {
    /// Names an image for each directory; no other build uses these names.
    pub(crate) fn context_images(&self) -> BTreeMap<String, ContextImage> {
        let unique = nonce();
        let numbered = (0..).zip(&self.directories);
        numbered
            .map(|(number, (name, directory))| {
                let reference = format!("{NOWHERE}:{unique}-{number}");
                let (root, entries) = (directory.root.clone(), directory.entries.clone());
                (name.clone(), ContextImage { reference, root, entries })
            })
            .collect()
    }

    /// Returns remarks about working copies.
    pub(crate) fn local_notes(&self) -> Vec<String> {
        let own = self.spec.pins().filter(|pin| self.local.contains(*pin));
        let own: BTreeSet<&str> = own.collect();
        let blind = own.into_iter().filter(|pin| !self.directories.contains_key(*pin));
        let note = |pin: &str| {
            format!(
                "pin {pin} is a working copy, but no stage is called `{pin}`: \
                 the build sees its value alone, not its files"
            )
        };
        blind.map(note).collect()
    }

    /// Returns the paths of its directories, relative to `top`, which they are below.
    pub(crate) fn directory_paths(&self, top: &Path) -> Vec<Vec<u8>> {
        let below = |directory: &Directory| -> Vec<Vec<u8>> {
            let Ok(root) = directory.root.strip_prefix(top) else { return Vec::new() };
            directory.entries.iter().map(|entry| joined(root, &entry.path)).collect()
        };
        self.directories.values().flat_map(below).collect()
    }
}
