//! What a build is lent: secrets and the ssh agent of whoever runs it, their network, and the caches
//! that its steps mount.

use std::io;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::model::{ErrorKind, Explained, Explanation, SecretSource, SecretValue};

/// Reads secrets.
#[async_trait]
pub trait Secrets: Send + Sync {
    /// Tells whether a secret can be read, without reading it.
    async fn check(&self, source: &SecretSource) -> Result<(), SecretError>;

    /// Reads a secret.
    async fn read(&self, source: &SecretSource) -> Result<SecretValue, SecretError>;

    /// Returns the socket of the ssh agent, which has been seen to take connections.
    async fn agent(&self) -> Result<PathBuf, SecretError>;

    /// Tells whether a build may use the host's network, and a frontend that is not Docker's own.
    fn lends(&self) -> Result<(), SecretError> {
        Ok(())
    }

    /// Returns the namespace of what a build mounts by `--mount=type=cache`: builds with another
    /// one see nothing of it. It holds no `/`.
    fn namespace(&self) -> String;
}

/// Why a secret cannot be had. No variant holds a value.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not there.
    #[error("the environment variable {variable} is not set")]
    Unset { variable: String },
    /// The variable is there and empty, as CI systems hand over secrets that a run may not see.
    #[error("the environment variable {variable} is empty")]
    Empty { variable: String },
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// It is a file that no repository may name.
    #[error("{} is outside the repository, or git's own", path.display())]
    Outside { path: PathBuf },
    /// It is larger than an engine takes.
    #[error("{from} holds more than {limit} bytes")]
    TooLarge { from: SecretSource, limit: usize },
    /// This run is not given any.
    #[error("withheld: {why}")]
    Withheld {
        why: String,
        /// What lends it, if whoever runs this can say so.
        hint: Option<&'static str>,
    },
    /// No ssh agent takes connections.
    #[error("no ssh agent answers at {}: {source}", socket.display())]
    Agent { socket: PathBuf, source: io::Error },
}

impl Explained for SecretError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Withheld { hint: Some(hint), .. } => ErrorKind::Refused.hint(*hint),
            Self::Withheld { hint: None, .. } => ErrorKind::Refused.into(),
            Self::Outside { .. } => ErrorKind::Usage.hint(
                "your own configuration allows files of this machine, `[secrets] files = […]` in hosts.toml",
            ),
            Self::Unset { .. }
            | Self::Empty { .. }
            | Self::File { .. }
            | Self::TooLarge { .. }
            | Self::Agent { .. } => ErrorKind::Usage.into(),
        }
    }
}
