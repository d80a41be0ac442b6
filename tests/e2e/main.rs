//! The main road, end to end: the real binary, a real engine, real docker-registry processes.
//!
//! What boxwright did is witnessed by curl, skopeo, docker and git, never by boxwright. Without
//! an engine or a registry these tests fail; `scripts/setup` brings both.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod archive;
mod bad_config;
mod bad_context;
mod bad_outside;
mod chain;
mod clean;
mod confirm;
mod debian;
mod docs;
mod doctor;
mod embedded;
mod explain;
mod failure;
mod halting;
mod help;
mod init;
mod interrupt;
mod keys;
mod kills;
mod oci_client;
mod outage;
mod output;
mod printed;
mod promote;
mod report;
mod run;
mod secrets;
mod sources;
mod stale;
mod sweep;
mod together;
mod walk;
