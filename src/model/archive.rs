//! What an archive of boxes holds: an OCI image layout (image-spec, "Image Layout") whose
//! `manifest.json` lets `docker load` read it too.
//!
//! Invariant: the same boxes give the same documents, byte for byte, so an archive whose
//! documents are others was not written by boxwright, or was changed since.

mod error;

use std::collections::{BTreeMap, BTreeSet};

use oci_client::manifest::ImageIndexEntry;
use serde::Deserialize;

use super::manifest::Descriptor;
use super::{
    ContentTag, Digest, Document, Image, ImageName, MediaType, RawManifest, Repository, oci_form, printable,
};

pub use error::ArchiveError;

/// The file that says that this is a layout.
pub const LAYOUT_FILE: &str = "oci-layout";
/// The list of boxes.
pub const INDEX_FILE: &str = "index.json";
/// The same list for `docker load`.
pub const DOCKER_FILE: &str = "manifest.json";
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const BLOBS: &str = "blobs/sha256/";
/// The annotation that names a box; what has none is for other programs.
const BOX: &str = "io.boxwright.box";
/// The annotation by which skopeo, umoci and crane find an image.
const NAME: &str = "org.opencontainers.image.ref.name";
/// The annotation that containerd and newer engines name an image by.
const REFERENCE: &str = "io.containerd.image.name";

/// One box of an archive, as its index tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedBox {
    /// The box's name.
    pub name: String,
    /// Where its image stood.
    pub repository: Repository,
    /// The content tag it stood under.
    pub tag: ContentTag,
    /// Its manifest or index.
    pub root: Descriptor,
}

impl ArchivedBox {
    /// Returns the image's name with its tag.
    pub fn reference(&self) -> String {
        format!("{}:{}", self.repository, self.tag)
    }
}

/// Everything an archive holds, content of blobs aside.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    boxes: Vec<ArchivedBox>,
    manifests: BTreeMap<Digest, RawManifest>,
    blobs: BTreeMap<Digest, u64>,
    /// The image that stands for each box where only one can: the first of an index.
    images: Vec<Image>,
    /// The configurations and layers of each box, in the order of boxes.
    of_box: Vec<BTreeSet<Digest>>,
    /// The OCI form of each box's manifest where it is a Docker one.
    oci: Vec<Option<RawManifest>>,
}

