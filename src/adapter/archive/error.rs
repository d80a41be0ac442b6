//! Why an archive is refused.

use std::io;
use std::path::PathBuf;

use crate::model::{ArchiveError, Digest, ErrorKind, Explained, Explanation, TarError, printable};

/// An archive that cannot be used; nothing of it was.
#[derive(Debug, thiserror::Error)]
#[error("archive {}", path.display())]
pub struct BadArchive {
    pub path: PathBuf,
    pub source: Fault,
}

impl Explained for BadArchive {
    fn explain(&self) -> Explanation<'_> {
        let nothing = "nothing of the archive was used";
        match &self.source {
            Fault::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => ErrorKind::Failed.hint(
                "standard input and compressed archives are unpacked to temporary files; TMPDIR names a disk with more room",
            ),
            Fault::Io { action: "open", .. } => ErrorKind::Usage.into(),
            _ => ErrorKind::Failed.hint(nothing),
        }
    }
}

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// It cannot be read, or not be put down while it is unpacked.
    #[error("cannot {action} it")]
    Io {
        /// What was tried.
        action: &'static str,
        source: io::Error,
    },
    /// It has no bytes at all.
    #[error("it is empty: was the command that writes it cut off?")]
    Empty,
    /// It ends too early.
    #[error("it is cut off {place}")]
    Truncated { place: String },
    /// What it is compressed with breaks.
    #[error("its {format} data are damaged")]
    Compressed {
        /// `gzip` or `zstd`.
        format: &'static str,
        source: io::Error,
    },
    /// A header that is not read.
    #[error("entry {number}: {source}")]
    Header {
        /// The entry's number, from 1.
        number: usize,
        source: TarError,
    },
    /// An entry that does not belong there.
    #[error("it holds `{name}`, which does not belong in an archive of boxes")]
    Name {
        /// Its name, made printable.
        name: String,
    },
    /// An entry that is there twice.
    #[error("it holds `{name}` twice")]
    Duplicate { name: String },
    /// A blob that is not what its name says.
    #[error("the content of {digest} is that of {found}")]
    Digest {
        digest: Digest,
        /// What its bytes are.
        found: Digest,
    },
    /// Something behind its end, or between its entries.
    #[error("there are bytes {place}, where nothing belongs")]
    Padding { place: &'static str },
    /// More than is read.
    #[error("{what} exceeds the limit of {limit}")]
    Limit {
        /// What is too much.
        what: String,
        /// How much is read.
        limit: String,
    },
    /// A blob that no box refers to.
    #[error("{digest} belongs to no box in it")]
    Stray { digest: Digest },
    /// What its documents say.
    #[error(transparent)]
    Contents(#[from] ArchiveError),
    /// A configuration that cannot be read.
    #[error("box {name}: its configuration cannot be used: {detail}")]
    Config { name: String, detail: String },
    /// A layer that is not what the configuration says.
    #[error("box {name}: layer {digest} cannot be used: {detail}")]
    Layer { name: String, digest: Digest, detail: String },
}

impl Fault {
    pub(super) fn name(bytes: &[u8]) -> Self {
        Self::Name { name: printable(&String::from_utf8_lossy(bytes), 120) }
    }

    pub(super) fn read(source: io::Error) -> Self {
        Self::Io { action: "read", source }
    }
}
