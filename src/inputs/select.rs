//! Which context entries the sources of a Dockerfile can read.
//!
//! The answer is a filter for a context walk: exactly what `COPY`, `ADD` and bind mounts
//! match, after `.dockerignore`. A symbolic link on the way to a source asks for the whole
//! context, because BuildKit follows it and what it points to decides what is read.

use std::sync::{Mutex, PoisonError};

use super::dockerfile::{Reads, Source};
use super::dockerignore::{Dockerignore, Trail};
use super::golang;
use crate::model::{Entry, RelPath};
use crate::port::{ContextFilter, Visit};

/// A filter for a context walk.
#[derive(Debug)]
pub struct Selection {
    sources: Option<Vec<Source>>,
    ignore: Dockerignore,
    /// Makes a walk quick; no answer depends on what was asked before.
    trail: Mutex<Trail>,
}

/// How a path relates to the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// It lies in a directory that a source matches.
    Inside,
    /// A source matches it.
    Matched,
    /// A source may match something below it.
    Above,
    Outside,
}

impl Selection {
    /// Makes the filter for what a Dockerfile reads.
    pub fn new(reads: &Reads, ignore: Dockerignore) -> Self {
        let sources = match reads {
            Reads::Nothing => Some(Vec::new()),
            Reads::Some(sources) => Some(sources.clone()),
            Reads::Whole { .. } => None,
        };
        Self { sources, ignore, trail: Mutex::default() }
    }

    /// Makes the filter for everything that `.dockerignore` leaves; to be used after
    /// [`Visit::Widen`]. It never widens itself.
    pub fn whole(ignore: Dockerignore) -> Self {
        Self { sources: None, ignore, trail: Mutex::default() }
    }

    /// The sources without wildcards that no entry answers to: the build would fail on them.
    pub fn missing<'a>(&'a self, entries: &[Entry]) -> Vec<&'a Source> {
        let sources = self.sources.iter().flatten().filter(|source| !source.glob);
        sources
            .filter(|source| {
                let path = source.path.as_bytes();
                let at = entries.partition_point(|entry| entry.path.as_bytes() < path);
                let next = &entries[at..];
                let below = |entry: &Entry| is_below(entry.path.as_bytes(), path);
                !(next.first().is_some_and(|entry| entry.path.as_bytes() == path)
                    || next.iter().take_while(|entry| entry.path.as_bytes().starts_with(path)).any(below))
            })
            .collect()
    }

    fn ignores(&self, path: &[u8]) -> bool {
        let mut trail = self.trail.lock().unwrap_or_else(PoisonError::into_inner);
        self.ignore.follow(&mut trail, path)
    }

    fn relation(&self, path: &[u8]) -> Relation {
        let Some(sources) = &self.sources else { return Relation::Inside };
        let mut relation = Relation::Outside;
        for source in sources {
            match of(source, path) {
                // Several sources can name a path; being one outweighs lying in one,
                // because a link that is a source itself is followed.
                Relation::Matched => return Relation::Matched,
                Relation::Inside => relation = Relation::Inside,
                Relation::Above if relation == Relation::Outside => relation = Relation::Above,
                Relation::Above | Relation::Outside => {}
            }
        }
        relation
    }

    /// Whether a source lies strictly below a path; a link there is followed.
    fn leads_on(&self, path: &[u8]) -> bool {
        self.sources.iter().flatten().any(|source| of(source, path) == Relation::Above)
    }
}

/// How a path relates to one source.
fn of(source: &Source, path: &[u8]) -> Relation {
    let pattern = source.path.as_bytes();
    if !source.glob {
        return match path {
            _ if path == pattern => Relation::Matched,
            _ if is_below(path, pattern) => Relation::Inside,
            _ if is_below(pattern, path) => Relation::Above,
            _ => Relation::Outside,
        };
    }
    let matches = |path: &[u8]| golang::glob(pattern, path) == Ok(true);
    if matches(path) {
        return Relation::Matched;
    }
    let mut ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
    if ends.any(|end| matches(&path[..end])) {
        return Relation::Inside;
    }
    // A class such as [^a] matches a slash in Go, so parts cannot be compared one by one.
    let plain: Vec<&[u8]> = pattern
        .split(|byte| *byte == b'/')
        .take_while(|part| !part.iter().any(|byte| b"*?[".contains(byte)))
        .collect();
    let plain = plain.join(&b'/');
    if pattern.contains(&b'[') {
        let towards = plain.is_empty() || path == plain || is_below(path, &plain) || is_below(&plain, path);
        return if towards { Relation::Above } else { Relation::Outside };
    }
    let parts = pattern.split(|byte| *byte == b'/');
    let depth = path.split(|byte| *byte == b'/').count();
    let shorter = depth < parts.clone().count();
    let fits =
        parts.zip(path.split(|byte| *byte == b'/')).all(|(part, name)| golang::glob(part, name) == Ok(true));
    if shorter && fits { Relation::Above } else { Relation::Outside }
}

