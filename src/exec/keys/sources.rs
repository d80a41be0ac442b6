//! Directories that a Dockerfile names as if they were images: those of the configuration, and
//! working copies that stand in for a git pin or for such a directory.
//!
//! A directory enters the key by its content and reaches the engine as an image of its own, so
//! that `FROM`, `COPY --from` and `RUN --mount=from=` all read it, on every engine. Its
//! `.dockerignore` is obeyed; `.git` is never part of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::{BoxSpec, ContextSource};
use crate::exec::build::secrets;
use crate::exec::keys::{Analysed, Keyed, KeysError, Tree};
use crate::exec::ledger::nonce;
use crate::inputs::{Dockerignore, DockerignoreError, ImageOrigin, Selection, entries_digest};
use crate::model::{Digest, Entry, RelPath};
use crate::port::{Context, ContextError, ContextImage, Scan, Special};

/// What is left out of a directory besides what its own `.dockerignore` names.
const NEVER: &[u8] = b"\n**/.git\n";
/// Where no registry is: an image of this name is in the engine or nowhere.
const NOWHERE: &str = "boxwright.invalid/context";

/// A directory, hashed.
#[derive(Debug, Clone)]
pub(crate) struct Directory {
    pub root: PathBuf,
    pub entries: Vec<Entry>,
    pub special: Vec<Special>,
    pub digest: Digest,
}

impl Directory {
    /// The value of a pin that this working copy stands in for.
    fn pin(&self) -> String {
        let hex = self.digest.hex();
        format!("local-{}", hex.get(..40).unwrap_or(hex))
    }
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        source: ContextError,
    },
    /// Its ignore file cannot be used.
    #[error(transparent)]
    Ignore(#[from] DockerignoreError),
    /// There is nothing in it that could be copied.
    #[error("{} holds nothing that its .dockerignore leaves", path.display())]
    Empty {
        /// The directory.
        path: PathBuf,
    },
}

/// Hashes a directory, whose ignore file lies below `root`.
fn read(context: &dyn Context, root: &Path, path: &Path) -> Result<Directory, DirectoryError> {
    let failed = |source| DirectoryError::Read { path: path.to_owned(), source };
    let file = path.join(".dockerignore");
    let mut patterns =
        context.read(root, &file, crate::exec::keys::FILE_LIMIT).map_err(failed)?.unwrap_or_default();
    patterns.extend_from_slice(NEVER);
    let ignore = Dockerignore::parse(&file.display().to_string(), &patterns)?;
    let selection = Selection::whole(ignore);
    let Scan { entries, special } = context.scan(path, &selection).map_err(failed)?;
    if entries.is_empty() {
        return Err(DirectoryError::Empty { path: path.to_owned() });
    }
    let digest = entries_digest(&entries);
    Ok(Directory { root: path.to_owned(), entries, special, digest })
}

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

/// The names that a box's Dockerfile may use for something that is not in it.
pub(crate) fn context_names(tree: &Tree<'_>, spec: &BoxSpec) -> BTreeSet<String> {
    // A working copy takes the place of the stage that would fetch the pinned revision.
    let local = spec.pins().filter(|pin| tree.sources.contains_key(*pin)).map(str::to_owned);
    spec.contexts.keys().cloned().chain(local).collect()
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
pub(crate) fn marks(spec: &BoxSpec, local: &Local, done: &[Keyed]) -> BTreeSet<String> {
    let own = local.keys().filter(|name| uses(spec, name)).cloned();
    let parents = spec.parents().filter_map(|parent| done.iter().find(|done| done.wanted.name == parent));
    own.chain(parents.flat_map(|parent| parent.local.iter().cloned())).collect()
}

impl Keyed {
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

/// Joins a directory, which may be the empty path, and a path in it.
pub(crate) fn joined(root: &Path, path: &RelPath) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    match root.as_os_str().as_bytes() {
        b"" => path.as_bytes().to_vec(),
        root => [root, b"/", path.as_bytes()].concat(),
    }
}
