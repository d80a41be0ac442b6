//! The few traits through which the outside is reached, with typed errors.
//!
//! Everything above (`exec`) talks to these; everything below (`adapter`) implements them.

mod archive;
mod blob;
mod clock;
mod context;
mod engine;
mod registry;
mod remote;
mod secrets;
mod wait;

pub use archive::Archive;
pub use blob::{Blob, BlobSource, BlobStream, Whole};
pub use clock::Clock;
pub use context::{Context, ContextError, ContextFilter, Scan, Special, Visit};
pub use engine::{
    AgentForward, BuildEvent, BuildRequest, Builder, ContextImage, DISK_HINT, DiskSpace, EngineError,
    ImageId, ImageStore, PushEvent, RunImage, RunOutput, RunRequest, Runtime, SavedImage, StepState,
};
pub use registry::{
    DeleteSupport, Deleted, Failure, Pushed, Reference, Registry, RegistryError, RegistryReader,
    RegistryResult, RegistryWriter, TagList,
};
pub use remote::{Remote, RemoteError};
pub use secrets::{SecretError, Secrets};
pub use wait::Wait;
