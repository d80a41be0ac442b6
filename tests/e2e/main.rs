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
mod debian;
mod docs;
mod doctor;
mod embedded;
mod explain;
mod failure;
#[path = "../protocol/figure.rs"]
mod figure;
mod halting;
mod help;
mod init;
mod interrupt;
mod keys;
mod kills;
mod outage;
mod output;
#[allow(dead_code, reason = "shared with the tests of the client")]
#[path = "../faults/peer.rs"]
mod peer;
#[allow(dead_code, reason = "shared with the contract")]
#[path = "../contract/process.rs"]
mod process;
mod promote;
#[allow(dead_code, reason = "shared with the tests of the client")]
#[path = "../faults/proxy.rs"]
mod proxy;
#[allow(dead_code, reason = "shared with the tests of the protocols")]
#[path = "../protocol/engine.rs"]
mod push;
mod report;
mod run;
mod secrets;
mod sources;
mod stale;
mod sweep;
mod together;
mod walk;
mod witness;
mod world;
