//! Implementations of the ports: registry over HTTP, embedded registry, Docker Engine, disk.

pub mod archive;
pub mod beneath;
pub mod clock;
pub mod context;
pub mod credentials;
pub mod embedded;
pub mod engine;
pub mod files;
pub mod git;
mod locked;
pub mod memory;
pub mod registry;
pub mod remote;
pub mod room;
pub mod secrets;
pub mod untag;
