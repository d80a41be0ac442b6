//! How a path of a context relates to what a Dockerfile reads.

use std::collections::BTreeSet;

use crate::inputs::dockerfile::{Shape, Source};
use crate::inputs::dockerignore::Dockerignore;
use crate::inputs::golang;

/// What a Dockerfile reads, so that few sources are looked at for a path.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The paths that are read with all that they hold.
    pub plain: BTreeSet<Vec<u8>>,
    pub patterns: Vec<Pattern>,
}

/// A source of which not all is read.
#[derive(Debug)]
pub(super) struct Pattern {
    /// The directory in which it begins, without links on the way to it.
    pub from: Vec<u8>,
    pub kind: Kind,
    /// What is left out, by its path below a directory that matches.
    exclude: Dockerignore,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// All of it.
    All,
    /// What Go's `filepath.Match` finds, with what it holds. Links that match are followed.
    Glob(Vec<u8>),
    /// What a pattern of `--parents` finds, with what it holds.
    Below { include: Dockerignore, deepest: Option<usize> },
}

/// How a path relates to the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// It lies in a directory that a source matches.
    Inside,
    /// A source matches it.
    Matched,
    /// A source may match something below it.
    Above,
    Outside,
}

impl Sources {
    pub fn relation(&self, path: &[u8]) -> Relation {
        if self.plain.contains(path) {
            return Relation::Matched;
        }
        let mut relation = if above(path).any(|above| self.plain.contains(above)) {
            Relation::Inside
        } else if self.leads_to_plain(path) {
            Relation::Above
        } else {
            Relation::Outside
        };
        for pattern in &self.patterns {
            match pattern.relation(path) {
                Relation::Matched => return Relation::Matched,
                Relation::Inside => relation = Relation::Inside,
                Relation::Above if relation == Relation::Outside => relation = Relation::Above,
                Relation::Above | Relation::Outside => {}
            }
        }
        relation
    }

    fn leads_to_plain(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        self.plain.range(below.clone()..).next().is_some_and(|source| source.starts_with(&below))
    }
}

/// The directories that a path stands in.
pub(super) fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end])
}

/// The directory that a source with wildcards begins in, and the rest of it.
pub(super) fn split(path: &str) -> (&str, &str) {
    let special = |part: &str| part.contains(['*', '?', '[', '\\']);
    let mut at = 0;
    for part in path.split('/') {
        if special(part) {
            break;
        }
        at += part.len() + 1;
    }
    let from = path.get(..at.saturating_sub(1)).unwrap_or(path);
    (from, path.get(at..).unwrap_or_default())
}

impl Pattern {
    /// What a source reads that begins in this directory.
    pub fn new(source: &Source, from: Vec<u8>) -> Self {
        let kind = match &source.shape {
            Shape::Plain => Kind::All,
            Shape::Glob => Kind::Glob(split(&source.path).1.as_bytes().to_vec()),
            Shape::Parents(pattern) => {
                let text = pattern.as_bytes();
                // A class can match a slash, and `**` any number of them.
                let endless = text.contains(&b'[') || text.windows(2).any(|two| two == b"**");
                let deepest = (!endless).then(|| text.split(|byte| *byte == b'/').count());
                Kind::Below { include: Dockerignore::of([pattern]).unwrap_or_default(), deepest }
            }
        };
        // One that cannot be read leaves nothing out.
        Self { from, kind, exclude: Dockerignore::of(&source.exclude).unwrap_or_default() }
    }

    /// Whether it matches this very path, for which a link there is followed.
    pub fn matches(&self, path: &[u8]) -> bool {
        match (&self.kind, self.below(path)) {
            (Kind::Glob(pattern), Some(rest)) => golang::glob(pattern, rest) == Ok(true),
            _ => false,
        }
    }

    /// A path as it is seen from where this begins.
    fn below<'a>(&self, path: &'a [u8]) -> Option<&'a [u8]> {
        match &self.from[..] {
            b"" => Some(path),
            from => path.strip_prefix(from)?.strip_prefix(b"/"),
        }
    }

    pub fn relation(&self, path: &[u8]) -> Relation {
        let Some(rest) = self.below(path) else {
            return match (path == self.from, &self.kind) {
                (true, Kind::All) => Relation::Matched,
                (true, _) => Relation::Above,
                (false, _) if is_below(&self.from, path) => Relation::Above,
                (false, _) => Relation::Outside,
            };
        };
        match &self.kind {
            Kind::All => self.excluded(rest).unwrap_or(Relation::Inside),
            Kind::Glob(pattern) => self.globbed(pattern, rest),
            Kind::Below { include, deepest } => {
                if include.ignores(rest) {
                    return self.excluded(rest).unwrap_or(Relation::Inside);
                }
                let depth = rest.split(|byte| *byte == b'/').count();
                if deepest.is_some_and(|deepest| depth >= deepest) {
                    Relation::Outside
                } else {
                    self.excluded(rest).unwrap_or(Relation::Above)
                }
            }
        }
    }

    /// How a path relates that is left out; nothing if it is not.
    fn excluded(&self, path: &[u8]) -> Option<Relation> {
        let is_excluded = !self.exclude.is_empty() && self.exclude.ignores(path);
        is_excluded.then(|| match self.exclude.looks_into_ignored(path) {
            true => Relation::Above,
            false => Relation::Outside,
        })
    }

    fn globbed(&self, pattern: &[u8], path: &[u8]) -> Relation {
        let matches = |path: &[u8]| golang::glob(pattern, path) == Ok(true);
        if matches(path) {
            return Relation::Matched;
        }
        if let Some(matched) = above(path).find(|above| matches(above)) {
            return self.excluded(&path[matched.len() + 1..]).unwrap_or(Relation::Inside);
        }
        // A class such as [^a] matches a slash in Go, so parts cannot be compared one by one.
        if pattern.contains(&b'[') {
            return Relation::Above;
        }
        let parts = pattern.split(|byte| *byte == b'/');
        let depth = path.split(|byte| *byte == b'/').count();
        let shorter = depth < parts.clone().count();
        let fits = parts
            .zip(path.split(|byte| *byte == b'/'))
            .all(|(part, name)| golang::glob(part, name) == Ok(true));
        if shorter && fits { Relation::Above } else { Relation::Outside }
    }
}

/// Whether `path` lies strictly below `directory`.
pub(super) fn is_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
}
