//! Ledger records: leases, markers, plans, sets, runs and stored input manifests.
//!
//! A record is one OCI manifest with the empty config and layer, its payload in one
//! annotation, so that it costs one PUT, has a digest of its own, and deleting it takes no
//! other tag along. What a sweep must know without reading the record stands in its tag.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Digest, Document, Generation, Key, MediaType, RawManifest, Source, Tag, TagError, Timestamp};

/// The OCI empty blob (image-spec, "Guidance for an Empty Descriptor").
pub const EMPTY_BLOB: &[u8] = b"{}";

const PAYLOAD: &str = "io.boxwright.payload";
pub(super) const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// Returns the digest of [`EMPTY_BLOB`].
pub fn empty_digest() -> Digest {
    Digest::of(EMPTY_BLOB)
}

/// Why a record could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The parts do not make a tag.
    #[error("record has no valid tag")]
    Tag(#[from] TagError),
    /// The manifest is no manifest.
    #[error("record is not a manifest")]
    Manifest(#[from] super::ManifestError),
    /// It is a manifest, but not of this kind.
    #[error("record {digest} is not a {kind} record")]
    Kind {
        /// Its digest.
        digest: Digest,
        /// The kind that was expected.
        kind: &'static str,
    },
    /// Its payload cannot be read; a newer boxwright may have written it.
    #[error("payload of {kind} record {digest} cannot be read")]
    Payload {
        /// Its digest.
        digest: Digest,
        /// Its kind.
        kind: &'static str,
        /// What the JSON parser said.
        source: serde_json::Error,
    },
}

/// A payload that is kept in the ledger.
pub trait Record: Serialize + DeserializeOwned {
    /// The word in the record's artifact type and, as a rule, in its tag.
    const KIND: &'static str;

    /// Writes the record as a manifest; the same value gives the same bytes.
    fn to_manifest(&self) -> RawManifest {
        let empty = serde_json::json!({
            "mediaType": EMPTY_TYPE,
            "digest": empty_digest(),
            "size": EMPTY_BLOB.len(),
        });
        // A serde_json map is ordered by name, so the bytes depend on the value alone.
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OciManifest.as_str(),
            "artifactType": artifact_type(Self::KIND),
            "config": empty,
            "layers": [empty],
            "annotations": { PAYLOAD: serde_json::json!(self).to_string() },
        });
        RawManifest::new(MediaType::OciManifest, manifest.to_string())
    }

    /// Reads a record back.
    fn from_manifest(raw: &RawManifest) -> Result<Self, RecordError> {
        let wrong = || RecordError::Kind { digest: raw.digest().clone(), kind: Self::KIND };
        let Document::Image(image) = raw.document()? else { return Err(wrong()) };
        if image.artifact_type.as_deref() != Some(&artifact_type(Self::KIND)) {
            return Err(wrong());
        }
        let payload = image.annotations.get(PAYLOAD).ok_or_else(wrong)?;
        serde_json::from_str(payload).map_err(|source| RecordError::Payload {
            digest: raw.digest().clone(),
            kind: Self::KIND,
            source,
        })
    }
}

pub(super) fn artifact_type(kind: &str) -> String {
    format!("application/vnd.boxwright.{kind}.v1+json")
}

/// A dated claim by one run on a list of keys. Its tag is `lease.<expiry>.<run>.<nonce>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// When it was taken, by the registry's clock.
    pub taken: Timestamp,
    /// When it ends, by the registry's clock.
    pub expiry: Timestamp,
    /// Who took it.
    pub run: RunId,
    /// The run's attempt, from 1.
    pub attempt: u32,
    /// Tells leases of one run and second apart.
    pub nonce: String,
    /// The keys it covers.
    pub keys: Vec<Key>,
}

impl Record for Lease {
    const KIND: &'static str = "lease";
}

impl Lease {
    /// Returns the lease's tag.
    pub fn tag(&self) -> Result<Tag, TagError> {
        format!("lease.{}.{}.{}", self.expiry, self.run, self.nonce).parse()
    }
}

