//! The record of a stored input manifest: `inputs.<key>`.
//!
//! Unlike other records it keeps its payload in a layer: an annotation has no room for the
//! hundred thousand entries of a large context.

use oci_client::manifest::OciImageManifest;

use super::record::{artifact_type, empty};
use super::{Descriptor, Digest, Document, RawManifest, RecordError};

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
        RawManifest::of(OciImageManifest {
            artifact_type: Some(artifact_type(KIND)),
            config: empty().into(),
            layers: vec![Descriptor::new(LAYER, self.digest.clone(), self.size).into()],
            ..OciImageManifest::default()
        })
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
    use crate::model::{MediaType, empty_digest};

    #[test]
    fn reads_back_and_takes_nothing_else() {
        let stored = StoredInputs { digest: Digest::of(b"packed"), size: 6 };
        let raw = stored.to_manifest();
        assert_eq!(StoredInputs::from_manifest(&raw).unwrap(), stored);
        let text = String::from_utf8(raw.bytes().to_vec()).unwrap();
        let expect = format!(
            r#"{{"artifactType":"application/vnd.boxwright.inputs.v1+json","config":{{"digest":"{}","mediaType":"application/vnd.oci.empty.v1+json","size":2}},"layers":[{{"digest":"{}","mediaType":"application/vnd.boxwright.inputs.v1+gzip","size":6}}],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}}"#,
            empty_digest(),
            stored.digest
        );
        assert_eq!(text, expect);
        for (from, to) in [("inputs.v1+json", "inputs.v2+json"), ("inputs.v1+gzip", "inputs.v1+zstd")] {
            let other = RawManifest::new(MediaType::OciManifest, text.replace(from, to));
            assert_ne!(other, raw);
            let error = StoredInputs::from_manifest(&other).unwrap_err();
            assert!(matches!(error, RecordError::Kind { kind: "inputs", .. }), "{error}");
        }
    }
}
