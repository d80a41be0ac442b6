//! From a Dockerfile and a context to the input manifest and the key.
//!
//! Pure: bytes and settings in, values out. [`analyse`] says what a box's Dockerfile depends
//! on; a [`Selection`] made from it tells a context walk what to take; the [`InputManifest`]
//! puts all inputs into canonical bytes, and its hash is the key. Deliberately absent: files,
//! registries, the clock, the environment.

mod dockerfile;
mod dockerignore;
mod golang;
mod manifest;
mod pattern;
mod select;

pub use dockerfile::{
    Analysis, At, BoxInputs, DockerfileError, DockerfileSource, Finding, FindingKind, Frontend, ImageOrigin,
    ImageUse, Inherited, Need, NeedKind, Reads, RewriteError, Secret, Shape, Source, StageBase, StageOutline,
    UnreachableStage, analyse, is_docker_frontend, is_secret, outline, rewrite, step_at,
};
pub use dockerignore::{Dockerignore, DockerignoreError};
pub use manifest::{
    BuildOptions, Change, InputManifest, Instruction, ManifestFormatError, PACKED_LIMIT, PackError, Side,
    diff, entries_digest,
};
pub use select::{Links, Missing, Selection};
