//! A manifest that stands in for another one under a tag that is about to go.

use super::record::{artifact_type, manifest_of};
use super::{Image, RawManifest};

/// Makes a manifest that nothing but its one tag points to; `nonce` tells it from all others.
/// It needs the empty blob.
pub fn throwaway(nonce: &str) -> RawManifest {
    manifest_of("throwaway", "io.boxwright.nonce", nonce)
}

/// Tells whether an image manifest is a throwaway.
pub fn is_throwaway(image: &Image) -> bool {
    image.artifact_type == Some(artifact_type("throwaway"))
}
