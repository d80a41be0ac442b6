//! The configuration of a command: found, read, flags and environment put over it.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::args::{Boxes, Global};
use super::error::CliError;
use crate::adapter::beneath;
use crate::adapter::git::Repository;
use crate::config::{self, BoxSpec, Project, RegistryChoice};

/// The name of the configuration.
pub const FILE: &str = "boxwright.toml";
/// What floating inputs were resolved to.
pub const LOCK: &str = "boxwright.lock";
/// The directory of everything that boxwright itself keeps beside the configuration.
pub const HOME: &str = ".boxwright";
/// The largest configuration, lock or list that is read, in bytes.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// A configuration and where it stands.
pub struct Loaded {
    pub project: Project,
    /// The directory that paths are relative to.
    pub root: PathBuf,
    /// The configuration, in that directory.
    pub file: PathBuf,
    /// Where the store and the files of secrets are looked for: not in a revision that was checked
    /// out for one command.
    pub home: PathBuf,
    /// The repository, where it need not be looked for.
    pub repository: Option<Repository>,
}

/// Finds and reads the configuration, flags and environment put over it.
pub fn load(global: &Global) -> Result<Loaded, CliError> {
    let path = match &global.file {
        Some(path) => path.clone(),
        None => find()?,
    };
    load_at(global, path)
}

/// Reads the configuration at `path`, flags and environment put over it.
pub fn load_at(global: &Global, path: PathBuf) -> Result<Loaded, CliError> {
    let root = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let root =
        root.canonicalize().map_err(|source| CliError::Io { action: "find", path: root.clone(), source })?;
    let unread = |why: Errno| CliError::Io { action: "read", path: path.clone(), source: why.into() };
    let file = root.join(path.file_name().ok_or_else(|| unread(Errno::ISDIR))?);
    let text = beneath::read_text(beneath::bounds(&root), &file, FILE_LIMIT)?;
    let text = text.ok_or_else(|| unread(Errno::NOENT))?;
    let name = path.file_name().map_or_else(|| FILE.to_owned(), |name| name.to_string_lossy().into_owned());
    let mut project = config::parse(&name, &text)?;
    if let Some(home) = std::env::var_os("HOME") {
        project.expand_home(Path::new(&home));
    }
    if let Some(registry) = &global.registry {
        project.registry = chosen(registry)?;
    }
    Ok(Loaded { project, home: root.clone(), file: PathBuf::from(name), root, repository: None })
}

/// Reads the registry that the command line names.
pub fn chosen(registry: &str) -> Result<RegistryChoice, CliError> {
    registry.parse().map_err(|error| CliError::Usage(format!("--registry {registry}: {error}")))
}

fn find() -> Result<PathBuf, CliError> {
    let here = std::env::current_dir().map_err(|source| CliError::Io {
        action: "find",
        path: PathBuf::from("."),
        source,
    })?;
    // Whatever it is: what stands in its place is not passed over.
    let is_there = |path: &PathBuf| path.symlink_metadata().is_ok_and(|found| !found.is_dir());
    let found = here.ancestors().map(|directory| directory.join(FILE)).find(is_there);
    let found = found.ok_or_else(|| CliError::NoConfig { directory: here.clone() })?;
    match planted(&here, &found) {
        Some(owner) => Err(CliError::Planted { path: found, owner }),
        None => Ok(found),
    }
}

/// Returns who owns a configuration that was found above, in `/tmp` perhaps, if that is somebody
/// else: neither this user, nor root, nor whoever owns the directory that this is about.
fn planted(here: &Path, found: &Path) -> Option<u32> {
    if found.parent() == Some(here) {
        return None;
    }
    let owner = |path: &Path| path.symlink_metadata().map(|it| it.uid()).ok();
    let known = [Some(0), Some(rustix::process::geteuid().as_raw()), owner(here)];
    owner(found).filter(|owner| !known.contains(&Some(*owner)))
}

/// Reads a file in the directory of the configuration, or below it; nothing if there is none.
pub fn beside(root: &Path, path: &Path) -> Result<Option<String>, CliError> {
    Ok(beneath::read_text(beneath::bounds(root), &root.join(path), FILE_LIMIT)?)
}

/// Names a file from the root of what the CI checked out; `file` is named from the directory of
/// the configuration.
pub fn from_workspace(global: &Global, file: &str) -> String {
    let config = global.file.clone().map_or_else(find, Ok);
    let workspace = std::env::var_os("GITHUB_WORKSPACE").map(PathBuf::from);
    let below = config.ok().and_then(|config| {
        let root = config.canonicalize().ok()?.parent()?.to_owned();
        let below = root.strip_prefix(workspace?.canonicalize().ok()?).ok()?.join(file);
        Some(below.to_string_lossy().into_owned())
    });
    below.unwrap_or_else(|| file.to_owned())
}

impl Loaded {
    /// Names the registry without opening it: an embedded one has no port yet, and keys do not
    /// depend on it.
    pub fn offline_registry(&self) -> String {
        match &self.project.registry {
            RegistryChoice::Remote(registry) => registry.clone(),
            RegistryChoice::Embedded => "localhost".to_owned(),
        }
    }

    /// Returns the boxes that were asked for and what they stand on, parents first.
    pub fn choose<'a>(&'a self, boxes: &Boxes) -> Result<Vec<&'a BoxSpec>, CliError> {
        if let Some(name) = &boxes.channel {
            if !self.project.channels.contains_key(name) {
                let known = self.project.channels.keys().cloned().collect();
                return Err(CliError::Unknown { what: "channel", name: name.clone(), known });
            }
            return Ok(self.project.boxes_of(name));
        }
        if boxes.names.is_empty() {
            let all = self.project.boxes.iter().filter(|spec| spec.only.is_empty());
            return Ok(self.project.closure(&all.map(|spec| spec.name.as_str()).collect::<Vec<_>>()));
        }
        for name in &boxes.names {
            if self.project.find(name).is_none() {
                let known = self.project.boxes.iter().map(|spec| spec.name.clone()).collect();
                return Err(CliError::Unknown { what: "box", name: name.clone(), known });
            }
        }
        Ok(self.project.closure(&boxes.names.iter().map(String::as_str).collect::<Vec<_>>()))
    }
}
