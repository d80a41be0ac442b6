//! What the registry does with manifests, apart from HTTP.
//!
//! Manifests belong to repositories; blobs belong to the store, so every blob can be read
//! and mounted through every repository. That is sound only because one machine's user is
//! the only client.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::EmbeddedError;
use super::index::{Holding, Kind, Name};
use super::layout::Layout;
use super::upload::Upload;
use crate::model::{Descriptor, Digest, Document, ManifestError, RawManifest, Tag, oci_form};
use crate::port::Reference;

/// The store under `.boxwright/registry/`.
#[derive(Debug, Clone)]
pub struct Store {
    pub(super) layout: Layout,
}

/// Why a manifest was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It cannot be read as what it was sent as.
    #[error(transparent)]
    Invalid(#[from] ManifestError),
    /// It names content that is not here.
    #[error("{digest} is not in this registry; push it before the manifest")]
    Unknown {
        /// The content.
        digest: Digest,
    },
    /// It gives content another size than it has.
    #[error("{digest} has {actual} bytes, not {named}")]
    Size {
        /// The content.
        digest: Digest,
        /// Its size in bytes.
        actual: u64,
        /// The size that the manifest gives.
        named: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] EmbeddedError),
}

/// A manifest that refers to another (distribution-spec, "Listing Referrers").
#[derive(Debug, Clone)]
pub struct Referrer {
    pub digest: Digest,
    /// Its media type and size.
    pub kind: Kind,
    /// What sort of thing it is.
    pub artifact_type: Option<String>,
    pub annotations: BTreeMap<String, String>,
}

impl Store {
    /// Opens the store in `dir`, an OCI image layout, making it where there is none.
    ///
    /// # Errors
    /// A directory that cannot be written, or a layout that is damaged.
    pub fn open(dir: &Path) -> Result<Self, EmbeddedError> {
        Ok(Self { layout: Layout::open(dir)? })
    }

    /// Writes a manifest; returns its subject.
    pub fn put(
        &self,
        name: &Name,
        tag: Option<Tag>,
        manifest: &RawManifest,
    ) -> Result<Option<Digest>, PutError> {
        let document = manifest.document()?;
        let digest = manifest.digest();
        let kind = Kind { media_type: manifest.media_type(), size: manifest.bytes().len() as u64 };
        let oci_form = oci_form(manifest).filter(|_| tag.is_some());
        // Checked, written and named under one lock, so that nothing it needs goes between.
        self.layout.update(|contents| {
            let holding = contents.holding_mut(name);
            self.check_content(holding, &document)?;
            self.layout.write_blob(digest, manifest.bytes())?;
            holding.add(digest.clone(), kind, tag);
            if let Some(form) = &oci_form {
                self.layout.write_blob(form.digest(), form.bytes())?;
                holding.add_oci_form(digest.clone(), form.digest().clone(), form.bytes().len() as u64);
            }
            Ok::<_, PutError>(())
        })?;
        let (Document::Image(crate::model::Image { subject, .. })
        | Document::Index(crate::model::Index { subject, .. })) = document;
        Ok(subject.map(|subject| subject.digest))
    }

    fn check_content(&self, holding: &Holding, document: &Document) -> Result<(), PutError> {
        let check = |needed: &Descriptor, actual: Option<u64>| match actual {
            None => Err(PutError::Unknown { digest: needed.digest.clone() }),
            Some(actual) if actual != needed.size => {
                Err(PutError::Size { digest: needed.digest.clone(), actual, named: needed.size })
            }
            Some(_) => Ok(()),
        };
        match document {
            Document::Image(image) => {
                for needed in std::iter::once(&image.config).chain(&image.layers) {
                    let blob = self.layout.blob(&needed.digest)?;
                    check(needed, blob.map(|(_, size)| size))?;
                }
            }
            Document::Index(index) => {
                for child in &index.manifests {
                    check(child, holding.manifests().get(&child.digest).map(|kind| kind.size))?;
                }
            }
        }
        Ok(())
    }

    /// Reads a manifest, checking its bytes.
    pub fn manifest(&self, name: &Name, at: &Reference) -> Result<Option<RawManifest>, EmbeddedError> {
        let contents = self.layout.contents()?;
        let Some(holding) = contents.holding(name) else { return Ok(None) };
        let digest = match at {
            Reference::Digest(digest) => digest,
            Reference::Tag(tag) => match holding.tags().get(tag) {
                Some(digest) => digest,
                None => return Ok(None),
            },
        };
        let Some(kind) = holding.manifests().get(digest) else { return Ok(None) };
        let raw = RawManifest::new(kind.media_type, self.read(digest, *kind)?);
        if raw.digest() == digest {
            Ok(Some(raw))
        } else {
            Err(EmbeddedError::Corrupt { path: self.layout.blob_path(digest) })
        }
    }

    fn read(&self, digest: &Digest, kind: Kind) -> Result<Vec<u8>, EmbeddedError> {
        let path = self.layout.blob_path(digest);
        let Some((file, _)) = self.layout.blob(digest)? else {
            return Err(EmbeddedError::Corrupt { path });
        };
        let mut bytes = Vec::new();
        file.take(kind.size + 1).read_to_end(&mut bytes).map_err(EmbeddedError::io("read", &path))?;
        Ok(bytes)
    }

    /// Deletes a tag alone, or a manifest with all its tags (distribution-spec, "DeleteSupport
    /// Tags", "DeleteSupport Manifests"); tells whether it was there.
    pub fn delete(&self, name: &Name, at: &Reference) -> Result<bool, EmbeddedError> {
        self.layout.update(|contents| {
            if contents.holding(name).is_none() {
                return Ok(false);
            }
            let holding = contents.holding_mut(name);
            Ok(match at {
                Reference::Tag(tag) => holding.untag(tag),
                Reference::Digest(digest) => holding.remove(digest),
            })
        })
    }

    /// Lists a repository's tags in their byte order; `None` for one that holds nothing.
    pub fn tags(&self, name: &Name) -> Result<Option<Vec<Tag>>, EmbeddedError> {
        let contents = self.layout.contents()?;
        Ok(contents.holding(name).map(|holding| holding.tags().keys().cloned().collect()))
    }

    /// Lists the repository's manifests whose subject is `subject`, by digest.
    pub fn referrers(&self, name: &Name, subject: &Digest) -> Result<Vec<Referrer>, EmbeddedError> {
        let contents = self.layout.contents()?;
        let mut found = Vec::new();
        for (digest, kind) in contents.holding(name).iter().flat_map(|holding| holding.manifests()) {
            // Was read as a manifest when it was pushed; what does not read now refers to nothing.
            let Ok(attached) = serde_json::from_slice::<Attached>(&self.read(digest, *kind)?) else {
                continue;
            };
            if attached.subject.is_some_and(|at| at.digest == *subject) {
                found.push(Referrer {
                    digest: digest.clone(),
                    kind: *kind,
                    artifact_type: attached
                        .artifact_type
                        .or_else(|| attached.config.map(|config| config.media_type)),
                    annotations: attached.annotations,
                });
            }
        }
        Ok(found)
    }

    /// Gives an upload its name if its bytes have `digest`; returns their real digest.
    pub fn keep(&self, upload: Upload, digest: &Digest) -> Result<Digest, EmbeddedError> {
        let (file, actual) = upload.finish();
        if actual == *digest {
            self.layout.keep_blob(file, digest)?;
        }
        Ok(actual)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attached {
    subject: Option<Descriptor>,
    artifact_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}
