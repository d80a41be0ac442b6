//! Implementations of the ports: registry over HTTP, embedded registry, Docker Engine, disk.

pub mod credentials;
pub mod memory;
pub mod registry;
