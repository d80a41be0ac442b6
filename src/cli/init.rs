//! `init`: a first boxwright.toml from the Dockerfiles that are here.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::args::{Global, Init};
use super::error::{CliError, exit};
use super::loaded::{FILE, HOME, chosen};
use super::terminal::{NOTE, Terminal, paint};
use super::whole;
use crate::adapter::beneath;
use crate::config::{Found, FoundStage, RegistryChoice, first_config};
use crate::inputs::{DockerfileSource, StageBase, outline};
use crate::model::chain;

/// How many directories deep Dockerfiles are looked for.
const DEPTH: usize = 6;
/// The largest Dockerfile that is read, in bytes.
const LIMIT: u64 = 16 * 1024 * 1024;

pub async fn run(options: &Init, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let path = PathBuf::from(FILE);
    if path.exists() && !options.force && !options.print {
        let text =
            format!("{FILE} is already here; --force replaces it, --print shows what would be written");
        return Err(CliError::Usage(text));
    }
    let registry = global.registry.as_deref().map_or(Ok(RegistryChoice::Embedded), chosen)?;
    let found = tokio::task::spawn_blocking(move || find(Path::new("."), terminal)).await;
    let found = found.map_err(|_| CliError::CutOff)?;
    let here = std::env::current_dir().unwrap_or_default();
    let project = here.file_name().unwrap_or_default().to_string_lossy();
    let text = first_config(&found, &registry, &project);
    if options.print {
        terminal.result(&text)?;
        return Ok(exit::DONE);
    }
    whole::write(&path, &text)?;
    for file in &found {
        terminal.say(&format!("found {} with {} stages", file.path, file.stages.len()));
    }
    let floats = |stage: &FoundStage| stage.image.as_ref().is_some_and(|image| !image.contains('@'));
    let next = match found.iter().flat_map(|file| &file.stages).any(floats) {
        true => "`boxwright lock`, which pins the images it stands on, and `boxwright plan`",
        false => "`boxwright plan`",
    };
    terminal.say(&format!("wrote {FILE}; read it, then run {next}"));
    Ok(exit::DONE)
}

fn find(root: &Path, terminal: Terminal) -> Vec<Found> {
    let skip = |name: &std::ffi::OsStr| {
        matches!(name.to_str(), Some(".git" | "node_modules" | "target" | "vendor")) || name == HOME
    };
    let walk = WalkDir::new(root).max_depth(DEPTH).sort_by_file_name().into_iter();
    let files = walk
        .filter_entry(|entry| entry.depth() == 0 || !(entry.file_type().is_dir() && skip(entry.file_name())))
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_file() && is_dockerfile(entry.file_name()));
    files.filter_map(|entry| read(root, entry.path(), terminal)).collect()
}

fn is_dockerfile(name: &std::ffi::OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let is_ignore = name.ends_with(".dockerignore");
    let is_named = name == "Dockerfile" || name == "Containerfile";
    !is_ignore && (is_named || name.ends_with(".Dockerfile") || name.starts_with("Dockerfile."))
}

fn read(root: &Path, path: &Path, terminal: Terminal) -> Option<Found> {
    let shown = path.strip_prefix(root).unwrap_or(path).to_str()?.to_owned();
    let warn = |error: &dyn std::fmt::Display| {
        terminal.warn(&format!("{} {error}; no box is written for it", paint(NOTE, "note:")));
    };
    let bytes = beneath::read(root, path.strip_prefix(root).unwrap_or(path), LIMIT);
    let bytes = bytes.map_err(|error| warn(&chain(&error))).ok()??;
    let source = DockerfileSource::new(&shown, &bytes).map_err(|error| warn(&error)).ok()?;
    let stages = outline(&source, &crate::config::host_platform()).map_err(|error| warn(&error)).ok()?;
    let stages = stages.into_iter().map(|stage| {
        let (on, image) = match stage.from {
            StageBase::Scratch => (None, None),
            StageBase::Stage(index) => (Some(index), None),
            StageBase::Image(image) => (None, Some(image)),
        };
        FoundStage { name: stage.name, line: stage.line, on, image }
    });
    Some(Found { path: shown, stages: stages.collect() })
}
