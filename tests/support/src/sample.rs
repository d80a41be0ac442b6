//! A small archive of two boxes, made here byte by byte, to be spoiled in many ways.

use std::collections::BTreeMap;
use std::io::Write;

use boxwright::model::{
    ArchivedBox, ContentTag, Contents, Digest, MediaType, RawManifest, TarHeader, blob_path, tar_padding,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

pub const KEYS: [&str; 2] = ["ba7816bf8f01cfea414140de5dae2223", "e3b0c44298fc1c149afbf4c8996fb924"];

/// One entry: its name and its content.
pub type Entry = (String, Vec<u8>);

/// What the archive is made of: a box `base` with one packed layer and a Docker manifest, and a
/// box `test` with an index, an attestation in it, and a plain layer besides `base`'s.
pub struct Sample {
    pub blobs: BTreeMap<Digest, Vec<u8>>,
    pub boxes: Vec<ArchivedBox>,
    pub manifests: BTreeMap<Digest, RawManifest>,
}

/// A manifest as an index lists it.
pub fn descriptor(raw: &RawManifest) -> Value {
    json!({ "mediaType": raw.media_type().as_str(), "digest": raw.digest(), "size": raw.bytes().len() })
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

impl Sample {
    pub fn of_two_boxes() -> Self {
        let mut sample = Self { blobs: BTreeMap::new(), boxes: Vec::new(), manifests: BTreeMap::new() };
        let (first, second) = (b"the unpacked first layer".to_vec(), b"the second layer".to_vec());
        let base = sample.image(MediaType::DockerManifest, KEYS[0], &[(gzip(&first), &first)]);
        sample.add("base", KEYS[0], &base);
        let test = sample.image(
            MediaType::OciManifest,
            KEYS[1],
            &[(gzip(&first), &first), (second.clone(), &second)],
        );
        let proof = sample.image(MediaType::OciManifest, KEYS[1], &[]);
        let child = |raw: &RawManifest, os: &str| {
            let mut child = descriptor(raw);
            child["platform"] = json!({ "os": os, "architecture": "amd64" });
            child
        };
        let index = sample.index(&[child(&proof, "unknown"), child(&test, "linux")]);
        sample.add("test", KEYS[1], &index);
        sample
    }

    pub fn blob(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    /// An image of layers, each as stored and unpacked.
    pub fn image(&mut self, media_type: MediaType, key: &str, layers: &[(Vec<u8>, &Vec<u8>)]) -> RawManifest {
        let is_docker = media_type == MediaType::DockerManifest;
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": { "Labels": { "io.boxwright.key": key, "io.boxwright.generation": "0" } },
            "rootfs": { "type": "layers", "diff_ids": layers.iter().map(|(_, bytes)| Digest::of(bytes)).collect::<Vec<_>>() },
        });
        let mut part = |media_type: &str, bytes: Vec<u8>| {
            let size = bytes.len();
            json!({ "mediaType": media_type, "digest": self.blob(bytes), "size": size })
        };
        let (of_config, of_layer) = match is_docker {
            true => (
                "application/vnd.docker.container.image.v1+json",
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
            ),
            false => ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar"),
        };
        let config = part(of_config, config.to_string().into());
        let layers: Vec<Value> = layers.iter().map(|(stored, _)| part(of_layer, stored.clone())).collect();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type.as_str(),
            "config": config,
            "layers": layers,
        });
        self.manifest(media_type, &manifest)
    }

    pub fn index(&mut self, children: &[Value]) -> RawManifest {
        let index =
            json!({ "schemaVersion": 2, "mediaType": MediaType::OciIndex.as_str(), "manifests": children });
        self.manifest(MediaType::OciIndex, &index)
    }

    fn manifest(&mut self, media_type: MediaType, document: &Value) -> RawManifest {
        let raw = RawManifest::new(media_type, document.to_string());
        self.blobs.insert(raw.digest().clone(), raw.bytes().to_vec());
        self.manifests.insert(raw.digest().clone(), raw.clone());
        raw
    }

    pub fn add(&mut self, name: &str, key: &str, root: &RawManifest) {
        self.boxes.push(ArchivedBox {
            name: name.to_owned(),
            repository: format!("r.example/boxes/{name}").parse().unwrap(),
            tag: ContentTag::read(&format!("k-{key}").parse().unwrap()).unwrap(),
            root: root.descriptor(),
        });
    }

    /// The entries of the archive, in the order that boxwright writes them.
    pub fn entries(&self) -> Vec<Entry> {
        let contents = Contents::new(self.boxes.clone(), &self.manifests).unwrap();
        let documents = contents.documents().map(|(name, bytes)| (name.to_owned(), bytes));
        let mut blobs = self.blobs.clone();
        blobs.extend(contents.manifests().iter().map(|(digest, raw)| (digest.clone(), raw.bytes().to_vec())));
        documents
            .into_iter()
            .chain(blobs.iter().map(|(digest, bytes)| (blob_path(digest), bytes.clone())))
            .collect()
    }
}

/// One entry as it stands in an archive.
pub fn entry(header: [u8; 512], bytes: &[u8]) -> Vec<u8> {
    [&header[..], bytes, &vec![0; tar_padding(bytes.len() as u64)]].concat()
}

/// A whole archive.
pub fn tar(entries: &[Entry]) -> Vec<u8> {
    let one = |(name, bytes): &Entry| entry(TarHeader::file(name, bytes.len() as u64).to_block(), bytes);
    let mut tar: Vec<u8> = entries.iter().flat_map(one).collect();
    tar.resize(tar.len() + 1024, 0);
    tar
}