impl Contents {
    /// Follows what the boxes refer to; `manifests` holds at least all manifests of the boxes.
    pub fn new(
        mut boxes: Vec<ArchivedBox>,
        manifests: &BTreeMap<Digest, RawManifest>,
    ) -> Result<Self, ArchiveError> {
        if boxes.is_empty() {
            return Err(ArchiveError::Empty);
        }
        boxes.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(pair) = boxes.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let text = printable(&pair[0].name, 80);
            return Err(ArchiveError::Name { text, problem: "there twice" });
        }
        let mut found = Self { boxes, ..Self::default() };
        for root in found.boxes.iter().map(|one| one.root.clone()).collect::<Vec<_>>() {
            found.of_box.push(BTreeSet::new());
            let raw = found.manifest(&root, manifests)?;
            let image = match raw.document()? {
                Document::Image(image) => {
                    found.image(&image)?;
                    image
                }
                Document::Index(index) => {
                    let mut first = None;
                    for child in &index.manifests {
                        let Document::Image(image) = found.manifest(child, manifests)?.document()? else {
                            return Err(ArchiveError::Nested { digest: child.digest.clone() });
                        };
                        found.image(&image)?;
                        // Attestations stand beside images, for no platform.
                        let is_known = child.platform.as_ref().is_none_or(|fields| fields.os != "unknown");
                        if first.is_none() && is_known {
                            first = Some(image);
                        }
                    }
                    first.ok_or_else(|| ArchiveError::NoImage { digest: root.digest.clone() })?
                }
            };
            found.images.push(image);
            let oci = oci_form(&raw);
            found.manifests.extend(oci.iter().map(|raw| (raw.digest().clone(), raw.clone())));
            found.oci.push(oci);
        }
        let manifests = &found.manifests;
        for (digest, size) in &found.blobs {
            if let Some(raw) = manifests.get(digest) {
                agree(digest, *size, raw.bytes().len() as u64)?;
            }
        }
        found.blobs.retain(|digest, _| !manifests.contains_key(digest));
        Ok(found)
    }

    fn manifest(
        &mut self,
        descriptor: &Descriptor,
        manifests: &BTreeMap<Digest, RawManifest>,
    ) -> Result<RawManifest, ArchiveError> {
        let digest = &descriptor.digest;
        only_sha256(digest)?;
        let raw = manifests.get(digest).ok_or_else(|| ArchiveError::Missing { digest: digest.clone() })?;
        agree(digest, descriptor.size, raw.bytes().len() as u64)?;
        let raw = RawManifest::new(descriptor.media_type.parse::<MediaType>()?, raw.bytes().clone());
        self.manifests.insert(digest.clone(), raw.clone());
        Ok(raw)
    }

    fn image(&mut self, image: &Image) -> Result<(), ArchiveError> {
        for Descriptor { digest, size, .. } in std::iter::once(&image.config).chain(&image.layers) {
            only_sha256(digest)?;
            let known = *self.blobs.entry(digest.clone()).or_insert(*size);
            agree(digest, *size, known)?;
            self.of_box.last_mut().into_iter().for_each(|of_box| {
                of_box.insert(digest.clone());
            });
        }
        Ok(())
    }

    /// Returns the boxes, by name.
    pub fn boxes(&self) -> &[ArchivedBox] {
        &self.boxes
    }

    /// Returns all manifests and indexes.
    pub fn manifests(&self) -> &BTreeMap<Digest, RawManifest> {
        &self.manifests
    }

    /// Returns all configurations and layers with their sizes in bytes.
    pub fn blobs(&self) -> &BTreeMap<Digest, u64> {
        &self.blobs
    }

    /// Returns each box with its image: of an index, the first.
    pub fn images(&self) -> impl Iterator<Item = (&ArchivedBox, &Image)> {
        self.boxes.iter().zip(&self.images)
    }

    /// Returns the configurations and layers of one box; none of a box that is not here.
    pub fn blobs_of(&self, name: &str) -> impl Iterator<Item = &Digest> {
        let of_box = self.boxes.iter().zip(&self.of_box).find(|(one, _)| one.name == name);
        of_box.into_iter().flat_map(|(_, digests)| digests)
    }

    /// Returns the files that stand before the blobs, in their order.
    pub fn documents(&self) -> [(&'static str, Vec<u8>); 3] {
        let mut index = Vec::new();
        for (one, oci) in self.boxes.iter().zip(&self.oci) {
            let root = Descriptor { artifact_type: None, platform: None, ..one.root.clone() };
            let mut annotations =
                BTreeMap::from([(BOX.to_owned(), one.name.clone()), (REFERENCE.to_owned(), one.reference())]);
            let name = (NAME.to_owned(), one.name.clone());
            match oci {
                None => annotations.extend([name]),
                Some(raw) => {
                    let annotations = Some([name].into());
                    index.push(ImageIndexEntry { annotations, ..raw.descriptor().into() });
                }
            }
            index.push(ImageIndexEntry { annotations: Some(annotations), ..root.into() });
        }
        let docker: Vec<_> = self
            .images()
            .map(|(one, image)| {
                serde_json::json!({
                    "Config": blob_path(&image.config.digest),
                    "RepoTags": [one.reference()],
                    "Layers": image.layers.iter().map(|layer| blob_path(&layer.digest)).collect::<Vec<_>>(),
                })
            })
            .collect();
        [
            (LAYOUT_FILE, LAYOUT.into()),
            (INDEX_FILE, RawManifest::of_index(index).bytes().to_vec()),
            (DOCKER_FILE, serde_json::json!(docker).to_string().into()),
        ]
    }

    /// Checks that the files before the blobs are what these boxes make them.
    pub fn check(&self, files: &BTreeMap<&'static str, Vec<u8>>) -> Result<(), ArchiveError> {
        for (file, expect) in self.documents() {
            if files.get(file) != Some(&expect) {
                return Err(ArchiveError::Foreign { file });
            }
        }
        Ok(())
    }

    /// Returns how many bytes of content the archive has.
    pub fn size(&self) -> u64 {
        let manifests = self.manifests.values().map(|raw| raw.bytes().len() as u64);
        manifests.chain(self.blobs.values().copied()).fold(0, u64::saturating_add)
    }
}

fn agree(digest: &Digest, said: u64, other: u64) -> Result<(), ArchiveError> {
    if said == other { Ok(()) } else { Err(ArchiveError::Size { digest: digest.clone(), said, other }) }
}

fn only_sha256(digest: &Digest) -> Result<(), ArchiveError> {
    match digest.algorithm() {
        "sha256" => Ok(()),
        _ => Err(ArchiveError::Algorithm { digest: digest.clone() }),
    }
}

