//! Implementations of the ports: registry over HTTP, embedded registry, Docker Engine, disk.

pub mod context;
pub mod engine;
