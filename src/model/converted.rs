//! The OCI form of a Docker manifest, for those who read a layout.
//!
//! The engine pushes Docker manifests, and programs that read OCI layouts take OCI ones
//! only (skopeo up to 1.9 answers "no descriptor found"). So a Docker manifest is listed a
//! second time in its OCI form: the same blobs under the same name, with OCI media types and
//! thus another digest. It is never served over HTTP, pushed or loaded.

use serde_json::Value;

use super::{MediaType, RawManifest};

const MEDIA_TYPES: [(&str, &str); 4] = [
    ("application/vnd.docker.container.image.v1+json", "application/vnd.oci.image.config.v1+json"),
    ("application/vnd.docker.image.rootfs.diff.tar", "application/vnd.oci.image.layer.v1.tar"),
    ("application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.oci.image.layer.v1.tar+gzip"),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", "application/vnd.oci.image.layer.v1.tar+zstd"),
];

/// Converts a Docker image manifest; `None` for every other kind, and where a part has no
/// OCI counterpart.
pub fn oci_form(manifest: &RawManifest) -> Option<RawManifest> {
    if manifest.media_type() != MediaType::DockerManifest {
        return None;
    }
    let mut document: Value = serde_json::from_slice(manifest.bytes()).ok()?;
    convert(document.get_mut("config")?)?;
    for layer in document.get_mut("layers")?.as_array_mut()? {
        convert(layer)?;
    }
    *document.get_mut("mediaType")? = MediaType::OciManifest.as_str().into();
    Some(RawManifest::new(MediaType::OciManifest, document.to_string()))
}

fn convert(descriptor: &mut Value) -> Option<()> {
    let media_type = descriptor.get_mut("mediaType")?;
    let (_, oci) = MEDIA_TYPES.into_iter().find(|(docker, _)| media_type == docker)?;
    *media_type = oci.into();
    Some(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use serde_json::json;

    use super::*;
    use crate::model::{Digest, Document};

    fn docker(layer: &str) -> RawManifest {
        let part =
            |media_type: &str| json!({ "mediaType": media_type, "digest": Digest::of(b"x"), "size": 1 });
        let document = json!({
            "schemaVersion": 2,
            "mediaType": MediaType::DockerManifest.as_str(),
            "config": part(MEDIA_TYPES[0].0),
            "layers": [part(layer)],
        });
        RawManifest::new(MediaType::DockerManifest, document.to_string())
    }

    #[test]
    fn converts_all_types_or_nothing() {
        let converted = oci_form(&docker(MEDIA_TYPES[2].0)).unwrap();
        let Document::Image(image) = converted.document().unwrap() else { panic!("not an image") };
        assert_eq!(image.config.media_type, "application/vnd.oci.image.config.v1+json");
        assert_eq!(image.layers[0].media_type, "application/vnd.oci.image.layer.v1.tar+gzip");
        assert_eq!(image.layers[0].digest, Digest::of(b"x"));
        assert_eq!(oci_form(&docker("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")), None);
        assert_eq!(oci_form(&converted), None);
    }
}
