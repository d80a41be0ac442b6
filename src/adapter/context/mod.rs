//! Build contexts on disk: walked and hashed ([`DiskContext`]), then sent as a tar stream
//! that holds exactly what was hashed ([`tar`]).
//!
//! Nothing is followed out of the context and nothing that could block is read: files are
//! opened beneath the context's root, without following links.

mod hash;
mod root;
pub mod tar;
mod walk;

use std::path::Path;

use crate::port::{Context, ContextError, ContextFilter, Scan};

/// Reads contexts from the file system.
///
/// `.boxwright` at the root of a context is boxwright's own state and never part of it,
/// whatever the filter says.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskContext;

impl Context for DiskContext {
    fn scan(&self, root: &Path, filter: &dyn ContextFilter) -> Result<Scan, ContextError> {
        let root = root::Root::open(root)?;
        hash::with_hashers(&root, |queue| walk::walk(root.path(), filter, queue))
    }
}
