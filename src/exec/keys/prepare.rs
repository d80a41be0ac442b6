//! A box before the files of its context are read: all that others can take from it is known here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::{BoxSpec, ContextSource};
use crate::exec::keys::analyse::{Analysed, outside};
use crate::exec::keys::directory::Directory;
use crate::exec::keys::error::KeysError;
use crate::exec::keys::sources::{self, Local};
use crate::exec::keys::tree::Tree;
use crate::inputs::{Analysis, DockerfileSource, Dockerignore};
use crate::model::{Digest, ImageName};

/// A box of which all is known but the files of its context.
pub(super) struct Prepared<'a> {
    pub spec: &'a BoxSpec,
    pub source: DockerfileSource,
    pub analysis: Analysis,
    pub dockerfile: PathBuf,
    pub directories: BTreeMap<String, Directory>,
    /// Outside images with their digests, by the names its Dockerfile gives them.
    pub outside: BTreeMap<String, (ImageName, Digest)>,
    pub root: PathBuf,
    pub ignore: Dockerignore,
}

impl Tree<'_> {
    pub(super) fn prepare<'a>(
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
    pub(super) fn pulled(&self, images: BTreeMap<String, (ImageName, Digest)>) -> BTreeMap<String, String> {
        let mirrors = &self.project.mirrors;
        let from =
            |(image, digest): (ImageName, Digest)| format!("{}@{digest}", mirrors.of(image.repository()));
        images.into_iter().map(|(name, image)| (name, from(image))).collect()
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
