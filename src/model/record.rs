//! Ledger records: leases, tombstones, plans, sets, runs and stored input manifests.
//!
//! A record is one OCI manifest with the empty config and layer, its payload in one
//! annotation, so that it costs one PUT, has a digest of its own, and deleting it takes no
//! other tag along. What a sweep must know without reading the record stands in its tag.

use std::collections::BTreeSet;
use std::fmt;

use oci_client::manifest::OciImageManifest;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{
    Descriptor, Digest, Document, Generation, Key, RawManifest, RunId, Source, Tag, TagError, Timestamp,
    grammar,
};

/// The OCI empty blob (image-spec, "Guidance for an Empty Descriptor").
pub const EMPTY_BLOB: &[u8] = b"{}";

const PAYLOAD: &str = "io.boxwright.payload";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

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
        digest: Digest,
        /// The kind that was expected.
        kind: &'static str,
    },
    /// Its payload cannot be read; a newer boxwright may have written it.
    #[error("payload of {kind} record {digest} cannot be read")]
    Payload {
        digest: Digest,
        kind: &'static str,
        /// What the JSON parser said.
        source: serde_json::Error,
    },
    /// It was written for another tag: whoever put it here did not mean what it says.
    #[error("{kind} record {digest} says that it stands at {says}")]
    Elsewhere {
        digest: Digest,
        kind: &'static str,
        /// The tag that it says.
        says: String,
    },
    /// Its tag holds a hash of what it says, and that is something else.
    #[error("{kind} record {digest} is not the one that its tag was made for")]
    Altered { digest: Digest, kind: &'static str },
}

/// A payload that is kept in the ledger.
pub trait Record: Serialize + DeserializeOwned {
    /// The word in the record's artifact type and, as a rule, in its tag.
    const KIND: &'static str;

    /// Returns the place that the record says is its own.
    fn place(&self) -> RecordTag;

    /// Tells whether what it says is what its place was made for, where that holds a hash of it.
    fn is_unaltered(&self) -> bool {
        true
    }

    /// Writes the record as a manifest; the same value gives the same bytes.
    fn to_manifest(&self) -> RawManifest {
        manifest_of(Self::KIND, PAYLOAD, &serde_json::json!(self).to_string())
    }

    /// Reads the record that stands at `tag`. Whoever may push can put any record at any tag, so
    /// one that says something else of its place says nothing.
    fn read_at(tag: &Tag, raw: &RawManifest) -> Result<Self, RecordError> {
        let record = Self::from_manifest(raw)?;
        let (digest, kind) = (raw.digest().clone(), Self::KIND);
        let says = record.place().to_string();
        if says != tag.as_str() {
            return Err(RecordError::Elsewhere { digest, kind, says: super::printable(&says, 128) });
        }
        if record.is_unaltered() { Ok(record) } else { Err(RecordError::Altered { digest, kind }) }
    }

    /// Reads a record, wherever it stands.
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

/// Makes a manifest of ours that is no image: no layer of its own, and `text` in the
/// annotation `name`.
pub(super) fn manifest_of(kind: &str, name: &str, text: &str) -> RawManifest {
    RawManifest::of(OciImageManifest {
        artifact_type: Some(artifact_type(kind)),
        config: empty().into(),
        layers: vec![empty().into()],
        annotations: Some([(name.to_owned(), text.to_owned())].into()),
        ..OciImageManifest::default()
    })
}

/// Describes [`EMPTY_BLOB`].
pub(super) fn empty() -> Descriptor {
    Descriptor::new(EMPTY_TYPE, empty_digest(), EMPTY_BLOB.len() as u64)
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
    #[serde(deserialize_with = "grammar::word")]
    pub nonce: String,
    /// The keys it covers.
    pub keys: Vec<Key>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Purpose::is_building")]
    pub purpose: Purpose,
    /// Where the run stands among those that build the same keys; 0 until it has asked who else
    /// does. Leases of older programs have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u32>,
}

/// What a lease is for. It keeps its keys whatever it is for, but for a sweep's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Its run may build its keys; so may one whose purpose is not understood.
    #[default]
    Building,
    /// Its run used what stands, and builds nothing more.
    Using,
    /// A promotion is under way.
    Promoting,
    /// A sweep is about to delete what stands under its keys. It keeps nothing.
    Cleaning,
}

impl Purpose {
    const WORDS: [(Self, &str); 4] = [
        (Self::Building, "building"),
        (Self::Using, "using"),
        (Self::Promoting, "promoting"),
        (Self::Cleaning, "cleaning"),
    ];

    /// Tells whether it is that of a run that may build.
    pub fn is_building(&self) -> bool {
        *self == Self::Building
    }
}

impl Serialize for Purpose {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let word = Self::WORDS.iter().find(|(purpose, _)| purpose == self).map(|(_, word)| *word);
        serializer.serialize_str(word.unwrap_or("building"))
    }
}

impl<'de> Deserialize<'de> for Purpose {
    /// Whatever is not one of the words is a newer program's, of which the most is assumed: that
    /// it keeps, and that it builds.
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let found = Self::WORDS.iter().find(|(_, word)| value.as_str() == Some(word));
        Ok(found.map_or(Self::Building, |(purpose, _)| *purpose))
    }
}

impl Record for Lease {
    const KIND: &'static str = "lease";

