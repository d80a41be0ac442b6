//! Which manifests stand in which repository, and under which tags; `json` reads and
//! writes it as `index.json`.

mod json;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use crate::model::{Digest, MediaType, Repository, RepositoryError, Tag};

/// A repository's name inside this registry, checked by the model's grammar.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Box<str>);

impl Name {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        Repository::new("localhost", text).map(|repository| Self(repository.name().into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A manifest's type and size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The type it was pushed as.
    pub media_type: MediaType,
    /// Its size in bytes.
    pub size: u64,
}

/// What one repository holds. Every tag's digest is among the manifests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holding {
    manifests: BTreeMap<Digest, Kind>,
    tags: BTreeMap<Tag, Digest>,
    /// OCI forms of tagged Docker manifests, with their sizes.
    oci_forms: BTreeMap<Digest, (Digest, u64)>,
}

impl Holding {
    /// Returns the manifests, tagged or not.
    pub fn manifests(&self) -> &BTreeMap<Digest, Kind> {
        &self.manifests
    }

    /// Returns the tags and what they point to, in the byte order of the tags.
    pub fn tags(&self) -> &BTreeMap<Tag, Digest> {
        &self.tags
    }

    /// Adds a manifest; a tag moves to it, and what the tag left stays without it.
    pub fn add(&mut self, digest: Digest, kind: Kind, tag: Option<Tag>) {
        if let Some(tag) = tag {
            self.tags.insert(tag, digest.clone());
        }
        self.manifests.insert(digest, kind);
    }

    /// Lists the OCI form of a manifest beside it, for as long as it is tagged.
    pub fn add_oci_form(&mut self, of: Digest, form: Digest, size: u64) {
        self.oci_forms.insert(of, (form, size));
    }

    /// Removes a manifest and all its tags; tells whether it was there.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        self.tags.retain(|_, at| at != digest);
        self.oci_forms.remove(digest);
        self.manifests.remove(digest).is_some()
    }

    /// Removes a tag and leaves its manifest; tells whether it was there.
    pub fn untag(&mut self, tag: &Tag) -> bool {
        self.tags.remove(tag).is_some()
    }
}

/// All that `index.json` says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    repositories: BTreeMap<Name, Holding>,
    foreign: Vec<Value>,
}

impl Contents {
    /// Returns what a repository holds; `None` for one that holds nothing.
    pub fn holding(&self, name: &Name) -> Option<&Holding> {
        self.repositories.get(name)
    }

    /// Returns a repository for changing it, made when it is new.
    pub fn holding_mut(&mut self, name: &Name) -> &mut Holding {
        self.repositories.entry(name.clone()).or_default()
    }

    /// Returns every digest that stands in the index with its media type, other
    /// programs' too.
    pub fn roots(&self) -> Vec<(Digest, String)> {
        let ours = self.repositories.values().flat_map(|holding| {
            let manifests = holding.manifests.iter();
            let manifests = manifests.map(|(digest, kind)| (digest.clone(), kind.media_type.to_string()));
            let forms = holding.oci_forms.values();
            manifests.chain(forms.map(|(form, _)| (form.clone(), MediaType::OciManifest.to_string())))
        });
        let foreign = self.foreign.iter().filter_map(|value| {
            let digest = value.get("digest")?.as_str()?.parse().ok()?;
            let media_type = value.get("mediaType").and_then(Value::as_str).unwrap_or_default();
            Some((digest, media_type.to_owned()))
        });
        ours.chain(foreign).collect()
    }
}