/// A generation of a key that a sweep condemned or a rebuild replaced. Its tag is
/// `over.<key>.g<N>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Marker {
    /// The key.
    pub key: Key,
    /// The generation that is over.
    pub generation: Generation,
    /// When it was marked, by the registry's clock.
    pub marked: Timestamp,
    /// Why.
    pub reason: String,
    /// What stood under this key and generation when it was marked.
    pub images: Vec<Marked>,
    /// What has no tag and goes with them: children of an index, and what refers to an image.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub parts: BTreeSet<Part>,
}

/// One condemned image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Marked {
    /// The repository's name, without its host.
    pub repository: String,
    /// The content tag.
    pub tag: Tag,
    /// The digest that stood there.
    pub digest: Digest,
}

/// A manifest without a tag that goes with a condemned image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// The repository's name, without its host.
    pub repository: String,
    /// Its digest.
    pub digest: Digest,
}

impl Record for Marker {
    const KIND: &'static str = "over";
}

/// What one run used. Its tag is `run.<id>.<attempt>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The run.
    pub run: RunId,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// When it ended, by the registry's clock.
    pub finished: Timestamp,
    /// Where the boxes came from.
    pub source: Source,
    /// The nonces of the leases under which its jobs have ended: nobody builds under them any
    /// more.
    #[serde(default)]
    pub leases: BTreeSet<String>,
    /// What it used.
    pub boxes: Vec<RunBox>,
}

/// One box as a run used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBox {
    /// The box's name.
    pub name: String,
    /// The repository's name, without its host.
    pub repository: String,
    /// Its key.
    pub key: Key,
    /// Its digest; nothing if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// `use`, `built`, `failed` or `skipped`.
    pub action: String,
}

impl Record for RunRecord {
    const KIND: &'static str = "run";
}

/// The name of a CI run or of one person's call: 1 to 64 of `[A-Za-z0-9_-]`, so that it
/// can stand between the dots of a tag.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Box<str>);

/// Why a text is not a run's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a run id; expected 1 to 64 letters, digits, `_` or `-`")]
pub struct RunIdError {
    text: String,
}

impl FromStr for RunId {
    type Err = RunIdError;

    fn from_str(text: &str) -> Result<Self, RunIdError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(word) {
            Ok(Self(text.into()))
        } else {
            Err(RunIdError { text: super::printable(text, 80) })
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a tag in the ledger says, read from the tag alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordTag {
    /// `lease.<expiry>.<run>.<nonce>`
    Lease {
        /// When the lease ends.
        expiry: Timestamp,
        /// Who took it.
        run: RunId,
        /// Its nonce.
        nonce: String,
    },
    /// `over.<key>.g<N>`
    Over {
        /// The key.
        key: Key,
        /// The generation that is over.
        generation: Generation,
    },
    /// `plan.<tag>.<seq>`
    Plan {
        /// The tag to be promoted to.
        tag: Tag,
        /// Its count.
        seq: u32,
    },
    /// `set.<tag>.<seq>`
    Set {
        /// The tag that was promoted to.
        tag: Tag,
        /// Its count.
        seq: u32,
    },
    /// `ends.<tag>.<seq>`
    Ends {
        /// The tag that is to go.
        tag: Tag,
        /// The count of the promotion that stands there.
        seq: u32,
    },
    /// `run.<id>.<attempt>`
    Run {
        /// The run.
        run: RunId,
        /// Its attempt.
        attempt: u32,
    },
    /// `inputs.<key>`
    Inputs {
        /// The key.
        key: Key,
    },
}

impl RecordTag {
    /// Reads a ledger tag; `None` for a tag that is not one of ours.
    pub fn read(tag: &Tag) -> Option<Self> {
        let (kind, rest) = tag.as_str().split_once('.')?;
        let read = match kind {
            "lease" => {
                let mut parts = rest.splitn(3, '.');
                let expiry = parts.next()?.parse().ok()?;
                let run = parts.next()?.parse().ok()?;
                Self::Lease { expiry, run, nonce: parts.next()?.to_owned() }
            }
            "over" => {
                let (key, number) = rest.split_once(".g")?;
                Self::Over { key: key.parse().ok()?, generation: Generation(number.parse().ok()?) }
            }
            "plan" | "set" | "ends" => {
                let (name, seq) = rest.rsplit_once('.')?;
                let (tag, seq) = (name.parse().ok()?, seq.parse().ok()?);
                match kind {
                    "plan" => Self::Plan { tag, seq },
                    "set" => Self::Set { tag, seq },
                    _ => Self::Ends { tag, seq },
                }
            }
            "run" => {
                let (run, attempt) = rest.rsplit_once('.')?;
                Self::Run { run: run.parse().ok()?, attempt: attempt.parse().ok()? }
            }
            "inputs" => Self::Inputs { key: rest.parse().ok()? },
            _ => return None,
        };
        // Only the one spelling that we write is ours.
        (read.to_string() == tag.as_str()).then_some(read)
    }

    /// Returns the tag itself; a promoted tag of over 100 characters leaves no room.
    pub fn tag(&self) -> Result<Tag, TagError> {
        self.to_string().parse()
    }
}

impl fmt::Display for RecordTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lease { expiry, run, nonce } => write!(f, "lease.{expiry}.{run}.{nonce}"),
            Self::Over { key, generation } => write!(f, "over.{key}.g{}", generation.0),
            Self::Plan { tag, seq } => write!(f, "plan.{tag}.{seq}"),
            Self::Set { tag, seq } => write!(f, "set.{tag}.{seq}"),
            Self::Ends { tag, seq } => write!(f, "ends.{tag}.{seq}"),
            Self::Run { run, attempt } => write!(f, "run.{run}.{attempt}"),
            Self::Inputs { key } => write!(f, "inputs.{key}"),
        }
    }
}

