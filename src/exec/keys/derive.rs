//! From a box and the files of its context to its input manifest, its key, and its tag.

use std::collections::BTreeMap;

use crate::config::{BoxSpec, ContextSource};
use crate::exec::keys::error::KeysError;
use crate::exec::keys::keyed::ResolvedBox;
use crate::exec::keys::prepare::Prepared;
use crate::exec::keys::sources::Local;
use crate::exec::keys::tree::Tree;
use crate::exec::keys::{git, secrets, sources};
use crate::inputs::{Analysis, BuildOptions, FindingKind, InputManifest, Reads};
use crate::model::{ContentTag, Digest, Entry, Generation, ImageName, Key, Repository};
use crate::plan::Wanted;
use crate::port::Scan;

impl Tree<'_> {
    pub(super) fn key(
        &self,
        prepared: Prepared<'_>,
        scan: Scan,
        pins: &BTreeMap<String, String>,
        local: &Local,
        registry: &str,
        done: &[ResolvedBox],
    ) -> Result<ResolvedBox, KeysError> {
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
        Ok(ResolvedBox {
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
