//! Why documents do not make an archive of boxes.

use crate::model::{Digest, ManifestError};

/// Why documents do not make an archive of boxes.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// There is nothing in it.
    #[error("it holds no box: was it written by `boxwright export`?")]
    Empty,
    /// A document that is no JSON of its kind.
    #[error("{file} cannot be read")]
    Syntax {
        /// Its name.
        file: &'static str,
        /// What the JSON parser said.
        source: serde_json::Error,
    },
    /// A document that says something else than its boxes do.
    #[error("{file} is not what boxwright writes for these boxes")]
    Foreign {
        /// Its name.
        file: &'static str,
    },
    /// An entry of the index that names no box.
    #[error("index.json: `{text}` is {problem}")]
    Name {
        /// The name, made printable.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A manifest that cannot be used.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Something that is referred to and is not there.
    #[error("{digest} is missing")]
    Missing { digest: Digest },
    /// Descriptors that do not agree with each other or with what they describe.
    #[error("{digest} is said to have {said} bytes, and to have {other}")]
    Size {
        /// What is described.
        digest: Digest,
        /// One size, in bytes.
        said: u64,
        other: u64,
    },
    /// A digest that has no place in a layout that is written here.
    #[error("{digest} is no sha256 digest, which is all that an archive holds")]
    Algorithm { digest: Digest },
    /// An index in an index.
    #[error("index {digest} stands in an index")]
    Nested { digest: Digest },
    /// An index without an image that can be run.
    #[error("index {digest} holds no image")]
    NoImage { digest: Digest },
}
