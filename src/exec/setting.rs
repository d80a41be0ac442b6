//! What holds for a whole command: who runs it, and through which ports.

use std::time::Duration;

use crate::model::{Repository, RunId, Source, Span};
use crate::port::{Clock, Engine, Registry, Secrets};

/// Requests in flight at once.
pub(crate) const AT_ONCE: usize = 32;
/// How long the answer to a write is waited for once a sweep is to stop.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

/// What holds for a whole command: who runs it, from what, and where records go.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The registry as repositories are named below it: a host, perhaps with a path.
    pub registry: String,
    /// The ledger.
    pub ledger: Repository,
    /// The run.
    pub run: RunId,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// How long leases last.
    pub lease: Span,
    /// Where the inputs come from.
    pub source: Source,
}

/// The outside world, as the protocols reach it.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// The registry.
    pub registry: &'a dyn Registry,
    /// The container engine.
    pub engine: &'a dyn Engine,
    /// Elapsed time.
    pub clock: &'a dyn Clock,
    /// Build secrets and the ssh agent.
    pub secrets: &'a dyn Secrets,
}

/// Eight hex digits that no other process of this moment has.
pub(crate) fn nonce() -> String {
    use std::hash::{BuildHasher, Hasher};
    // The standard library seeds this from the system's random source, once a process.
    let mut hasher = std::hash::RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    format!("{:08x}", hasher.finish() as u32)
}
