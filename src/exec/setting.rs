//! What holds for a whole command: who runs it, and through which ports.

use crate::model::{Repository, RunId, Source, Span};
use crate::port::{
    Builder, Clock, Failure, ImageStore, Registry, RegistryError, RegistryReader, RegistryResult, Secrets,
};

/// What holds for a whole command: who runs it, from what, and where records go.
#[derive(Debug, Clone)]
pub struct RunContext {
    /// The registry as repositories are named below it: a host, perhaps with a path.
    pub registry: String,
    pub ledger: Repository,
    pub run: RunId,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// How long leases last.
    pub lease: Span,
    /// Who is behind it, where that is known: a person and their machine, or whom a CI names.
    pub by: Option<String>,
    /// Where the inputs come from.
    pub source: Source,
}

/// What promotions and sweeps work with: a registry, and the time that passes on this machine.
#[derive(Clone, Copy)]
pub struct RegistryPorts<'a> {
    /// The registry, as everybody reads it.
    pub registry: &'a dyn RegistryReader,
    /// All of it; in a run that writes nothing, why it does not.
    pub writer: Result<&'a dyn Registry, &'a str>,
    /// Elapsed time.
    pub clock: &'a dyn Clock,
}

impl<'a> RegistryPorts<'a> {
    /// Gives a run all of a registry.
    pub fn new(registry: &'a dyn Registry, clock: &'a dyn Clock) -> Self {
        Self { registry, writer: Ok(registry), clock }
    }

    /// Returns what writes; none in a run that may not, which is told as a registry would.
    pub(crate) fn writer(&self) -> RegistryResult<&'a dyn Registry> {
        self.writer.map_err(|why| RegistryError {
            request: "a write, which was not sent".to_owned(),
            failure: Failure::Denied { detail: why.to_owned() },
        })
    }
}

/// What builds work with beside a registry: who builds, where images are kept on this machine, and
/// what builds are lent.
#[derive(Clone, Copy)]
pub struct EnginePorts<'a> {
    /// What builds images.
    pub builder: &'a dyn Builder,
    /// What keeps them on this machine, and pushes them.
    pub store: &'a dyn ImageStore,
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
