//! The record of a stored input manifest: `inputs.<key>`.
//!
//! Unlike other records it keeps its payload in a layer: an annotation has no room for the
//! hundred thousand entries of a large context.

use super::record::{EMPTY_TYPE, artifact_type};
use super::{Digest, Document, EMPTY_BLOB, MediaType, RawManifest, RecordError, empty_digest};

const KIND: &str = "inputs";
const LAYER: &str = "application/vnd.boxwright.inputs.v1+gzip";

/// Where a packed input manifest lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredInputs {
    /// The digest of the packed bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
}

impl StoredInputs {
    /// Writes the record as a manifest.
    pub fn to_manifest(&self) -> RawManifest {
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": MediaType::OciManifest.as_str(),
            "artifactType": artifact_type(KIND),
            "config": { "mediaType": EMPTY_TYPE, "digest": empty_digest(), "size": EMPTY_BLOB.len() },
            "layers": [{ "mediaType": LAYER, "digest": self.digest, "size": self.size }],
        });
        RawManifest::new(MediaType::OciManifest, manifest.to_string())
    }

    /// Reads a record back.
    pub fn from_manifest(raw: &RawManifest) -> Result<Self, RecordError> {
        let wrong = || RecordError::Kind { digest: raw.digest().clone(), kind: KIND };
        let Document::Image(image) = raw.document()? else { return Err(wrong()) };
        let [layer] = image.layers.as_slice() else { return Err(wrong()) };
        if image.artifact_type.as_deref() != Some(&artifact_type(KIND)) || layer.media_type != LAYER {
            return Err(wrong());
        }
        Ok(Self { digest: layer.digest.clone(), size: layer.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_takes_nothing_else() {
        let stored = StoredInputs { digest: Digest::of(b"packed"), size: 6 };
        let raw = stored.to_manifest();
        assert_eq!(StoredInputs::from_manifest(&raw).unwrap(), stored);
        let text = String::from_utf8(raw.bytes().to_vec()).unwrap();
        for (from, to) in [("inputs.v1+json", "inputs.v2+json"), ("inputs.v1+gzip", "inputs.v1+zstd")] {
            let other = RawManifest::new(MediaType::OciManifest, text.replace(from, to));
            assert_ne!(other, raw);
            let error = StoredInputs::from_manifest(&other).unwrap_err();
            assert!(matches!(error, RecordError::Kind { kind: "inputs", .. }), "{error}");
        }
    }
}
