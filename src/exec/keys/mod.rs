//! From a project on disk to the keys of its boxes. Works offline.

mod error;
pub(super) mod findings;
pub(super) mod git;
mod keyed;
pub(super) mod lock;
pub(super) mod pins;
mod scan;
pub(super) mod sources;

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::{BoxSpec, ContextSource, Lock, Project};
use crate::exec::build::secrets;
use crate::exec::keys::pins::read_pins;
use crate::exec::keys::sources::{Directory, DirectoryError, Local, joined};
use crate::inputs::{
    Analysis, BoxInputs, BuildOptions, DockerfileSource, Dockerignore, FindingKind, Handed, ImageOrigin,
    InputManifest, Reads, analyse, is_secret,
};
use crate::model::{ContentTag, Digest, Entry, Generation, ImageName, Key, RelPath, Repository};
use crate::plan::Wanted;
use crate::port::{Context, ContextError, Scan};

pub use error::KeysError;
pub use keyed::Keyed;

/// The largest Dockerfile, `.dockerignore` or pinned document that is read, in bytes.
pub(crate) const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// A project on disk, and what its keys are computed with.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    /// Reads the files.
    pub context: &'a dyn Context,
    /// The directory that paths are relative to.
    pub root: &'a Path,
    /// The configuration.
    pub project: &'a Project,
    /// What floating inputs were resolved to.
    pub lock: &'a Lock,
    /// Arguments for every box whose Dockerfile declares them.
    pub args: &'a BTreeMap<String, String>,
    /// Working copies, by the name of the git pin or directory context they stand in for.
    pub sources: &'a BTreeMap<String, PathBuf>,
}

/// A Dockerfile as one box uses it.
pub(crate) struct Analysed {
    pub source: DockerfileSource,
    pub analysis: Analysis,
    dockerfile: PathBuf,
}

/// Computes the keys of `specs`, which are parents first and complete. `registry` names
/// repositories and enters no key.
pub fn keys(tree: Tree<'_>, specs: &[BoxSpec], registry: &str) -> Result<Vec<Keyed>, KeysError> {
    let local = sources::local(tree, specs)?;
    let mut pins = sources::pins(tree, &local);
    let used = specs.iter().flat_map(BoxSpec::pins).filter(|pin| !pins.contains_key(*pin));
    let read = read_pins(tree, &used.collect())?;
    pins.extend(read);
    // What a box hands on to others does not depend on its files, so these are read last, those
    // of all boxes at once.
    let mut boxes = Vec::new();
    for spec in specs {
        let one = tree.prepare(spec, &pins, &local, &boxes)?;
        boxes.push(one);
    }
    let entries = tree.scan_all(&mut boxes);
    let mut done: Vec<Keyed> = Vec::new();
    for (one, entries) in boxes.into_iter().zip(entries) {
        let keyed = tree.key(one, entries?, &pins, &local, registry, &done)?;
        done.push(keyed);
    }
    Ok(done)
}

/// A box of which all is known but the files of its context.
struct Prepared<'a> {
    spec: &'a BoxSpec,
    source: DockerfileSource,
    analysis: Analysis,
    dockerfile: PathBuf,
    directories: BTreeMap<String, Directory>,
    /// Outside images with their digests, by the names its Dockerfile gives them.
    outside: BTreeMap<String, (ImageName, Digest)>,
    root: PathBuf,
    ignore: Dockerignore,
}

