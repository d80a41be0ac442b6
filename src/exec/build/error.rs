//! How a build goes about it, and why one did not begin.

use crate::exec::build::engine_needs::Beyond;
use crate::exec::build::secrets::NoSecret;
use crate::exec::image::probe::Unanswered;
use crate::exec::ledger::LedgerError;
use crate::model::{Span, size};

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
    Beyond(#[from] Beyond),
    /// The engine has no room; nothing was built.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// The engine has no room to build anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the engine has no room to build in: {} free for {}", size(*free), path.display())]
pub struct NoRoom {
    /// The directory of the engine's data.
    pub path: std::path::PathBuf,
    /// What may still be written, in bytes.
    pub free: u64,
}
