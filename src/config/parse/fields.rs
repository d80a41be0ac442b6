//! Fields that sections of every kind have: texts, patterns, and paths that stay inside.

use std::path::{Component, Path, PathBuf};

use crate::config::document::{ConfigError, Field, Section};

pub(super) fn optional<'a>(root: &Section<'a>, key: &str) -> Result<Option<Section<'a>>, ConfigError> {
    root.field(key).map(|field| field.section()).transpose()
}

pub(super) fn text_or(section: &Section<'_>, key: &str, default: &str) -> Result<String, ConfigError> {
    section.field(key).map_or(Ok(default.to_owned()), |field| field.str().map(str::to_owned))
}

/// A path in or below the directory of the configuration.
pub(super) fn inside(field: &Field<'_>) -> Result<PathBuf, ConfigError> {
    inside_at(field, field.str()?)
}

pub(super) fn inside_at(field: &Field<'_>, path: &str) -> Result<PathBuf, ConfigError> {
    let path = Path::new(path);
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => clean.push(part),
            Component::ParentDir if clean.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let mut error = field.error(format!("`{}` leads out of the repository", field.name));
                error.hint = Some(
                    "paths are relative to boxwright.toml and stay in or below its directory".to_owned(),
                );
                return Err(error);
            }
        }
    }
    Ok(clean)
}

pub(super) fn place<'s, 'a>(section: &'s Section<'a>, key: &str) -> Place<'s, 'a> {
    Place { field: section.field(key), section }
}

pub(super) struct Place<'s, 'a> {
    field: Option<Field<'a>>,
    section: &'s Section<'a>,
}

impl Place<'_, '_> {
    pub fn error(&self, message: String) -> ConfigError {
        self.field
            .as_ref()
            .map_or_else(|| self.section.error(message.clone()), |field| field.error(message.clone()))
    }
}

/// Compiles an expression of the configuration, which is held against documents of many megabytes.
pub(super) fn expression(text: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(1 << 18).build()
}
