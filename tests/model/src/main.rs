//! A model check of the protocols over the very functions that run: [`boxwright::protocol`]'s
//! `Run`, `Job`, `Sweeper` and `Promoter`, which ask `retention::decide` and `plan::promotion`.
//!
//! The registry has the semantics that were measured on docker-registry 2.8.2. Every variant
//! without one of the guards must break the invariant that it is named for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod checks;
mod configs;
mod promoter;
mod registry;
mod runner;
mod sweeper;
mod turns;
mod world;
