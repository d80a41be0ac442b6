//! The few traits through which the outside is reached, with typed errors.
//!
//! Everything above (`exec`) talks to these; everything below (`adapter`) implements them.

mod clock;
mod context;
mod engine;
mod registry;
mod remote;

pub use clock::Clock;
pub use context::{Context, ContextError, ContextFilter, Scan, Visit};
pub use engine::{
    BuildEvent, BuildRequest, Engine, EngineError, ImageId, PushEvent, RunOutput, RunRequest, StepState,
};
pub use registry::{Deleted, Failure, Reference, Registry, RegistryError, TagList};
pub use remote::{Remote, RemoteError};