impl Tree<'_> {
    /// Reads and analyses the Dockerfile of a box; `handed` tells what the boxes hand on that
    /// it stands on.
    pub(crate) fn analyse(
        &self,
        spec: &BoxSpec,
        pins: &BTreeMap<String, String>,
        handed: impl Fn(&str) -> Option<Handed>,
    ) -> Result<Analysed, KeysError> {
        let name = || spec.name.clone();
        let dockerfile = self.inside(spec, &spec.dockerfile)?;
        let bytes = self
            .read(spec, &dockerfile)?
            .ok_or_else(|| KeysError::NoDockerfile { name: name(), path: spec.dockerfile.clone() })?;
        let file = spec.dockerfile.display().to_string();
        let bad = |source| KeysError::Dockerfile { name: name(), source };
        let source = DockerfileSource::new(&file, &bytes).map_err(bad)?;
        let mut args: BTreeMap<String, String> =
            spec.args.iter().map(|(name, value)| (name.clone(), value.fill(pins))).collect();
        args.extend(self.args.iter().map(|(name, value)| (name.clone(), value.clone())));
        let parent = |(name, source): (&String, &ContextSource)| match source {
            ContextSource::Box(parent) => Some((name.clone(), handed(parent)?)),
            ContextSource::Image(_) | ContextSource::Directory(_) => None,
        };
        let inputs = BoxInputs {
            target: spec.target.clone(),
            platform: spec.platform.clone(),
            args,
            contexts: sources::context_names(self, spec),
            parents: spec.contexts.iter().filter_map(parent).collect(),
        };
        let analysis = analyse(&source, &inputs).map_err(bad)?;
        // Arguments for every box need not fit each one; those of the box itself must.
        let unused: Vec<String> =
            analysis.unused.iter().filter(|unused| spec.args.contains_key(*unused)).cloned().collect();
        if !unused.is_empty() {
            return Err(KeysError::Unused { name: name(), file, args: unused });
        }
        secrets::declared(spec, &analysis)?;
        if !spec.allow.contains(&FindingKind::SecretArgument) {
            let args: Vec<String> =
                analysis.arguments.keys().filter(|name| is_secret(name)).cloned().collect();
            if !args.is_empty() {
                return Err(KeysError::SecretArgument { name: name(), args });
            }
        }
        Ok(Analysed { source, analysis, dockerfile })
    }

    fn prepare<'a>(
        &self,
        spec: &'a BoxSpec,
        pins: &BTreeMap<String, String>,
        local: &Local,
        before: &[Prepared<'_>],
    ) -> Result<Prepared<'a>, KeysError> {
        let parent = |name: &str| before.iter().find(|before| before.spec.name == name);
        let handed = |name: &str| parent(name).map(|parent| parent.analysis.handed.clone());
        let analysed = self.analyse(spec, pins, handed)?;
        let directories = sources::directories(self, spec, &analysed, local)?;
        let Analysed { source, analysis, dockerfile } = analysed;
        triggered(spec, &analysis, before)?;
        let outside = self.images(spec, &source, &analysis)?;
        let root = self.inside(spec, &spec.context)?;
        let ignore = self.ignore(spec, &root, &dockerfile)?;
        Ok(Prepared { spec, source, analysis, dockerfile, directories, outside, root, ignore })
    }

    fn key(
        &self,
        prepared: Prepared<'_>,
        scan: Scan,
        pins: &BTreeMap<String, String>,
        local: &Local,
        registry: &str,
        done: &[Keyed],
    ) -> Result<Keyed, KeysError> {
        let Prepared { spec, source, analysis, dockerfile, directories, outside, root, .. } = prepared;
        let Scan { entries, mut special } = scan;
        special.extend(directories.values().flat_map(|directory| directory.special.iter().cloned()));
        let name = || spec.name.clone();
        let named =
            |(name, (image, digest)): (&String, &(ImageName, Digest))| (name.clone(), image.at(digest));
        let images: BTreeMap<String, String> = outside.iter().map(named).collect();
        secrets::outside_context(self.context, spec, self.root, &root, &entries)?;
        let is_meant = spec.allow.contains(&FindingKind::GitDirectory);
        let is_named = !matches!(analysis.reads, Reads::Whole { named: false, .. });
        let paths = git::repositories(&entries);
        if !is_meant && is_named && !paths.is_empty() {
            return Err(KeysError::Git { name: name(), paths });
        }
        let parents: BTreeMap<String, Key> = spec
            .parents()
            .filter_map(|parent| done.iter().find(|done| done.wanted.name == parent))
            .map(|parent| (parent.wanted.name.clone(), parent.wanted.key().clone()))
            .collect();
        let mut manifest = self.manifest(spec, &analysis, &images, entries, &parents, pins);
        manifest.contexts = directories.iter().map(|(name, at)| (name.clone(), at.digest.clone())).collect();
        let key = manifest.key();
        let prefix = spec.prefix.as_ref().map(|prefix| prefix.fill(pins));
        let tag = ContentTag::new(prefix.as_deref(), key, Generation(0))
            .map_err(|source| KeysError::Tag { name: name(), source })?;
        let repository = Repository::new(registry, &spec.repository)
            .map_err(|source| KeysError::Repository { name: name(), source })?;
        let wanted = Wanted { name: name(), repository, tag, parents: parents.keys().cloned().collect() };
        let (spec, local) = (spec.clone(), sources::marks(spec, local, done));
        Ok(Keyed {
            spec,
            wanted,
            parents,
            manifest,
            source,
            analysis,
            pulled: self.pulled(outside),
            root,
            dockerfile,
            directories,
            special,
            local,
        })
    }

    /// Returns the outside images of a box with their digests, by the names its Dockerfile gives them.
    fn images(
        &self,
        spec: &BoxSpec,
        source: &DockerfileSource,
        analysis: &Analysis,
    ) -> Result<BTreeMap<String, (ImageName, Digest)>, KeysError> {
        let mut images = BTreeMap::new();
        for (name, image) in outside(spec, source, analysis)? {
            let digest = image.digest().or_else(|| self.lock.images.get(&image)).cloned();
            let digest = digest.ok_or_else(|| KeysError::NotLocked { what: format!("image {image}") })?;
            images.insert(name, (image, digest));
        }
        Ok(images)
    }

    /// Returns where the engine gets outside images. A mirror is no input: the digest is.
    fn pulled(&self, images: BTreeMap<String, (ImageName, Digest)>) -> BTreeMap<String, String> {
        let mirrors = &self.project.mirrors;
        let from =
            |(image, digest): (ImageName, Digest)| format!("{}@{digest}", mirrors.of(image.repository()));
        images.into_iter().map(|(name, image)| (name, from(image))).collect()
    }

    /// Resolves a path of the configuration and makes sure that no link leads it outside.
    pub(crate) fn inside(&self, spec: &BoxSpec, path: &Path) -> Result<PathBuf, KeysError> {
        let joined = self.root.join(path);
        // What is not there is reported by whoever reads it.
        let Some(real) = self.context.resolve(&joined) else { return Ok(joined) };
        let Ok(below) = real.strip_prefix(self.root) else {
            let (path, root) = (path.to_owned(), self.root.to_owned());
            return Err(KeysError::Outside { name: spec.name.clone(), path, root });
        };
        if RelPath::new(below.as_os_str().as_bytes()).is_ok_and(|below| below.is_in_git()) {
            let source = ContextError::InGit { path: path.to_owned() };
            return Err(KeysError::Context { name: spec.name.clone(), source });
        }
        Ok(real)
    }

    fn read(&self, spec: &BoxSpec, path: &Path) -> Result<Option<Vec<u8>>, KeysError> {
        self.context
            .read(self.root, path, FILE_LIMIT)
            .map_err(|source| KeysError::Context { name: spec.name.clone(), source })
    }

    /// `<Dockerfile>.dockerignore` goes before the context's own (docker build, "Filename
    /// and location").
    fn ignore(&self, spec: &BoxSpec, root: &Path, dockerfile: &Path) -> Result<Dockerignore, KeysError> {
        let mut beside = dockerfile.as_os_str().to_owned();
        beside.push(".dockerignore");
        for path in [PathBuf::from(beside), root.join(".dockerignore")] {
            let shown = path.strip_prefix(self.root).unwrap_or(&path);
            if let Some(bytes) = self.read(spec, &self.inside(spec, shown)?)? {
                return Dockerignore::parse(&shown.display().to_string(), &bytes)
                    .map_err(|source| KeysError::Dockerignore { name: spec.name.clone(), source });
            }
        }
        Ok(Dockerignore::default())
    }
}

