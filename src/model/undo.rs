//! What a sweep deletes, kept for a while so that it can be put back.
//!
//! A record holds several manifests, as the bytes that they had. Whoever may push can write one:
//! [`KeptManifest::manifest`] returns what has the digest that the record names, or nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Digest, Key, MediaType, RawManifest, Record, RecordTag, RunId, Tag, Timestamp, grammar};

/// The most that the manifests of one record may have together, in bytes. With the third that
/// base64 adds it stays below the 4 MiB that registries take of a manifest.
pub const UNDO_LIMIT: usize = 2 * 1024 * 1024;

/// Manifests that a sweep was about to delete. Its tag is `undo.<expiry>.<run>.<nonce>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoRecord {
    /// When they were kept, by the registry's clock.
    pub kept: Timestamp,
    /// Until when they are.
    pub expiry: Timestamp,
    /// The sweep.
    pub run: RunId,
    /// Tells the records of one sweep apart.
    #[serde(deserialize_with = "grammar::word")]
    pub nonce: String,
    /// The manifests, in the order of their deletion.
    pub manifests: Vec<KeptManifest>,
}

/// One manifest that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptManifest {
    /// The repository's name, without its host.
    #[serde(deserialize_with = "grammar::repository")]
    pub repository: String,
    /// The tag that stood on it; nothing for a part of what stood under a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Tag>,
    /// The key whose image it was, or was a part of.
    pub key: Key,
    /// Its digest.
    pub digest: Digest,
    media_type: String,
    bytes: String,
}

impl KeptManifest {
    /// Keeps a manifest.
    pub fn new(repository: String, tag: Option<Tag>, key: Key, manifest: &RawManifest) -> Self {
        Self {
            repository,
            tag,
            key,
            digest: manifest.digest().clone(),
            media_type: manifest.media_type().as_str().to_owned(),
            bytes: STANDARD.encode(manifest.bytes()),
        }
    }

    /// Returns the manifest, if its bytes are those of its digest.
    pub fn manifest(&self) -> Option<RawManifest> {
        let media_type: MediaType = self.media_type.parse().ok()?;
        let manifest = RawManifest::new(media_type, STANDARD.decode(&self.bytes).ok()?);
        (*manifest.digest() == self.digest).then_some(manifest)
    }
}

impl Record for UndoRecord {
    const KIND: &'static str = "undo";

    fn place(&self) -> RecordTag {
        let Self { expiry, run, nonce, .. } = self.clone();
        RecordTag::Undo { expiry, run, nonce }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(manifest: &RawManifest) -> UndoRecord {
        let kept = Timestamp::from_unix(1_000_000_000);
        let tag = Some("k-1".parse().unwrap());
        UndoRecord {
            kept,
            expiry: kept.after("7d".parse().unwrap()),
            run: "cron-1".parse().unwrap(),
            nonce: "0a1b2c3d".to_owned(),
            manifests: vec![KeptManifest::new("base".to_owned(), tag, Key::of(b"k"), manifest)],
        }
    }

    #[test]
    fn what_is_kept_comes_back_byte_for_byte() {
        let manifest = RawManifest::new(MediaType::OciIndex, "{\"manifests\": [ ]}\n \u{e4}");
        let record = record(&manifest);
        let tag = record.place().tag().unwrap();
        assert_eq!(tag.as_str(), "undo.20010916T014640Z.cron-1.0a1b2c3d");
        assert_eq!(RecordTag::read(&tag), Some(record.place()));
        let read = UndoRecord::read_at(&tag, &record.to_manifest()).unwrap();
        assert_eq!(read, record);
        assert_eq!(read.manifests[0].manifest(), Some(manifest));
    }

    #[test]
    fn bytes_of_another_digest_or_of_no_manifest_are_none() {
        let manifest = RawManifest::new(MediaType::OciManifest, "{}");
        let good = record(&manifest).manifests.remove(0);
        let check = |kept: KeptManifest| assert_eq!(kept.manifest(), None, "{kept:?}");
        check(KeptManifest { digest: Digest::of(b"other"), ..good.clone() });
        check(KeptManifest { bytes: STANDARD.encode("{} "), ..good.clone() });
        check(KeptManifest { bytes: "no base64".to_owned(), ..good.clone() });
        check(KeptManifest { media_type: "text/plain".to_owned(), ..good });
    }
}
