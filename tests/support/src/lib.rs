//! What the tests of boxwright share: projects to work on, registries and engines to work with,
//! and other programs as witnesses.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`world`] | a project in a git repository of its own, and the program at work on it |
//! | [`project`] | a project of four boxes, for the protocols alone |
//! | [`witness`] | docker-registry and the engine, as curl, skopeo and docker see them |
//! | [`process`] | docker-registry, as our own client sees it |
//! | [`engine`] | an engine that builds nothing and really pushes |
//! | [`peer`] | a server that answers by a script |
//! | [`proxy`] | a proxy before a registry, with faults by a script |
//! | [`sample`] | an archive, made byte by byte |
//! | [`fuzz`] | all parsers, with what must hold of what they accept |
//! | [`figure`] | what a test counted |
//!
//! Unit tests in `src` cannot use it: their boxwright is another crate than the one that is used here.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod engine;
pub mod figure;
pub mod fuzz;
pub mod peer;
pub mod process;
pub mod project;
pub mod proxy;
pub mod sample;
pub mod witness;
pub mod world;

use std::path::PathBuf;

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")).canonicalize().unwrap()
}

/// The program under test: cargo says where it is; a test program that is run by hand lies in `deps` beside it.
pub fn program() -> PathBuf {
    let told = std::env::var_os("CARGO_BIN_EXE_boxwright").map(PathBuf::from);
    told.unwrap_or_else(|| std::env::current_exe().unwrap().parent().unwrap().with_file_name("boxwright"))
}
