//! A project on disk, as its keys are computed from it.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::{BoxSpec, Lock, Project};
use crate::exec::keys::directory::FILE_LIMIT;
use crate::exec::keys::error::KeysError;
use crate::model::RelPath;
use crate::port::{Context, ContextError};

/// A project on disk, and what its keys are computed with.
#[derive(Clone, Copy)]
pub struct Tree<'a> {
    /// Reads the files.
    pub context: &'a dyn Context,
    /// The directory that paths are relative to.
    pub root: &'a Path,
    /// The configuration.
    pub project: &'a Project,
    /// What floating inputs were resolved to.
    pub lock: &'a Lock,
    /// Arguments for every box whose Dockerfile declares them.
    pub args: &'a BTreeMap<String, String>,
    /// Working copies, by the name of the git pin or directory context they stand in for.
    pub sources: &'a BTreeMap<String, PathBuf>,
}

impl Tree<'_> {
    /// Resolves a path of the configuration and makes sure that no link leads it outside.
    pub(crate) fn inside(&self, spec: &BoxSpec, path: &Path) -> Result<PathBuf, KeysError> {
        let joined = self.root.join(path);
        // What is not there is reported by whoever reads it.
        let Some(real) = self.context.resolve(&joined) else { return Ok(joined) };
        let Ok(below) = real.strip_prefix(self.root) else {
            let (path, root) = (path.to_owned(), self.root.to_owned());
            return Err(KeysError::Outside { name: spec.name.clone(), path, root });
        };
        if RelPath::new(below.as_os_str().as_bytes()).is_ok_and(|below| below.is_in_git()) {
            let source = ContextError::InGit { path: path.to_owned() };
            return Err(KeysError::Context { name: spec.name.clone(), source });
        }
        Ok(real)
    }

    pub(super) fn read(&self, spec: &BoxSpec, path: &Path) -> Result<Option<Vec<u8>>, KeysError> {
        self.context
            .read(self.root, path, FILE_LIMIT)
            .map_err(|source| KeysError::Context { name: spec.name.clone(), source })
    }
}
