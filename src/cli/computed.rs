//! The keys of the boxes that a command is about, and what differs from the commit.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::args::Global;
use super::error::CliError;
use super::loaded::{LOCK, Loaded, beside};
use super::terminal::Terminal;
use super::{sources, undeclared};
use crate::adapter::context::DiskContext;
use crate::adapter::credentials::SECRET_VARIABLES;
use crate::adapter::git::{self, Unread, Worktree};
use crate::config::{BoxSpec, Lock, Project};
use crate::exec::{ResolvedBox, Tree, keys};

/// The keys of some boxes, and the commit they were computed on.
pub struct Computed {
    pub boxes: Vec<ResolvedBox>,
    pub tree: Worktree,
    /// Why git could not say what it stands on.
    pub unread: Option<Unread>,
    /// Context entries that differ from the commit, by box.
    pub differing: BTreeMap<String, Vec<String>>,
}

/// Computes the keys of the boxes that were asked for. Works offline.
pub async fn compute_keys(
    loaded: &Loaded,
    specs: Vec<&BoxSpec>,
    registry: &str,
    global: &Global,
) -> Result<Vec<ResolvedBox>, CliError> {
    let project = loaded.project.clone();
    let specs: Vec<BoxSpec> = specs.into_iter().cloned().collect();
    let (root, registry, args) = (loaded.root.clone(), registry.to_owned(), extra_args(global));
    let sources = sources::sources(global, &project)?;
    let work = move || {
        let lock = read_lock(&root)?;
        let context = &disk();
        let on_disk =
            Tree { context, root: &root, project: &project, lock: &lock, args: &args, sources: &sources };
        Ok::<_, CliError>(keys(on_disk, &specs, &registry)?)
    };
    let boxes = tokio::task::spawn_blocking(work).await.map_err(|_| CliError::CutOff)??;
    undeclared::lines(&boxes, &extra_args(global)).iter().for_each(|line| Terminal::new(global).warn(line));
    Ok(boxes)
}

/// Computes the keys of the boxes that were asked for, and what differs from the commit.
pub(super) async fn compute(
    loaded: &Loaded,
    specs: Vec<&BoxSpec>,
    registry: &str,
    global: &Global,
) -> Result<Computed, CliError> {
    // Asking git takes about as long as the keys do, so it is asked at the same time.
    let tree = worktree(loaded);
    let (boxes, tree) = tokio::join!(compute_keys(loaded, specs, registry, global), tree);
    let boxes = boxes?;
    let (mut tree, unread) = match tree? {
        Ok(tree) => (tree, None),
        Err(unread) => {
            let source = crate::model::Source { unread: Some(unread.to_string()), ..Default::default() };
            (Worktree { source, ..Worktree::default() }, Some(unread))
        }
    };
    let mut differing = BTreeMap::new();
    if let Some(top) = &tree.root {
        for keyed in &boxes {
            let paths = keyed.paths_below(top);
            let differ: Vec<String> = paths
                .iter()
                .filter(|path| tree.differs(path))
                .map(|path| String::from_utf8_lossy(path).into_owned())
                .collect();
            if !differ.is_empty() {
                differing.insert(keyed.wanted.name.clone(), differ);
            }
        }
    }
    tree.source.dirty = !differing.is_empty();
    let local: BTreeSet<&String> = boxes.iter().flat_map(|keyed| &keyed.local).collect();
    tree.source.local = local.into_iter().cloned().collect();
    Ok(Computed { boxes, tree, unread, differing })
}

/// Asks git about the working tree of a project.
pub async fn worktree(loaded: &Loaded) -> Result<Result<Worktree, Unread>, CliError> {
    let (root, known, hidden) = (loaded.root.clone(), loaded.repository.clone(), hidden(&loaded.project));
    let work = move || match known {
        Some(repository) => git::worktree_of(&repository, &hidden),
        None => git::worktree(&root, &hidden),
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| CliError::CutOff)
}

/// Reads the lock, which lies beside the configuration; there need not be one.
pub fn read_lock(root: &Path) -> Result<Lock, CliError> {
    match beside(root, Path::new(LOCK))? {
        Some(text) => Ok(Lock::parse(LOCK, &text)?),
        None => Ok(Lock::default()),
    }
}

/// Variables that hold secrets; no process that is started here inherits them.
pub fn hidden(project: &Project) -> Vec<String> {
    let ours = SECRET_VARIABLES.map(str::to_owned);
    project.secret_variables().into_iter().chain(ours).collect()
}

/// Arguments from `BOXWRIGHT_ARG_<NAME>` variables, and over them those of `--arg`.
pub fn extra_args(global: &Global) -> BTreeMap<String, String> {
    let from_environment = std::env::vars_os().filter_map(|(name, value)| {
        let name = name.to_str()?.strip_prefix("BOXWRIGHT_ARG_")?.to_owned();
        Some((name, value.into_string().ok()?))
    });
    from_environment.chain(global.args.iter().cloned()).collect()
}

/// Where hashes and small blobs are remembered, and logs of failed builds kept:
/// `$BOXWRIGHT_CACHE`, else the user's cache directory; `BOXWRIGHT_CACHE=off` remembers nothing.
pub fn cache() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    match variable("BOXWRIGHT_CACHE") {
        Some(off) if off.as_os_str() == "off" => None,
        Some(directory) => Some(directory),
        None => {
            let user = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
            user.filter(|user| user.is_absolute()).map(|user| user.join("boxwright"))
        }
    }
}

/// The adapter that reads contexts.
pub fn disk() -> DiskContext {
    cache().map_or_else(DiskContext::default, |cache| DiskContext::with_cache(cache.join("stat")))
}
