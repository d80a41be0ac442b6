//! Manifests and indexes, kept as the very bytes the registry holds.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use oci_client::manifest::{ImageIndexEntry, OciDescriptor, OciImageIndex, OciManifest};
use serde::{Deserialize, Serialize};

use super::{Digest, Platform};

/// The largest manifest that is read, in bytes: twice what the distribution-spec asks
/// registries to take ("Pushing Manifests").
pub const MANIFEST_LIMIT: usize = 8 * 1024 * 1024;

/// The four kinds of manifest a registry may hold for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MediaType {
    /// `application/vnd.oci.image.manifest.v1+json`
    OciManifest,
    /// `application/vnd.oci.image.index.v1+json`
    OciIndex,
    /// `application/vnd.docker.distribution.manifest.v2+json`
    DockerManifest,
    /// `application/vnd.docker.distribution.manifest.list.v2+json`
    DockerList,
}

impl MediaType {
    /// All of them, in the order they are asked for.
    pub const ALL: [Self; 4] = [Self::OciManifest, Self::OciIndex, Self::DockerManifest, Self::DockerList];

    /// Returns the registered name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OciManifest => "application/vnd.oci.image.manifest.v1+json",
            Self::OciIndex => "application/vnd.oci.image.index.v1+json",
            Self::DockerManifest => "application/vnd.docker.distribution.manifest.v2+json",
            Self::DockerList => "application/vnd.docker.distribution.manifest.list.v2+json",
        }
    }

    fn is_index(self) -> bool {
        matches!(self, Self::OciIndex | Self::DockerList)
    }
}

impl FromStr for MediaType {
    type Err = ManifestError;

    /// Reads a media type, parameters such as `; charset=utf-8` aside.
    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let name = text.split(';').next().unwrap_or_default().trim();
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| ManifestError::MediaType { text: super::printable(text, 120) })
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why bytes are not a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A type that is neither OCI nor Docker schema 2; schema 1 among them.
    #[error("media type `{text}` is not an OCI or Docker schema 2 manifest")]
    MediaType {
        /// The type as given, made printable.
        text: String,
    },
    /// More bytes than are read.
    #[error("manifest has {size} bytes; at most {MANIFEST_LIMIT} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// No JSON, or a field that is missing or of another type.
    #[error("manifest {digest} cannot be read")]
    Syntax {
        /// The digest of the bytes.
        digest: Digest,
        /// What the JSON parser said.
        source: serde_json::Error,
    },
    /// `mediaType` inside differs from the type it was sent as, or an index holds layers
    /// (CVE-2021-41190).
    #[error("manifest {digest} was sent as {sent} but {found}")]
    Ambiguous {
        /// The digest of the bytes.
        digest: Digest,
        /// The type it was sent as.
        sent: MediaType,
        /// What speaks against it.
        found: String,
    },
}

/// A manifest as raw bytes, with the type it is sent as; its digest is computed from the
/// bytes and from nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct RawManifest {
    media_type: MediaType,
    digest: Digest,
    bytes: Bytes,
}

impl RawManifest {
    /// Wraps bytes and hashes them.
    pub fn new(media_type: MediaType, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { media_type, digest: Digest::of(&bytes), bytes }
    }

    /// Writes a manifest or an index, its type in it. Fields stand in the order of their names, so
    /// the same value gives the same bytes.
    pub fn of(document: impl Into<OciManifest>) -> Self {
        let mut document = document.into();
        let (media_type, said) = match &mut document {
            OciManifest::Image(image) => (MediaType::OciManifest, &mut image.media_type),
            OciManifest::ImageIndex(index) => (MediaType::OciIndex, &mut index.media_type),
        };
        *said = Some(media_type.to_string());
        Self::new(media_type, serde_json::json!(document).to_string())
    }

    /// Writes an index.
    pub fn of_index(manifests: Vec<ImageIndexEntry>) -> Self {
        Self::of(OciImageIndex {
            schema_version: 2,
            media_type: None,
            manifests,
            artifact_type: None,
            annotations: None,
        })
    }

    /// Returns the type it is sent as.
    pub fn media_type(&self) -> MediaType {
        self.media_type
    }

    /// Returns the SHA-256 digest of the bytes.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Returns the bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Returns the pointer to it.
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.as_str(), self.digest.clone(), self.bytes.len() as u64)
    }

    /// Reads the document, refusing one that could be read in two ways.
    pub fn document(&self) -> Result<Document, ManifestError> {
        if self.bytes.len() > MANIFEST_LIMIT {
            return Err(ManifestError::TooLarge { size: self.bytes.len() });
        }
        let syntax = |source| ManifestError::Syntax { digest: self.digest.clone(), source };
        let probe: Probe = serde_json::from_slice(&self.bytes).map_err(syntax)?;
        let ambiguous = |found: String| ManifestError::Ambiguous {
            digest: self.digest.clone(),
            sent: self.media_type,
            found,
        };
        if let Some(inner) = &probe.media_type
            && inner != self.media_type.as_str()
        {
            return Err(ambiguous(format!("says of itself `{}`", super::printable(inner, 120))));
        }
        if self.media_type.is_index() {
            if probe.layers.is_some() || probe.config.is_some() {
                return Err(ambiguous("holds layers or a config".to_owned()));
            }
            Ok(Document::Index(serde_json::from_slice(&self.bytes).map_err(syntax)?))
        } else {
            if probe.manifests.is_some() {
                return Err(ambiguous("holds manifests".to_owned()));
            }
            Ok(Document::Image(serde_json::from_slice(&self.bytes).map_err(syntax)?))
        }
    }
}

