//! A Dockerfile as one box uses it: read, analysed, and held against what the box declares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::config::{BoxSpec, ContextSource};
use crate::exec::keys::error::KeysError;
use crate::exec::keys::secrets;
use crate::exec::keys::tree::Tree;
use crate::inputs::{
    Analysis, BoxInputs, DockerfileSource, FindingKind, ImageOrigin, Inherited, analyse, is_secret,
};
use crate::model::ImageName;

/// A Dockerfile as one box uses it.
pub(crate) struct Analysed {
    pub source: DockerfileSource,
    pub analysis: Analysis,
    pub dockerfile: PathBuf,
}

impl Tree<'_> {
    /// Reads and analyses the Dockerfile of a box; `handed` tells what the boxes hand on that
    /// it stands on.
    pub(crate) fn analyse(
        &self,
        spec: &BoxSpec,
        pins: &BTreeMap<String, String>,
        handed: impl Fn(&str) -> Option<Inherited>,
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
            contexts: context_names(self, spec),
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

/// The names that a box's Dockerfile may use for something that is not in it.
pub(crate) fn context_names(tree: &Tree<'_>, spec: &BoxSpec) -> BTreeSet<String> {
    // A working copy takes the place of the stage that would fetch the pinned revision.
    let local = spec.pins().filter(|pin| tree.sources.contains_key(*pin)).map(str::to_owned);
    spec.contexts.keys().cloned().chain(local).collect()
}
