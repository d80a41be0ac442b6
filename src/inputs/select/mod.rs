//! Which context entries the sources of a Dockerfile can read.
//!
//! The answer is a filter for a context walk: exactly what `COPY`, `ADD` and bind mounts
//! match, after `.dockerignore`, and where symbolic links lead that they read through.

mod follow;
mod sources;
#[cfg(test)]
mod tests;

use std::sync::{Mutex, PoisonError};

use self::follow::{TooMany, Way};
use self::sources::{Pattern, Relation, Sources, is_below, split};
use super::dockerfile::{Reads, Shape, Source};
use super::dockerignore::{Dockerignore, Trail};
use crate::model::{Entry, EntryKind, RelPath, printable};
use crate::port::{ContextFilter, Visit};

pub use self::follow::Links;

/// A filter for a context walk.
#[derive(Debug)]
pub struct Selection {
    sources: Option<Sources>,
    /// Where the sources lead that name one place.
    ends: Vec<(Source, Way)>,
    whole: Option<(String, u32)>,
    ignore: Dockerignore,
    /// What was found out on the way, one for each thread that walks. They make a walk quick;
    /// no answer depends on what was asked before.
    trails: Mutex<Vec<Trail>>,
}

/// A source that names nothing in the context: the build would fail on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub source: Source,
    /// Where links lead from it, if there are any, fit to follow its name.
    pub leads: Option<String>,
}

impl Selection {
    /// Makes the filter for what a Dockerfile reads.
    pub fn new(reads: &Reads, ignore: Dockerignore, links: &mut Links<'_>) -> Self {
        let mut this =
            Self { sources: Some(Sources::default()), ends: Vec::new(), whole: None, ..Self::whole(ignore) };
        match reads {
            Reads::Nothing => {}
            Reads::Some(sources) => sources.iter().for_each(|source| this.add(source, links)),
            Reads::Whole { .. } => this.sources = None,
        }
        this
    }

    /// Makes the filter for everything that `.dockerignore` leaves.
    pub fn whole(ignore: Dockerignore) -> Self {
        Self { sources: None, ends: Vec::new(), whole: None, ignore, trails: Mutex::default() }
    }

    /// Why and at which line everything counts after all, because of where links lead.
    pub fn grown(&self) -> Option<&(String, u32)> {
        self.whole.as_ref()
    }

    fn grow(&mut self, source: &Source, reason: String) {
        self.sources = None;
        self.whole.get_or_insert((reason, source.at.line));
    }

    /// Takes the links that a path leads through; returns the way.
    fn walk(&mut self, source: &Source, path: &[u8], links: &mut Links<'_>) -> Option<Way> {
        let followed = links.follow(path);
        let sources = self.sources.as_mut()?;
        match followed {
            Ok(way) => {
                sources.plain.extend(way.links.iter().cloned());
                Some(way)
            }
            Err(TooMany) => {
                self.grow(source, "it reads through too many symbolic links".to_owned());
                None
            }
        }
    }

    fn add(&mut self, source: &Source, links: &mut Links<'_>) {
        let (from, _) = match source.shape {
            Shape::Glob => split(&source.path),
            Shape::Plain | Shape::Parents(_) => (&source.path[..], ""),
        };
        let Some(way) = self.walk(source, from.as_bytes(), links) else { return };
        let is_plain = source.shape == Shape::Plain;
        if let (Some(end), Some(sources)) = (way.end.clone(), self.sources.as_mut()) {
            if is_plain && source.exclude.is_empty() {
                if end.is_empty() {
                    let reason = format!("`{}` leads to the whole context", printable(&source.path, 120));
                    return self.grow(source, reason);
                }
                sources.plain.insert(end);
            } else {
                sources.patterns.push(Pattern::new(source, end));
            }
        }
        if is_plain {
            self.ends.push((source.clone(), way));
        }
    }