impl fmt::Debug for RawManifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({} bytes)", self.media_type, self.digest, self.bytes.len())
    }
}

#[derive(Deserialize)]
struct Probe {
    #[serde(rename = "mediaType")]
    media_type: Option<String>,
    layers: Option<serde::de::IgnoredAny>,
    config: Option<serde::de::IgnoredAny>,
    manifests: Option<serde::de::IgnoredAny>,
}

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// One image, or one artefact.
    Image(Image),
    /// A list of images, usually one a platform.
    Index(Index),
}

/// An image manifest (OCI image-spec, "Image Manifest").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Set for artefacts that are no container images.
    pub artifact_type: Option<String>,
    /// The image configuration.
    pub config: Descriptor,
    /// The layers, base first.
    pub layers: Vec<Descriptor>,
    /// What this manifest is attached to.
    pub subject: Option<Descriptor>,
    /// Free annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// An image index (OCI image-spec, "Image Index").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// The children.
    pub manifests: Vec<Descriptor>,
    /// What this index is attached to.
    pub subject: Option<Descriptor>,
    /// Free annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

/// A pointer to content (OCI image-spec, "Content Descriptors").
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the content is.
    pub media_type: String,
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Set for artefacts.
    pub artifact_type: Option<String>,
    /// The platform of an index's child.
    pub platform: Option<PlatformFields>,
}

impl Descriptor {
    /// Describes content of which no more is to be said.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, artifact_type: None, platform: None }
    }

    fn signed_size(&self) -> i64 {
        i64::try_from(self.size).unwrap_or(i64::MAX)
    }
}

impl From<Descriptor> for OciDescriptor {
    fn from(described: Descriptor) -> Self {
        Self {
            size: described.signed_size(),
            media_type: described.media_type,
            digest: described.digest.to_string(),
            artifact_type: described.artifact_type,
            ..Self::default()
        }
    }
}

impl From<Descriptor> for ImageIndexEntry {
    fn from(described: Descriptor) -> Self {
        Self {
            size: described.signed_size(),
            media_type: described.media_type,
            digest: described.digest.to_string(),
            platform: described.platform.map(Into::into),
            annotations: None,
            artifact_type: described.artifact_type,
        }
    }
}

/// A platform as an index spells it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct PlatformFields {
    /// The operating system.
    pub os: String,
    pub architecture: String,
    /// The variant, such as `v8`.
    pub variant: Option<String>,
}

impl PlatformFields {
    /// Tells whether these fields name `platform`; a variant counts only if it is asked for.
    pub fn is(&self, platform: &Platform) -> bool {
        self.os == platform.os()
            && self.architecture == platform.architecture()
            && (platform.variant().is_none() || self.variant.as_deref() == platform.variant())
    }
}

impl From<PlatformFields> for oci_client::manifest::Platform {
    fn from(fields: PlatformFields) -> Self {
        Self {
            architecture: fields.architecture.as_str().into(),
            os: fields.os.as_str().into(),
            os_version: None,
            os_features: None,
            variant: fields.variant,
            features: None,
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(extra: &str) -> RawManifest {
        let config = format!(r#"{{"mediaType":"c","size":2,"digest":"{}"}}"#, Digest::of(b"{}"));
        let text = format!(r#"{{"schemaVersion":2,"config":{config},"layers":[]{extra}}}"#);
        RawManifest::new(MediaType::OciManifest, text)
    }

    #[test]
    fn reads_an_image_and_keeps_its_bytes() {
        let raw = image(r#","annotations":{"a":"b"},"unknown":1"#);
        let Document::Image(read) = raw.document().unwrap() else { panic!("not an image") };
        assert_eq!(read.config.digest, Digest::of(b"{}"));
        assert_eq!(read.annotations["a"], "b");
        assert_eq!(raw.digest(), &Digest::of(raw.bytes()));
    }

    #[test]
    fn refuses_what_is_too_large_or_too_deep() {
        let large = RawManifest::new(MediaType::OciIndex, vec![b' '; MANIFEST_LIMIT + 1]);
        assert!(
            matches!(large.document(), Err(ManifestError::TooLarge { size }) if size == MANIFEST_LIMIT + 1)
        );
        for depth in [200, 1_000_000] {
            let deep = format!(r#"{{"schemaVersion":2,"annotations":{}1"#, r#"{"a":"#.repeat(depth));
            let deep = RawManifest::new(MediaType::OciIndex, deep);
            assert!(matches!(deep.document(), Err(ManifestError::Syntax { .. })));
        }
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        let sneaky = image(r#","manifests":[]"#);
        assert!(matches!(sneaky.document(), Err(ManifestError::Ambiguous { .. })));
        let other = image(r#","mediaType":"application/vnd.oci.image.index.v1+json""#);
        assert!(matches!(other.document(), Err(ManifestError::Ambiguous { .. })));
        let index = RawManifest::new(MediaType::OciIndex, image("").bytes().clone());
        assert!(matches!(index.document(), Err(ManifestError::Ambiguous { .. })));
        let junk = RawManifest::new(MediaType::OciIndex, "<html>");
        assert!(matches!(junk.document(), Err(ManifestError::Syntax { .. })));
        assert!("application/vnd.docker.distribution.manifest.v1+prettyjws".parse::<MediaType>().is_err());
    }
}
