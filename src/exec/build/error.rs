//! How a build goes about it, and why one did not begin.

use std::path::PathBuf;

use crate::exec::build::engine_needs::UnmetRequirements;
use crate::exec::build::secrets::NoSecret;
use crate::exec::image::probe::Unanswered;
use crate::exec::ledger::LedgerError;
use crate::model::{ErrorKind, Explained, Explanation, Span, size};
use crate::port::DISK_HINT;
use crate::protocol::Job;

/// How a build goes about it.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// How many boxes are built at once.
    pub jobs: usize,
    /// How long to wait for another run that builds the same box.
    pub wait: Span,
    /// Whether to ignore the engine's build cache.
    pub no_cache: bool,
    /// Whether the first failure ends the run, and not only what stands on the box.
    pub fail_fast: bool,
}

/// Why a build did not begin, or could not be reported.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The ledger did not answer as needed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry did not say what stands; nothing was built.
    #[error(transparent)]
    Unknown(#[from] Unanswered),
    /// A box that is to be built cannot have a secret; nothing was built.
    #[error(transparent)]
    Secret(#[from] NoSecret),
    /// A box that is to be built needs a later engine; nothing was built.
    #[error(transparent)]
    UnmetRequirements(#[from] UnmetRequirements),
    /// The engine has no room; nothing was built.
    #[error("the engine has no room to build in: {} free for {}", size(*free), path.display())]
    NoRoom {
        /// The directory of the engine's data.
        path: PathBuf,
        /// What may still be written, in bytes.
        free: u64,
    },
}

impl Explained for BuildError {
    fn explain(&self) -> Explanation<'_> {
        let nothing = "nothing was built";
        match self {
            Self::Ledger(error) => error.explain(),
            Self::Unknown(error) => error.explain(),
            Self::Secret(error) => error.explain().undone(nothing),
            Self::UnmetRequirements(error) => error.explain().undone(nothing),
            Self::NoRoom { .. } => ErrorKind::Failed.hint(DISK_HINT).undone(nothing),
        }
    }
}

/// Why a box was not made, beside what failed that was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BoxError {
    /// It is missing, and may not be pushed from here.
    #[error("{0}")]
    Forbidden(String),
    #[error("its image has {size} bytes, and max-size allows {limit}; it was not pushed")]
    TooLarge { size: u64, limit: u64 },
    #[error("gave up after {tries} tries: {0}", tries = Job::TRIES)]
    GaveUp(String),
    #[error("it was moved or removed again and again")]
    Moved,
    /// Nothing told what is to be done.
    #[error("what is to be done about it is unknown")]
    Undecided,
    /// The run was stopped before it was looked at.
    #[error("interrupted")]
    Interrupted,
}

impl Explained for BoxError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Forbidden(_) => ErrorKind::Missing.into(),
            Self::TooLarge { .. } | Self::GaveUp(_) | Self::Moved | Self::Undecided => {
                ErrorKind::Failed.into()
            }
            Self::Interrupted => ErrorKind::Interrupted.into(),
        }
    }
}
