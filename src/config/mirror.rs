//! `[mirror]`: where outside images are read instead of from their own registry.
//!
//! A mirror is asked what a tag is when a lock is made; from then on the digest decides, so a
//! mirror can neither change an image nor a key. Nothing of ours is read from it or written to it.

use std::collections::BTreeMap;

use super::document::{ConfigError, Section};
use crate::model::Repository;

/// Mirrors by the host that they stand in for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors(BTreeMap<String, String>);

impl Mirrors {
    pub(super) fn read(section: Option<&Section<'_>>) -> Result<Self, ConfigError> {
        let mut mirrors = BTreeMap::new();
        let Some(section) = section else { return Ok(Self::default()) };
        for (host, span, field) in section.fields() {
            let is_host = Repository::new(host, "a").is_ok_and(|repository| repository.host() == host);
            if !is_host {
                let text = crate::model::printable(host, 80);
                let mut error = section.source.error(span, format!("`{text}` is not a registry host"));
                error.hint = Some("write `\"docker.io\" = \"mirror.example/path\"`".to_owned());
                return Err(error);
            }
            let text = field.str()?;
            let mirror = text.strip_suffix('/').unwrap_or(text);
            Repository::new(mirror, "a")
                .map_err(|error| field.error(format!("`{}`: {error}", field.name)))?;
            mirrors.insert(host.to_owned(), mirror.to_owned());
        }
        Ok(Self(mirrors))
    }

    /// Returns where an outside image's repository is read.
    pub fn of(&self, repository: &Repository) -> Repository {
        let mirror = self.0.get(repository.host());
        let there = mirror.and_then(|mirror| Repository::new(mirror, repository.name()).ok());
        there.unwrap_or_else(|| repository.clone())
    }
}
