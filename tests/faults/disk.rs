//! What stands in a docker-registry, read from its directory: a witness that shares no code
//! with the client under test.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use boxwright::model::Digest;
use serde_json::Value;

/// The storage of one registry process.
pub struct Disk(PathBuf);

/// The tags of each repository below one prefix, with their digests.
pub type Tags = BTreeMap<String, BTreeMap<String, Digest>>;

impl Disk {
    /// Opens the storage below the directory of a registry.
    pub fn of(directory: &Path) -> Self {
        Self(directory.join("docker/registry/v2"))
    }

    fn repositories(&self, prefix: &str) -> PathBuf {
        self.0.join("repositories").join(prefix)
    }

    /// Copies all repositories below a prefix to another one. Blobs are shared: a registry
    /// removes none of them by itself.
    pub fn copy(&self, from: &str, to: &str) {
        let from = self.repositories(from);
        if from.exists() {
            copy(&from, &self.repositories(to));
        }
    }

    /// Reads all tags below a prefix.
    ///
    /// # Errors
    /// What is wrong, if a tag leads to something that is not there or not whole.
    pub fn tags(&self, prefix: &str) -> Result<Tags, String> {
        let repositories = names(&self.repositories(prefix)).into_iter();
        repositories.map(|name| Ok((name.clone(), self.tags_of(&format!("{prefix}/{name}"))?))).collect()
    }

    fn tags_of(&self, repository: &str) -> Result<BTreeMap<String, Digest>, String> {
        let at = self.repositories(repository).join("_manifests/tags");
        let mut tags = BTreeMap::new();
        for tag in names(&at) {
            // A registry that was cut off while it made a tag leaves an empty one.
            let Ok(link) = fs::read_to_string(at.join(&tag).join("current/link")) else { continue };
            let digest: Digest = link.parse().unwrap();
            self.check(repository, &digest).map_err(|why| format!("{repository}:{tag}: {why}"))?;
            tags.insert(tag, digest);
        }
        Ok(tags)
    }

    /// Checks that a manifest stands, with everything it names.
    fn check(&self, repository: &str, digest: &Digest) -> Result<(), String> {
        let at = self.repositories(repository);
        if !at.join("_manifests/revisions/sha256").join(digest.hex()).join("link").exists() {
            return Err("dangling".to_owned());
        }
        let manifest: Value = serde_json::from_slice(&self.blob(digest)?).unwrap();
        let layers = manifest["layers"].as_array().unwrap();
        for part in layers.iter().chain([&manifest["config"]]) {
            let digest: Digest = part["digest"].as_str().unwrap().parse().unwrap();
            if !at.join("_layers/sha256").join(digest.hex()).join("link").exists() {
                return Err(format!("it lacks {digest}"));
            }
            let size = self.blob(&digest)?.len();
            if part["size"] != size {
                return Err(format!("{digest} has {size} bytes"));
            }
        }
        Ok(())
    }

    /// Moves a tag, as somebody else would just now.
    pub fn set(&self, repository: &str, tag: &str, digest: &Digest) {
        let at = self.repositories(repository).join("_manifests/tags").join(tag);
        let indexed = at.join("index/sha256").join(digest.hex());
        for directory in [at.join("current"), indexed] {
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("link"), digest.as_str()).unwrap();
        }
    }

    /// Takes a tag away.
    pub fn remove(&self, repository: &str, tag: &str) {
        fs::remove_dir_all(self.repositories(repository).join("_manifests/tags").join(tag)).unwrap();
    }

    /// Reads a blob, whose bytes have to be the ones it is named after.
    pub fn blob(&self, digest: &Digest) -> Result<Vec<u8>, String> {
        let path = self.0.join("blobs/sha256").join(&digest.hex()[..2]).join(digest.hex()).join("data");
        let bytes = fs::read(&path).map_err(|error| format!("{digest} is gone: {error}"))?;
        if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(format!("{digest} has other bytes")) }
    }
}

fn names(directory: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(directory) else { return BTreeSet::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if name == "_uploads" {
            continue;
        }
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}
