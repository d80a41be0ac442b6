//! The canonical input manifest, format 1: all inputs of a box as bytes, whose hash is its key.
//!
//! The specification is `testdata/keys/README.md`; `testdata/keys/check.py` computes the same
//! bytes from it without this code. Deliberately absent: times, owners, absolute paths, the
//! registry, the run.

mod decode;
mod diff;
mod encode;
mod packed;
#[cfg(test)]
mod tests;
mod values;

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Digest, Entry, Key, Platform};

pub use decode::ManifestFormatError;
pub use diff::{Change, Side, diff};
pub use encode::entries_digest;
pub use packed::{PACKED_LIMIT, PackError};

/// All inputs of a box, for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputManifest {
    /// The user's salt; empty if there is none.
    pub epoch: String,
    /// The platform to build for.
    pub platform: Platform,
    /// The stage to build, as in [`super::Analysis::target`].
    pub target: String,
    /// Parser directives by lower-case name.
    pub directives: BTreeMap<String, String>,
    /// Canonical instructions, in order.
    pub instructions: Vec<Instruction>,
    /// Build arguments that the stages can see.
    pub arguments: BTreeMap<String, String>,
    /// Parents: the context's name and the parent box's key.
    pub parents: BTreeMap<String, Key>,
    /// Outside images: the name as the Dockerfile or a context has it, and the reference that
    /// is built on: with a digest, or the floating name itself.
    pub images: BTreeMap<String, String>,
    /// Named contexts that are directories, each with the [`entries_digest`] of what it holds.
    pub contexts: BTreeMap<String, Digest>,
    /// Pins in use and their values.
    pub pins: BTreeMap<String, String>,
    /// The names of secrets, never their values.
    pub secrets: BTreeSet<String>,
    /// What the engine is told besides.
    pub options: BuildOptions,
    /// The context; written sorted by path, each path once.
    pub entries: Vec<Entry>,
}

/// One canonical instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    pub text: String,
    /// Its line in the Dockerfile, from 1. Not part of the bytes, so not known for a manifest
    /// that was read back.
    pub line: Option<u32>,
}

/// Build options that change what a build can see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BuildOptions {
    /// The network mode of `RUN` steps.
    pub network: Option<String>,
    /// Additional `host:address` lines.
    pub extra_hosts: BTreeSet<String>,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
}