    /// Follows the links among these entries that sources with wildcards match. Whether there is
    /// more to select because of them is returned: then the context is to be walked once more.
    pub fn follow(&mut self, entries: &[Entry], links: &mut Links<'_>) -> bool {
        let mut more = false;
        for entry in entries.iter().filter(|entry| matches!(entry.kind, EntryKind::Symlink { .. })) {
            let Some(sources) = &self.sources else { return more };
            let path = entry.path.as_bytes();
            if !sources.patterns.iter().any(|pattern| pattern.matches(path)) {
                continue;
            }
            more = true;
            let (end, Some(sources)) = (links.follow(path), self.sources.as_mut()) else { continue };
            match end {
                Ok(way) => {
                    sources.plain.extend(way.links);
                    match way.end {
                        Some(end) if end.is_empty() => {
                            let reason = format!("`{}` is a link to the whole context", entry.path);
                            self.sources = None;
                            self.whole.get_or_insert((reason, 0));
                        }
                        end => sources.plain.extend(end),
                    }
                }
                Err(TooMany) => {
                    self.sources = None;
                    let reason = "it reads through too many symbolic links".to_owned();
                    self.whole.get_or_insert((reason, 0));
                }
            }
        }
        more
    }

    /// The sources without wildcards that no entry answers to.
    pub fn missing(&self, entries: &[Entry]) -> Vec<Missing> {
        let is_there = |path: &[u8]| {
            let at = entries.partition_point(|entry| entry.path.as_bytes() < path);
            let next = &entries[at..];
            let below = |entry: &Entry| is_below(entry.path.as_bytes(), path);
            next.first().is_some_and(|entry| entry.path.as_bytes() == path)
                || next.iter().take_while(|entry| entry.path.as_bytes().starts_with(path)).any(below)
        };
        let missing = |(source, way): &(Source, Way)| {
            let is_missing = !way.end.as_ref().is_some_and(|end| end.is_empty() || is_there(end))
                || !way.links.iter().all(|link| is_there(link));
            let shown = |path: &Vec<u8>| printable(&String::from_utf8_lossy(path), 120);
            let leads = match &way.end {
                _ if way.links.is_empty() => None,
                None => Some("a symbolic link that leads to itself".to_owned()),
                Some(end) => Some(format!("a symbolic link that leads to `{}`", shown(end))),
            };
            is_missing.then(|| Missing { source: source.clone(), leads })
        };
        self.ends.iter().filter_map(missing).collect()
    }

    fn ignores(&self, path: &[u8]) -> bool {
        if self.ignore.is_empty() {
            return false;
        }
        let trails = || self.trails.lock().unwrap_or_else(PoisonError::into_inner);
        let mut trail = take_nearest(&mut trails(), path).unwrap_or_default();
        let ignores = self.ignore.follow(&mut trail, path);
        trails().push(trail);
        ignores
    }

    fn relation(&self, path: &[u8]) -> Relation {
        self.sources.as_ref().map_or(Relation::Inside, |sources| sources.relation(path))
    }
}

/// Takes the trail that has most in common with a path.
fn take_nearest(trails: &mut Vec<Trail>, path: &[u8]) -> Option<Trail> {
    let nearest = (0..trails.len()).max_by_key(|index| trails[*index].common(path))?;
    Some(trails.swap_remove(nearest))
}

impl ContextFilter for Selection {
    fn directory(&self, path: &RelPath) -> Visit {
        let path = path.as_bytes();
        let relation = self.relation(path);
        if relation == Relation::Outside {
            return Visit::Prune;
        }
        if self.ignores(path) {
            return if self.ignore.looks_into_ignored(path) { Visit::Pass } else { Visit::Prune };
        }
        if relation == Relation::Above { Visit::Pass } else { Visit::Take }
    }

    fn leaf(&self, path: &RelPath) -> Visit {
        let path = path.as_bytes();
        match self.relation(path) {
            Relation::Matched | Relation::Inside if !self.ignores(path) => Visit::Take,
            _ => Visit::Pass,
        }
    }
}