impl Tree<'_> {
    fn manifest(
        &self,
        spec: &BoxSpec,
        analysis: &Analysis,
        images: &BTreeMap<String, String>,
        entries: Vec<Entry>,
        parents: &BTreeMap<String, Key>,
        pins: &BTreeMap<String, String>,
    ) -> InputManifest {
        let mut manifest = InputManifest::from_analysis(analysis, spec.platform.clone());
        manifest.epoch = self.project.epoch.clone();
        for found in &analysis.images {
            let name = found.origin.name();
            if let Some(ContextSource::Box(parent)) = spec.contexts.get(name) {
                let key = parents.get(parent).cloned();
                manifest.parents.extend(key.map(|key| (name.to_owned(), key)));
            }
        }
        manifest.images = images.clone();
        let values = spec.pins().filter_map(|pin| Some((pin.to_owned(), pins.get(pin)?.clone())));
        manifest.pins = values.collect();
        manifest.options = BuildOptions {
            network: spec.network.clone(),
            extra_hosts: spec.extra_hosts.iter().cloned().collect(),
            shm_size: spec.shm_size,
        };
        manifest.entries = entries;
        manifest
    }
}

/// Refuses triggers of the boxes it stands on that copy from an image or a stage: neither an
/// image's digest nor a stage's instructions can be held by a key that knows nothing of them.
fn triggered(spec: &BoxSpec, analysis: &Analysis, before: &[Prepared<'_>]) -> Result<(), KeysError> {
    for found in analysis.images.iter().filter(|found| found.keyword == "FROM") {
        let Some(ContextSource::Box(parent)) = spec.contexts.get(found.origin.name()) else { continue };
        let Some(prepared) = before.iter().find(|before| before.spec.name == *parent) else { continue };
        let (name, parent) = (spec.name.clone(), parent.clone());
        let copies = prepared.analysis.handed.copies();
        let copies = copies.map_err(|source| KeysError::Dockerfile { name: parent.clone(), source })?;
        if let Some((at, from)) = copies.into_iter().next() {
            return Err(KeysError::Trigger { name, parent, at, from });
        }
    }
    Ok(())
}

/// Returns the outside images that a box names, by the names its Dockerfile gives them.
pub(crate) fn outside(
    spec: &BoxSpec,
    source: &DockerfileSource,
    analysis: &Analysis,
) -> Result<BTreeMap<String, ImageName>, KeysError> {
    let mut images = BTreeMap::new();
    for found in &analysis.images {
        let name = found.origin.name();
        let image = match (&found.origin, spec.contexts.get(name)) {
            (_, Some(ContextSource::Box(_) | ContextSource::Directory(_))) => continue,
            (_, Some(ContextSource::Image(image))) => image.clone(),
            // A working copy.
            (ImageOrigin::Context(_), None) => continue,
            (ImageOrigin::Outside(_), None) => name.parse().map_err(|why| KeysError::Image {
                name: spec.name.clone(),
                at: source.at(found.span.start),
                why,
            })?,
        };
        images.insert(name.to_owned(), image);
    }
    if let Some(frontend) = &analysis.frontend {
        let at = || source.at(frontend.span.as_ref().map_or(0, |span| span.start));
        let bad = |why| KeysError::Image { name: spec.name.clone(), at: at(), why };
        images.insert(frontend.name.clone(), frontend.name.parse().map_err(bad)?);
    }
    Ok(images)
}