/// Implements serde for a value through its text form and its one parser.
macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(|_| serde::de::Error::custom(format!(
                    "`{}` is not a {}", super::printable(&text, 80), stringify!($type))))
            }
        }
    )*};
}

serde_as_text!(Key, Tag, RunId, Timestamp);

impl Serialize for Generation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.0)
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(u32::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease {
            taken: Timestamp::from_unix(1_000_000),
            expiry: Timestamp::from_unix(1_172_800),
            run: "gh-17".parse().unwrap(),
            attempt: 1,
            nonce: "4f".to_owned(),
            keys: vec![Key::of(b"a"), Key::of(b"b")],
        }
    }

    #[test]
    fn a_record_reads_back_and_its_bytes_are_stable() {
        let raw = lease().to_manifest();
        assert_eq!(Lease::from_manifest(&raw).unwrap(), lease());
        assert_eq!(raw, lease().to_manifest());
        assert!(matches!(Marker::from_manifest(&raw), Err(RecordError::Kind { .. })));
    }

    #[test]
    fn a_foreign_manifest_is_no_record() {
        let text = String::from_utf8(lease().to_manifest().bytes().to_vec()).unwrap();
        let other = RawManifest::new(MediaType::OciManifest, text.replace("lease.v1", "lease.v2"));
        assert!(matches!(Lease::from_manifest(&other), Err(RecordError::Kind { .. })));
        let newer = RawManifest::new(MediaType::OciManifest, text.replace("taken", "token"));
        assert!(matches!(Lease::from_manifest(&newer), Err(RecordError::Payload { .. })));
    }

    #[test]
    fn tags_read_back_and_foreign_ones_are_left_alone() {
        let key = Key::of(b"a");
        let tags = [
            lease().tag().unwrap().to_string(),
            format!("over.{key}.g0"),
            "plan.r2026.07.1".to_owned(),
            "set.main.12".to_owned(),
            "ends.pr-7.3".to_owned(),
            "run.gh-17.2".to_owned(),
            format!("inputs.{key}"),
        ];
        for text in &tags {
            let read = RecordTag::read(&text.parse().unwrap()).unwrap();
            assert_eq!(&read.to_string(), text);
        }
        for foreign in ["latest", "lease.tomorrow.x.y", "over.abc.g0", "set.main", "set.main.01", "run.a.b"] {
            assert_eq!(RecordTag::read(&foreign.parse().unwrap()), None, "{foreign}");
        }
    }

    #[test]
    fn run_ids_fit_between_the_dots_of_a_tag() {
        for bad in ["", "a.b", "a/b", "a b", &"x".repeat(65)] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
    }
}
