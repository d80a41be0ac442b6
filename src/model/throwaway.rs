//! A manifest that stands in for another one under a tag that is about to go.

use super::record::{EMPTY_TYPE, artifact_type};
use super::{EMPTY_BLOB, Image, MediaType, RawManifest, empty_digest};

/// Makes a manifest that nothing but its one tag points to; `nonce` tells it from all others.
/// It needs the empty blob.
pub fn throwaway(nonce: &str) -> RawManifest {
    let empty =
        serde_json::json!({ "mediaType": EMPTY_TYPE, "digest": empty_digest(), "size": EMPTY_BLOB.len() });
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OciManifest.as_str(),
        "artifactType": artifact_type("throwaway"),
        "config": empty,
        "layers": [empty],
        "annotations": { "io.boxwright.nonce": nonce },
    });
    RawManifest::new(MediaType::OciManifest, manifest.to_string())
}
/// Tells whether an image manifest is a throwaway.
pub fn is_throwaway(image: &Image) -> bool {
    image.artifact_type == Some(artifact_type("throwaway"))
}
