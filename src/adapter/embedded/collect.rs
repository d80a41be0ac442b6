//! Garbage collection of blobs.
//!
//! Marks from every descriptor of `index.json` (manifests, their children, configs, layers
//! and subjects) and removes blobs that were not reached, unless they are young: an upload
//! stands without a manifest for a while, and asking for a blob makes it young again. It
//! fails closed: a manifest that cannot be followed stops it before anything is removed.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::layout::Layout;
use super::{EmbeddedError, Store};
use crate::model::{Descriptor, Digest, MANIFEST_LIMIT, MediaType};

/// What a collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// How many blobs and abandoned uploads.
    pub files: usize,
    /// How many bytes they had.
    pub bytes: u64,
}

impl Store {
    /// Removes blobs that no manifest needs and that are at least `age` old at `now`, and
    /// uploads that were abandoned for as long.
    ///
    /// An hour is a good `age`: it must exceed the time between a blob and its manifest in
    /// the longest push. All other writers wait meanwhile.
    ///
    /// # Errors
    /// A manifest that is missing or unreadable; nothing was removed then.
    pub fn collect(&self, age: Duration, now: SystemTime) -> Result<Collected, EmbeddedError> {
        let _lock = self.layout.exclusive()?;
        let marked = mark(&self.layout)?;
        let is_old = |modified: SystemTime| now.duration_since(modified).is_ok_and(|past| past >= age);
        let mut collected = Collected::default();
        sweep(&self.layout.blobs(), &mut collected, |name, modified| {
            let digest = format!("sha256:{name}").parse::<Digest>();
            // A file that is no blob's is not ours to remove.
            digest.is_ok_and(|digest| !marked.contains(&digest)) && is_old(modified)
        })?;
        sweep(&self.layout.unfinished(), &mut collected, |name, modified| {
            name.starts_with("upload-") && is_old(modified)
        })?;
        Ok(collected)
    }
}

fn sweep(
    dir: &Path,
    collected: &mut Collected,
    is_garbage: impl Fn(&str, SystemTime) -> bool,
) -> Result<(), EmbeddedError> {
    for entry in fs::read_dir(dir).map_err(EmbeddedError::io("list", dir))? {
        let entry = entry.map_err(EmbeddedError::io("list", dir))?;
        let path = entry.path();
        let metadata = entry.metadata().map_err(EmbeddedError::io("read", &path))?;
        let modified = metadata.modified().map_err(EmbeddedError::io("read", &path))?;
        let name = entry.file_name();
        if metadata.is_file() && name.to_str().is_some_and(|name| is_garbage(name, modified)) {
            fs::remove_file(&path).map_err(EmbeddedError::io("remove", &path))?;
            collected.files += 1;
            collected.bytes += metadata.len();
        }
    }
    Ok(())
}

/// Walks from the roots; returns all that is reached.
fn mark(layout: &Layout) -> Result<BTreeSet<Digest>, EmbeddedError> {
    let mut marked = BTreeSet::new();
    // Apart from `marked`: bytes may be one manifest's layer and elsewhere a manifest.
    let mut followed = BTreeSet::new();
    let mut next: Vec<Link> = layout.contents()?.roots().into_iter().map(Link::needed).collect();
    while let Some(link) = next.pop() {
        if link.media_type.parse::<MediaType>().is_ok() && !followed.contains(&link.digest) {
            match layout.blob(&link.digest)? {
                Some((file, size)) => {
                    next.extend(links(&link.digest, file, size)?);
                    followed.insert(link.digest.clone());
                }
                None if link.is_subject => {}
                None => {
                    let detail = "it is missing".to_owned();
                    return Err(EmbeddedError::Unfollowable { digest: link.digest, detail });
                }
            }
        }
        marked.insert(link.digest);
    }
    Ok(marked)
}

struct Link {
    digest: Digest,
    media_type: String,
    /// A subject may be missing (distribution-spec, "Pushing Manifests with Subject").
    is_subject: bool,
}

impl Link {
    fn needed((digest, media_type): (Digest, String)) -> Self {
        Self { digest, media_type, is_subject: false }
    }
}

/// Reads what a manifest points to.
fn links(digest: &Digest, file: File, size: u64) -> Result<Vec<Link>, EmbeddedError> {
    let unfollowable = |detail| EmbeddedError::Unfollowable { digest: digest.clone(), detail };
    if size > MANIFEST_LIMIT as u64 {
        return Err(unfollowable(format!("it has {size} bytes")));
    }
    let read = serde_json::from_reader::<_, Links>(std::io::BufReader::new(file));
    let links = read.map_err(|error| unfollowable(error.to_string()))?;
    let needed = links.config.into_iter().chain(links.layers).chain(links.manifests).chain(links.blobs);
    let needed = needed.map(|to| Link::needed((to.digest, to.media_type)));
    let subject =
        links.subject.map(|to| Link { digest: to.digest, media_type: to.media_type, is_subject: true });
    Ok(needed.chain(subject).collect())
}

/// Everything that a manifest of any kind points to.
#[derive(Deserialize)]
struct Links {
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
    #[serde(default)]
    blobs: Vec<Descriptor>,
    subject: Option<Descriptor>,
}
