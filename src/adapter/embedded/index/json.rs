//! `index.json`: which manifests stand in which repository, and under which tags.
//!
//! One OCI image index serves all repositories. A tag is a descriptor whose
//! `org.opencontainers.image.ref.name` is `repository:tag` (the form that skopeo's
//! `oci:DIR:repository:tag` asks for); a manifest without a tag is a descriptor with our
//! own annotation. A tagged Docker manifest is followed by its OCI form (see `converted`).
//! Descriptors that are neither, from another program, are kept as they
//! are. The text written depends on nothing but the contents.

use std::collections::BTreeMap;

use oci_client::manifest::ImageIndexEntry;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Contents, Holding, Kind, Name};
use crate::model::{Descriptor, Digest, MediaType, Tag};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
const REPOSITORY: &str = "io.boxwright.repository";
const OCI_FORM_OF: &str = "io.boxwright.oci-form-of";

impl Contents {
    /// Reads `index.json`.
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let document: Read = serde_json::from_slice(bytes)?;
        let mut contents = Self::default();
        let mut forms = Vec::new();
        for value in document.manifests {
            let entry = Entry::deserialize(&value).ok();
            match entry.and_then(|entry| entry.place().map(|place| (entry, place))) {
                Some((entry, (name, _))) if entry.annotations.contains_key(OCI_FORM_OF) => {
                    forms.push((name, entry));
                }
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
        for (name, entry) in forms {
            let of = entry.annotations.get(OCI_FORM_OF).and_then(|text| text.parse().ok());
            if let (Some(of), Some(holding)) = (of, contents.repositories.get_mut(&name))
                && holding.manifests.contains_key(&of)
            {
                holding.add_oci_form(of, entry.digest, entry.size);
            }
        }
        Ok(contents)
    }

    /// Writes `index.json`: repositories, then digests, then tags, each in order.
    pub fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let manifests = self.repositories.iter().flat_map(|(name, holding)| holding.entries(name));
        serde_json::to_vec(&Written {
            schema_version: 2,
            media_type: MediaType::OciIndex.as_str(),
            manifests: manifests
                .map(serde_json::to_value)
                .chain(self.foreign.iter().cloned().map(Ok))
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Holding {
    /// Writes the descriptors: for each digest one without a name, or one for each tag.
    fn entries(&self, name: &Name) -> Vec<ImageIndexEntry> {
        let mut tags: BTreeMap<&Digest, Vec<&Tag>> = BTreeMap::new();
        for (tag, digest) in &self.tags {
            tags.entry(digest).or_default().push(tag);
        }
        let mut entries = Vec::new();
        for (digest, kind) in &self.manifests {
            let described = Descriptor::new(kind.media_type.as_str(), digest.clone(), kind.size);
            let entry = |key: &str, value: String| ImageIndexEntry {
                annotations: Some([(key.to_owned(), value)].into()),
                ..described.clone().into()
            };
            let Some(tags) = tags.get(digest) else {
                entries.push(entry(REPOSITORY, name.to_string()));
                continue;
            };
            for tag in tags {
                let named = entry(REF_NAME, format!("{name}:{tag}"));
                let form = self.oci_forms.get(digest).map(|(form, size)| {
                    let mut annotations = named.annotations.clone();
                    annotations.get_or_insert_default().insert(OCI_FORM_OF.to_owned(), digest.to_string());
                    let form = Descriptor::new(MediaType::OciManifest.as_str(), form.clone(), *size);
                    ImageIndexEntry { annotations, ..form.into() }
                });
                entries.push(named);
                entries.extend(form);
            }
        }
        entries
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

#[derive(Deserialize)]
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
        let first = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{{"annotations":{{"org.opencontainers.image.ref.name":"a/b:main"}},"digest":"{}","mediaType":"application/vnd.oci.image.manifest.v1+json","size":2}},"#,
            Digest::of(b"1")
        );
        assert!(text.starts_with(first.as_bytes()), "{}", String::from_utf8_lossy(&text));
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
    fn an_oci_form_follows_its_tag_and_goes_with_its_manifest() {
        let mut contents = Contents::default();
        let name: Name = "a".parse().unwrap();
        let holding = contents.holding_mut(&name);
        let docker = Kind { media_type: MediaType::DockerManifest, size: 3 };
        holding.add(Digest::of(b"d"), docker, Some("v1".parse().unwrap()));
        holding.add_oci_form(Digest::of(b"d"), Digest::of(b"o"), 4);
        let mut read = Contents::read(&contents.write().unwrap()).unwrap();
        assert_eq!(read, contents);
        assert!(!read.holding(&name).unwrap().manifests().contains_key(&Digest::of(b"o")));
        assert!(read.roots().iter().any(|(digest, _)| *digest == Digest::of(b"o")));
        read.holding_mut(&name).remove(&Digest::of(b"d"));
        assert_eq!(read.roots(), []);
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
