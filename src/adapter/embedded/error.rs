//! Why the embedded registry cannot go on.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::model::{Digest, ErrorKind, Explained, Explanation};

/// A failure of the store or of its server; what a client did wrong is answered to the
/// client and never becomes one of these.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// `index.json` or `oci-layout` is not what this program or the image-spec writes.
    #[error("{} is damaged: {detail}; it is left as it is, repair or delete the store", path.display())]
    Damaged { path: PathBuf, detail: String },
    /// A manifest's bytes do not have the digest that they stand under.
    #[error("blob {} does not have its digest; the store is damaged", path.display())]
    Corrupt { path: PathBuf },
    /// A manifest that others need is unreadable, so nothing can be said to be unused.
    #[error("nothing was collected: manifest {digest} cannot be followed ({detail})")]
    Unfollowable { digest: Digest, detail: String },
    /// The remembered port is no port.
    #[error("{} holds `{text}`, which is no port number; delete it to choose a new port", path.display())]
    PortFile {
        path: PathBuf,
        /// What stands in it, made printable.
        text: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes to make a password of")]
    NoRandom,
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: io::Error },
    /// A worker thread ended early; never seen, since nothing here panics.
    #[error("a worker of the embedded registry was cut off")]
    CutOff,
}

impl EmbeddedError {
    /// Makes the function that wraps an I/O error with its action and path.
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

impl Explained for EmbeddedError {
    fn explain(&self) -> Explanation<'_> {
        ErrorKind::Failed.into()
    }
}
