//! Why the embedded registry cannot go on.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::model::Digest;

/// A failure of the store or of its server; what a client did wrong is answered to the
/// client and never becomes one of these.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `index.json` or `oci-layout` is not what this program or the image-spec writes.
    #[error("{} is damaged: {detail}; it is left as it is, repair or delete the store", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A manifest's bytes do not have the digest that they stand under.
    #[error("blob {} does not have its digest; the store is damaged", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
    },
    /// A manifest that others need is unreadable, so nothing can be said to be unused.
    #[error("nothing was collected: manifest {digest} cannot be followed ({detail})")]
    Unfollowable {
        /// The manifest.
        digest: Digest,
        /// What is wrong with it.
        detail: String,
    },
    /// The remembered port is no port.
    #[error("{} holds `{text}`, which is no port number; delete it to choose a new port", path.display())]
    PortFile {
        /// The file.
        path: PathBuf,
        /// What stands in it, made printable.
        text: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes to make a password of")]
    NoRandom,
    /// The address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
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
