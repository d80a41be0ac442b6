//! Boxes as files: out of a registry or an engine, and back.

pub(super) mod export;
pub(super) mod import;
pub(super) mod pack;