    fn place(&self) -> RecordTag {
        let Self { expiry, run, nonce, .. } = self.clone();
        RecordTag::Lease { expiry, run, nonce }
    }

    fn is_unaltered(&self) -> bool {
        match (self.nonce.len() == BOUND).then(|| self.nonce.get(..RANDOM)).flatten() {
            Some(random) => self.nonce == Self::nonce(random, &self.keys, self.purpose),
            // One of a version that bound nothing, or a claim that was made by hand.
            None => self.purpose != Purpose::Cleaning,
        }
    }
}

/// The digits of a nonce that are random.
const RANDOM: usize = 8;
/// The digits of a nonce that holds a hash of the keys as well.
const BOUND: usize = RANDOM + 32;

impl Lease {
    /// Returns the lease's tag.
    pub fn tag(&self) -> Result<Tag, TagError> {
        self.place().tag()
    }

    /// Makes the nonce of a lease on `keys` from eight random digits. It stands in the tag, which
    /// nobody can change: whoever overwrites the record with one of fewer keys, or with a sweep's
    /// claim, is found out.
    pub fn nonce(random: &str, keys: &[Key], purpose: Purpose) -> String {
        let mut text = random.to_owned();
        for key in keys {
            text.push('\n');
            text.push_str(key.as_str());
        }
        if purpose == Purpose::Cleaning {
            text.push_str("\ncleaning");
        }
        let hash = Digest::of(text.as_bytes());
        format!("{random}{}", hash.hex().get(..BOUND - RANDOM).unwrap_or_default())
    }
}

/// A generation of a key that a sweep condemned or a rebuild replaced. Its tag is
/// `over.<key>.g<N>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tombstone {
    pub key: Key,
    /// The generation that is over.
    pub generation: Generation,
    /// When it was marked, by the registry's clock.
    pub marked: Timestamp,
    /// Why.
    #[serde(deserialize_with = "grammar::line")]
    pub reason: String,
    /// What stood under this key and generation when it was marked.
    pub images: Vec<TaggedDigest>,
    /// What has no tag and goes with them: children of an index, and what refers to an image.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub parts: BTreeSet<Part>,
}

/// A tag with what it points to, or pointed to when it was marked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TaggedDigest {
    /// The repository's name, without its host.
    #[serde(deserialize_with = "grammar::repository")]
    pub repository: String,
    /// The tag.
    pub tag: Tag,
    /// The digest.
    pub digest: Digest,
}

/// A manifest without a tag that goes with a condemned image.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Part {
    /// The repository's name, without its host.
    #[serde(deserialize_with = "grammar::repository")]
    pub repository: String,
    pub digest: Digest,
}

impl Record for Tombstone {
    const KIND: &'static str = "over";

    fn place(&self) -> RecordTag {
        RecordTag::Over { key: self.key.clone(), generation: self.generation }
    }
}

/// What one run used. Its tag is `run.<id>.<attempt>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunRecord {
    pub run: RunId,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// When it ended, by the registry's clock.
    pub finished: Timestamp,
    /// Where the boxes came from.
    pub source: Source,
    /// The nonces of the leases under which its jobs have ended: nobody builds under them any
    /// more.
    #[serde(default, deserialize_with = "grammar::words")]
    pub leases: BTreeSet<String>,
    /// What it used.
    pub boxes: Vec<RunBox>,
}

/// One box as a run used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunBox {
    /// The box's name.
    #[serde(deserialize_with = "grammar::word")]
    pub name: String,
    /// The repository's name, without its host.
    #[serde(deserialize_with = "grammar::repository")]
    pub repository: String,
    pub key: Key,
    /// Its digest; nothing if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// `use`, `built`, `failed` or `skipped`.
    #[serde(deserialize_with = "grammar::word")]
    pub action: String,
}

impl Record for RunRecord {
    const KIND: &'static str = "run";

    fn place(&self) -> RecordTag {
        RecordTag::Run { run: self.run.clone(), attempt: self.attempt }
    }
}

/// What a tag in the ledger says, read from the tag alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordTag {
    /// `lease.<expiry>.<run>.<nonce>`
    Lease {
        /// When the lease ends.
        expiry: Timestamp,
        /// Who took it.
        run: RunId,
        nonce: String,
    },
    /// `over.<key>.g<N>`
    Over {
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
    Run { run: RunId, attempt: u32 },
    /// `undo.<expiry>.<run>.<nonce>`: kept until then.
    Undo { expiry: Timestamp, run: RunId, nonce: String },
    /// `inputs.<key>`
    Inputs { key: Key },
}

impl RecordTag {
    /// Reads a ledger tag; `None` for a tag that is not one of ours.
    pub fn read(tag: &Tag) -> Option<Self> {
        let (kind, rest) = tag.as_str().split_once('.')?;
        let read = match kind {
            "lease" | "undo" => {
                let mut parts = rest.splitn(3, '.');
                let expiry = parts.next()?.parse().ok()?;
                let run = parts.next()?.parse().ok()?;
                let nonce = parts.next()?.to_owned();
                if kind == "lease" {
                    Self::Lease { expiry, run, nonce }
                } else {
                    Self::Undo { expiry, run, nonce }
                }
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
            Self::Undo { expiry, run, nonce } => write!(f, "undo.{expiry}.{run}.{nonce}"),
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
mod tests;