/// Whether `path` lies strictly below `directory`.
fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
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

    fn leaf(&self, path: &RelPath, is_symlink: bool) -> Visit {
        let path = path.as_bytes();
        let relation = self.relation(path);
        if relation == Relation::Outside || self.ignores(path) {
            return Visit::Pass;
        }
        if is_symlink && (relation == Relation::Matched || self.leads_on(path)) {
            return Visit::Widen;
        }
        if relation == Relation::Above { Visit::Pass } else { Visit::Take }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str) -> Source {
        Source { path: path.to_owned(), glob: path.contains(['*', '?', '[']), line: 1 }
    }

    fn selection(sources: &[&str], ignore: &str) -> Selection {
        let reads = Reads::Some(sources.iter().map(|path| source(path)).collect());
        Selection::new(&reads, Dockerignore::parse("i", ignore.as_bytes()).unwrap())
    }

    fn path(text: &str) -> RelPath {
        RelPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn directories() {
        for (sources, ignore, directory, expect) in [
            (&["a/b"][..], "", "a", Visit::Pass),
            (&["a/b"], "", "a/b", Visit::Take),
            (&["a/b"], "", "a/b/c", Visit::Take),
            (&["a/b"], "", "a/bc", Visit::Prune),
            (&["a/b"], "", "x", Visit::Prune),
            (&[], "", "x", Visit::Prune),
            (&["a/*/c"], "", "a/x", Visit::Pass),
            (&["a/*/c"], "", "a/x/c", Visit::Take),
            (&["a/*/c"], "", "a/x/d", Visit::Prune),
            (&["*.d"], "", "x.d/y", Visit::Take),
            (&["[^a]x/y"], "", "bx", Visit::Pass),
            (&["p/[a-z]"], "", "q", Visit::Prune),
            (&["a"], "a", "a", Visit::Prune),
            (&["a"], "a\n!a/b", "a", Visit::Pass),
            (&["a"], "a\n!a/b", "a/b", Visit::Take),
            (&["a"], "a\n!a/b", "a/c", Visit::Prune),
            (&["a/b"], "a", "a", Visit::Prune),
        ] {
            assert_eq!(
                selection(sources, ignore).directory(&path(directory)),
                expect,
                "{sources:?} {directory}"
            );
        }
    }

    #[test]
    fn leaves() {
        for (sources, ignore, leaf, symlink, expect) in [
            (&["a/b"][..], "", "a/b", false, Visit::Take),
            (&["a/b"], "", "a/b/c", false, Visit::Take),
            (&["a/b"], "", "a/bc", false, Visit::Pass),
            (&["a/b"], "", "a", false, Visit::Pass),
            (&["a/b"], "", "a", true, Visit::Widen),
            (&["a/b"], "", "a/b", true, Visit::Widen),
            (&["a/b"], "", "a/b/c", true, Visit::Take),
            (&["a", "a/b"], "", "a/b", true, Visit::Widen),
            (&["a", "a/b/c"], "", "a/b", true, Visit::Widen),
            (&["a/b"], "a/b", "a/b", true, Visit::Pass),
            (&["*.rs"], "", "x.rs", false, Visit::Take),
            (&["*.rs"], "", "x.rs", true, Visit::Widen),
            (&["*.rs"], "", "d/x.rs", false, Visit::Pass),
            (&["a"], "**/*.log", "a/x.log", false, Visit::Pass),
            (&["*/x"], "", "d", true, Visit::Widen),
            (&["arr[[]0].txt"], "", "arr[0].txt", false, Visit::Take),
        ] {
            assert_eq!(selection(sources, ignore).leaf(&path(leaf), symlink), expect, "{sources:?} {leaf}");
        }
    }

    #[test]
    fn the_whole_context_takes_links_as_they_are() {
        let whole = Selection::whole(Dockerignore::parse("i", b"x").unwrap());
        assert_eq!(whole.leaf(&path("a"), true), Visit::Take);
        assert_eq!(whole.leaf(&path("x"), true), Visit::Pass);
        assert_eq!(whole.directory(&path("a")), Visit::Take);
    }

    #[test]
    fn sources_without_an_entry_are_missing() {
        let entry = |text: &str| Entry { path: path(text), kind: crate::model::EntryKind::Directory };
        let entries = [entry("a-b"), entry("a/x"), entry("c")];
        let selection = selection(&["a", "c", "b", "*.nope", "a/y"], "");
        let missing: Vec<_> =
            selection.missing(&entries).into_iter().map(|source| source.path.as_str()).collect();
        assert_eq!(missing, ["b", "a/y"]);
    }
}
