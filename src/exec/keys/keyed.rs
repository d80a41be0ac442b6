//! A box with its key, and the build that the key stands for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::config::{BoxSpec, ContextSource};
use crate::exec::keys::directory::{Directory, joined};
use crate::exec::keys::error::KeysError;
use crate::inputs::{
    Analysis, DockerfileSource, ImageOrigin, InputManifest, Need, NeedKind, Reads, is_docker_frontend,
    rewrite,
};
use crate::model::Key;
use crate::plan::Wanted;
use crate::port::{BuildRequest, Special};

/// A box with everything its key was computed from.
#[derive(Debug, Clone)]
pub struct ResolvedBox {
    /// The box as it is declared.
    pub spec: BoxSpec,
    /// Its name, repository, tag and parents.
    pub wanted: Wanted,
    /// The keys of its parents by their names.
    pub parents: BTreeMap<String, Key>,
    /// The input manifest.
    pub manifest: InputManifest,
    pub(crate) source: DockerfileSource,
    pub(crate) analysis: Analysis,
    /// Where outside images are got, by digest, by the names the Dockerfile gives them.
    pub(crate) pulled: BTreeMap<String, String>,
    pub(crate) root: PathBuf,
    pub(crate) dockerfile: PathBuf,
    /// Directories by the names the Dockerfile gives them.
    pub(crate) directories: BTreeMap<String, Directory>,
    /// What was left out, since no context can hold it.
    pub(crate) special: Vec<Special>,
    /// The working copies it was computed from, those of its parents included.
    pub local: BTreeSet<String>,
}

impl ResolvedBox {
    /// Returns how many context entries its build reads.
    pub fn entries(&self) -> usize {
        self.manifest.entries.len()
    }

    /// Returns what its build can read from the context.
    pub fn reads(&self) -> &Reads {
        &self.analysis.reads
    }

    /// Tells whether an argument for every box is none of its own.
    pub fn is_unused(&self, arg: &str) -> bool {
        self.analysis.unused.iter().any(|unused| unused == arg)
    }

    /// Returns the arguments that its Dockerfile declares.
    pub fn declared(&self) -> impl Iterator<Item = &str> {
        self.analysis.declared.iter().map(String::as_str)
    }

    /// Returns its Dockerfile as it was named.
    pub fn dockerfile(&self) -> &str {
        self.source.name()
    }

    /// Returns its parents: the name in the Dockerfile, the box and its key.
    pub fn named_parents(&self) -> Vec<(&str, &str, &Key)> {
        let of = |name: &str| match self.spec.contexts.get(name) {
            Some(ContextSource::Box(parent)) => parent.as_str(),
            _ => "",
        };
        self.manifest.parents.iter().map(|(name, key)| (name.as_str(), of(name), key)).collect()
    }

    /// Returns what the engine must be able to do, with the places that need it.
    pub fn needs(&self) -> &[Need] {
        &self.analysis.needs
    }

    /// Returns the frontend that reads its Dockerfile, if it is not Docker's own.
    pub(crate) fn strange_frontend(&self) -> Option<&str> {
        self.needs().iter().find_map(|need| match &need.kind {
            NeedKind::Syntax(name) if !is_docker_frontend(name) => Some(name.as_str()),
            _ => None,
        })
    }

    /// Returns the paths that entered the key, relative to `top`, which they are below.
    pub fn paths_below(&self, top: &Path) -> Vec<Vec<u8>> {
        use std::os::unix::ffi::OsStrExt;
        let Ok(root) = self.root.strip_prefix(top) else { return Vec::new() };
        let dockerfile = self.dockerfile.strip_prefix(top).ok();
        let dockerfile = dockerfile.map(|path| path.as_os_str().as_bytes().to_vec());
        let entries = self.manifest.entries.iter().map(|entry| joined(root, &entry.path));
        entries.chain(dockerfile).chain(self.directory_paths(top)).collect()
    }

    /// Writes the request for a build on these images of its parents, by the parents' names.
    pub fn request(
        &self,
        parents: &BTreeMap<String, String>,
        labels: BTreeMap<String, String>,
        no_cache: bool,
    ) -> Result<BuildRequest, KeysError> {
        let owned = |(name, value): (&String, &String)| (name.clone(), value.clone());
        let contexts = self.context_images();
        let mut replacements = BTreeMap::new();
        for found in &self.analysis.images {
            let name = found.origin.name();
            let reference = match (contexts.get(name), self.spec.contexts.get(name)) {
                (Some(directory), _) => Some(directory.reference.clone()),
                (None, Some(ContextSource::Box(parent))) => parents.get(parent).cloned(),
                (None, _) => self.pulled.get(name).cloned(),
            };
            replacements.extend(reference.map(|reference| (found.origin.clone(), reference)));
        }
        let mut args: Vec<(String, String)> =
            self.analysis.arguments.iter().chain(&self.analysis.proxies).map(owned).collect();
        if let Some(frontend) = &self.analysis.frontend {
            let reference = self.pulled.get(&frontend.name);
            for (_, value) in args.iter_mut().filter(|(name, _)| name == "BUILDKIT_SYNTAX") {
                *value = reference.map_or(value.clone(), |by| value.replacen(&frontend.name, by, 1));
            }
            let origin = ImageOrigin::Outside(frontend.name.clone());
            replacements.extend(reference.map(|reference| (origin, reference.clone())));
        }
        let dockerfile = rewrite(&self.source, &self.analysis, &replacements)
            .map_err(|source| KeysError::Rewrite { name: self.spec.name.clone(), source })?;
        Ok(BuildRequest {
            dockerfile,
            root: self.root.clone(),
            entries: self.manifest.entries.clone(),
            target: self.spec.target.clone(),
            args: args.into_iter().collect(),
            namespace: String::new(),
            labels,
            platform: self.spec.platform.clone(),
            network: self.spec.network.clone(),
            extra_hosts: self.spec.extra_hosts.clone(),
            shm_size: self.spec.shm_size,
            no_cache,
            secrets: BTreeMap::new(),
            ssh: None,
            contexts: contexts.into_values().collect(),
        })
    }
}