#[derive(Deserialize)]
struct IndexFile {
    manifests: Vec<IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// Reads which boxes an archive says it holds.
pub fn read_index(bytes: &[u8]) -> Result<Vec<ArchivedBox>, ArchiveError> {
    let syntax = |source| ArchiveError::Syntax { file: INDEX_FILE, source };
    let index: IndexFile = serde_json::from_slice(bytes).map_err(syntax)?;
    let of_boxes = index.manifests.into_iter().filter(|entry| entry.annotations.contains_key(BOX));
    of_boxes.map(archived).collect()
}

fn archived(entry: IndexEntry) -> Result<ArchivedBox, ArchiveError> {
    let text = |name: &str| entry.annotations.get(name).cloned().unwrap_or_default();
    let (name, reference) = (text(BOX), text(REFERENCE));
    let bad = |text: &str, problem| ArchiveError::Name { text: printable(text, 120), problem };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 128 || !name.chars().all(is_plain) {
        return Err(bad(&name, "no box's name"));
    }
    let image: ImageName = reference.parse().map_err(|_| bad(&reference, "no image name"))?;
    let tag = image.tag().and_then(ContentTag::read);
    let tag = tag.ok_or_else(|| bad(&reference, "not an image's content tag"))?;
    let one = ArchivedBox { name, repository: image.repository().clone(), tag, root: entry.descriptor };
    if one.reference() != reference {
        return Err(bad(&reference, "not an image's full name"));
    }
    Ok(one)
}

/// Returns where a blob lies in an archive.
pub fn blob_path(digest: &Digest) -> String {
    format!("{BLOBS}{}", digest.hex())
}

/// What may lie in an archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Member {
    /// One of the three files at the top.
    Document(&'static str),
    /// A directory above the blobs.
    Directory,
    Blob(Digest),
}

impl Member {
    /// Reads an entry's name; nothing for every other name.
    pub fn read(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        if let Some(hex) = name.strip_prefix(BLOBS).filter(|hex| !hex.is_empty()) {
            return format!("sha256:{hex}").parse().ok().map(Self::Blob);
        }
        match name {
            "blobs" | "blobs/" | "blobs/sha256" | BLOBS => Some(Self::Directory),
            _ => [LAYOUT_FILE, INDEX_FILE, DOCKER_FILE]
                .into_iter()
                .find(|file| *file == name)
                .map(Self::Document),
        }
    }
}

/// Returns what an index lists; nothing for an image.
pub fn children(raw: &RawManifest) -> Result<Vec<Descriptor>, ArchiveError> {
    match raw.document()? {
        Document::Image(_) => Ok(Vec::new()),
        Document::Index(index) => Ok(index.manifests),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use oci_client::manifest::OciDescriptor;

    use super::*;

    fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    fn written(media_type: &str, bytes: &[u8]) -> OciDescriptor {
        descriptor(media_type, bytes).into()
    }

    fn image(layers: &[&[u8]]) -> RawManifest {
        let layers: Vec<_> = layers.iter().map(|layer| written("layer", layer)).collect();
        let manifest = serde_json::json!({ "config": written("config", b"{}"), "layers": layers });
        RawManifest::new(MediaType::OciManifest, manifest.to_string())
    }

    fn one(name: &str, raw: &RawManifest) -> ArchivedBox {
        ArchivedBox {
            name: name.to_owned(),
            repository: "r.example/boxes/one".parse().unwrap(),
            tag: ContentTag::read(&format!("k-{}", "0".repeat(32)).parse().unwrap()).unwrap(),
            root: descriptor(raw.media_type().as_str(), raw.bytes()),
        }
    }

    fn known(manifests: &[&RawManifest]) -> BTreeMap<Digest, RawManifest> {
        manifests.iter().map(|raw| (raw.digest().clone(), (*raw).clone())).collect()
    }

    #[test]
    fn what_boxes_refer_to_is_listed_once() {
        let (base, test) = (image(&[b"a"]), image(&[b"a", b"bc"]));
        let boxes = vec![one("test", &test), one("base", &base)];
        let contents = Contents::new(boxes, &known(&[&base, &test])).unwrap();
        let names: Vec<_> = contents.boxes().iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["base", "test"]);
        let sizes: Vec<u64> =
            [&b"{}"[..], b"a", b"bc"].map(|blob| contents.blobs()[&Digest::of(blob)]).into();
        assert_eq!((sizes, contents.blobs().len()), (vec![2, 1, 2], 3));
        assert_eq!(contents.size(), 5 + (base.bytes().len() + test.bytes().len()) as u64);
        let files: BTreeMap<_, _> = contents.documents().into_iter().collect();
        assert_eq!(read_index(&files[INDEX_FILE]).unwrap(), contents.boxes());
        let entry = |name: &str, raw: &RawManifest| {
            let (tag, digest, size) = ("0".repeat(32), raw.digest(), raw.bytes().len());
            format!(
                r#"{{"annotations":{{"io.boxwright.box":"{name}","io.containerd.image.name":"r.example/boxes/one:k-{tag}","org.opencontainers.image.ref.name":"{name}"}},"digest":"{digest}","mediaType":"application/vnd.oci.image.manifest.v1+json","size":{size}}}"#
            )
        };
        let expect = format!(
            r#"{{"manifests":[{},{}],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}}"#,
            entry("base", &base),
            entry("test", &test)
        );
        assert_eq!(String::from_utf8_lossy(&files[INDEX_FILE]), expect);
        contents.check(&files).unwrap();
        for file in [LAYOUT_FILE, INDEX_FILE, DOCKER_FILE] {
            let mut other = files.clone();
            other.get_mut(file).unwrap().push(b' ');
            assert!(
                matches!(contents.check(&other), Err(ArchiveError::Foreign { file: named }) if named == file)
            );
        }
    }

    #[test]
    fn a_docker_manifest_is_listed_in_its_oci_form_too() {
        let part = |media_type: &str| written(media_type, b"x");
        let manifest = serde_json::json!({
            "mediaType": MediaType::DockerManifest.as_str(),
            "config": part("application/vnd.docker.container.image.v1+json"),
            "layers": [part("application/vnd.docker.image.rootfs.diff.tar.gzip")],
        });
        let docker = RawManifest::new(MediaType::DockerManifest, manifest.to_string());
        let contents = Contents::new(vec![one("a", &docker)], &known(&[&docker])).unwrap();
        assert_eq!(contents.manifests().len(), 2);
        let files: BTreeMap<_, _> = contents.documents().into_iter().collect();
        let index: serde_json::Value = serde_json::from_slice(&files[INDEX_FILE]).unwrap();
        assert_eq!(index["manifests"][0]["mediaType"], MediaType::OciManifest.as_str());
        assert_eq!(index["manifests"][0]["annotations"][NAME], "a");
        assert_eq!(index["manifests"][1]["digest"], docker.digest().as_str());
        assert_eq!(read_index(&files[INDEX_FILE]).unwrap(), contents.boxes());
    }

    fn check(boxes: Vec<ArchivedBox>, manifests: &[&RawManifest], expect: &str) {
        let error = Contents::new(boxes, &known(manifests)).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        let base = image(&[b"a"]);
        check(vec![], &[], "no box");
        check(vec![one("a", &base), one("a", &base)], &[&base], "`a` is there twice");
        check(vec![one("a", &base)], &[], "is missing");
        let mut long = one("a", &base);
        long.root.size += 1;
        check(vec![long], &[&base], "bytes, and to have");
        let text = String::from_utf8(base.bytes().to_vec()).unwrap();
        let other = RawManifest::new(MediaType::OciManifest, text.replace("\"size\":1", "\"size\":9"));
        check(vec![one("a", &base), one("b", &other)], &[&base, &other], "bytes, and to have");
        let sha512 = text.replacen(Digest::of(b"a").as_str(), &format!("sha512:{}", "a".repeat(128)), 1);
        let other = RawManifest::new(MediaType::OciManifest, sha512);
        check(vec![one("a", &other)], &[&other], "no sha256 digest");
        let index = |children: Vec<OciDescriptor>| {
            RawManifest::new(MediaType::OciIndex, serde_json::json!({ "manifests": children }).to_string())
        };
        let empty = index(vec![]);
        check(vec![one("a", &empty)], &[&empty], "holds no image");
        let nested = index(vec![written(MediaType::OciIndex.as_str(), empty.bytes())]);
        check(vec![one("a", &nested)], &[&nested, &empty], "stands in an index");
    }

    #[test]
    fn names_have_one_spelling() {
        let digest = Digest::of(b"");
        let blob = blob_path(&digest);
        assert_eq!(Member::read(blob.as_bytes()), Some(Member::Blob(digest)));
        assert_eq!(Member::read(b"index.json"), Some(Member::Document(INDEX_FILE)));
        assert_eq!(Member::read(b"blobs/sha256/"), Some(Member::Directory));
        let upper = blob.to_uppercase();
        for bad in
            ["", "/", ".", "./index.json", "/index.json", "blobs/sha256/..", "blobs/../index.json", &upper]
        {
            assert_eq!(Member::read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Member::read(b"blobs/sha256/\xff"), None);
    }
}
