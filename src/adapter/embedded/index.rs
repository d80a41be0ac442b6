//! `index.json`: which manifests stand in which repository, and under which tags.
//!
//! One OCI image index serves all repositories. A tag is a descriptor whose
//! `org.opencontainers.image.ref.name` is `repository:tag` (the form that skopeo's
//! `oci:DIR:repository:tag` asks for); a manifest without a tag is a descriptor with our
//! own annotation. Descriptors that are neither, from another program, are kept as they
//! are. The text written depends on nothing but the contents.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::model::{Digest, MediaType, Repository, RepositoryError, Tag};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const REPOSITORY: &str = "io.boxwright.repository";

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

    /// Removes a manifest and all its tags; tells whether it was there.
    pub fn remove(&mut self, digest: &Digest) -> bool {
        self.tags.retain(|_, at| at != digest);
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
        let ours = self.repositories.values().flat_map(|holding| &holding.manifests);
        let ours = ours.map(|(digest, kind)| (digest.clone(), kind.media_type.to_string()));
        let foreign = self.foreign.iter().filter_map(|value| {
            let digest = value.get("digest")?.as_str()?.parse().ok()?;
            let media_type = value.get("mediaType").and_then(Value::as_str).unwrap_or_default();
            Some((digest, media_type.to_owned()))
        });
        ours.chain(foreign).collect()
    }

    /// Reads `index.json`.
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Read = serde_json::from_slice(bytes)?;
        let mut contents = Self::default();
        for value in document.manifests {
            match Entry::deserialize(&value).ok().and_then(|entry| entry.place().map(|place| (entry, place)))
            {
                Some((entry, (name, tag))) => {
                    let holding = contents.holding_mut(&name);
                    // As skopeo does: the first of two descriptors with one name has it.
                    let tag = tag.filter(|tag| !holding.tags.contains_key(tag));
                    let kind = Kind { media_type: entry.media_type.0, size: entry.size };
                    holding.add(entry.digest, kind, tag);
                }
                None => contents.foreign.push(value),
            }
        }
        Ok(contents)
    }

    /// Writes `index.json`: repositories, then digests, then tags, each in order.
    pub fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut manifests = Vec::new();
        for (name, holding) in &self.repositories {
            let mut tags: BTreeMap<&Digest, Vec<&Tag>> = BTreeMap::new();
            for (tag, digest) in &holding.tags {
                tags.entry(digest).or_default().push(tag);
            }
            for (digest, kind) in &holding.manifests {
                let entry = |key: &str, value: String| Entry {
                    media_type: Typed(kind.media_type),
                    digest: digest.clone(),
                    size: kind.size,
                    annotations: BTreeMap::from([(key.to_owned(), value)]),
                };
                match tags.get(digest) {
                    Some(tags) => {
                        manifests.extend(tags.iter().map(|tag| entry(REF_NAME, format!("{name}:{tag}"))));
                    }
                    None => manifests.push(entry(REPOSITORY, name.to_string())),
                }
            }
        }
        serde_json::to_vec(&Written {
            schema_version: 2,
            media_type: MediaType::OciIndex.as_str(),
            manifests: manifests
                .iter()
                .map(serde_json::to_value)
                .chain(self.foreign.iter().cloned().map(Ok))
                .collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Deserialize)]
struct Read {
    manifests: Vec<Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Value>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    media_type: Typed,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

impl Entry {
    /// Reads where the entry belongs; `None` for one that is not ours.
    fn place(&self) -> Option<(Name, Option<Tag>)> {
        if let Some(name) = self.annotations.get(REPOSITORY) {
            return Some((name.parse().ok()?, None));
        }
        let (name, tag) = self.annotations.get(REF_NAME)?.rsplit_once(':')?;
        Some((name.parse().ok()?, Some(tag.parse().ok()?)))
    }
}

/// One of the four manifest types, as text.
struct Typed(MediaType);

impl Serialize for Typed {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Typed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn kind() -> Kind {
        Kind { media_type: MediaType::OciManifest, size: 2 }
    }

    fn sample() -> Contents {
        let mut contents = Contents::default();
        let tag = |text: &str| Some(text.parse().unwrap());
        let holding = contents.holding_mut(&"a/b".parse().unwrap());
        holding.add(Digest::of(b"1"), kind(), tag("v1"));
        holding.add(Digest::of(b"1"), kind(), tag("main"));
        holding.add(Digest::of(b"2"), kind(), None);
        contents.holding_mut(&"c".parse().unwrap()).add(Digest::of(b"1"), kind(), tag("v1"));
        contents
    }

    #[test]
    fn what_is_written_is_read_back_and_written_alike() {
        let text = sample().write().unwrap();
        let read = Contents::read(&text).unwrap();
        assert_eq!(read, sample());
        assert_eq!(read.write().unwrap(), text);
        let json: Value = serde_json::from_slice(&text).unwrap();
        let names = json["manifests"].as_array().unwrap().iter();
        let names: Vec<_> = names.filter_map(|entry| entry["annotations"][REF_NAME].as_str()).collect();
        assert_eq!(names, ["a/b:main", "a/b:v1", "c:v1"]);
    }

    #[test]
    fn a_tag_that_moves_leaves_its_manifest_in_the_repository() {
        let mut contents = sample();
        let name = "c".parse().unwrap();
        contents.holding_mut(&name).add(Digest::of(b"3"), kind(), Some("v1".parse().unwrap()));
        let read = Contents::read(&contents.write().unwrap()).unwrap();
        let holding = read.holding(&name).unwrap();
        assert!(holding.manifests().contains_key(&Digest::of(b"1")));
        assert_eq!(holding.tags()[&"v1".parse().unwrap()], Digest::of(b"3"));
    }

    #[test]
    fn other_programs_descriptors_are_kept_and_are_roots() {
        let foreign = format!(
            r#"{{"manifests":[{{"mediaType":"x","digest":"{}","size":1,"annotations":{{"org.opencontainers.image.ref.name":"latest"}}}}, 7]}}"#,
            Digest::of(b"f")
        );
        let read = Contents::read(foreign.as_bytes()).unwrap();
        assert_eq!(read.roots(), [(Digest::of(b"f"), "x".to_owned())]);
        let again = Contents::read(&read.write().unwrap()).unwrap();
        assert_eq!(again, read);
        assert_eq!(again.foreign.len(), 2);
    }

    #[test]
    fn removing_a_manifest_takes_its_tags_and_no_other_repository() {
        let mut contents = sample();
        let holding = contents.holding_mut(&"a/b".parse().unwrap());
        assert!(holding.remove(&Digest::of(b"1")));
        assert!(!holding.remove(&Digest::of(b"1")));
        assert!(holding.tags().is_empty());
        assert!(contents.holding(&"c".parse().unwrap()).unwrap().manifests().contains_key(&Digest::of(b"1")));
    }
}
