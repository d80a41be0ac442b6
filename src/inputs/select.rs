//! Which context entries the sources of a Dockerfile can read.
//!
//! The answer is a filter for a context walk: exactly what `COPY`, `ADD` and bind mounts
//! match, after `.dockerignore`. A symbolic link on the way to a source asks for the whole
//! context, because BuildKit follows it and what it points to decides what is read.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use super::dockerfile::{Reads, Source};
use super::dockerignore::{Dockerignore, Trail};
use super::golang;
use crate::model::{Entry, RelPath};
use crate::port::{ContextFilter, Visit};

/// A filter for a context walk.
#[derive(Debug)]
pub struct Selection {
    sources: Option<Sources>,
    ignore: Dockerignore,
    /// What was found out on the way, one for each thread that walks. They make a walk quick;
    /// no answer depends on what was asked before.
    trails: Mutex<Vec<Trail>>,
}

/// What a Dockerfile reads, so that few sources are looked at for a path.
#[derive(Debug)]
struct Sources {
    all: Vec<Source>,
    /// The paths without wildcards.
    plain: BTreeSet<Vec<u8>>,
    globs: Vec<Glob>,
}

/// A source with wildcards.
#[derive(Debug)]
struct Glob {
    pattern: Vec<u8>,
    /// The components before the first one with a wildcard.
    plain: Vec<u8>,
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
            Reads::Nothing => Some(Sources::new(&[])),
            Reads::Some(sources) => Some(Sources::new(sources)),
            Reads::Whole { .. } => None,
        };
        Self { sources, ignore, trails: Mutex::default() }
    }

    /// Makes the filter for everything that `.dockerignore` leaves; to be used after
    /// [`Visit::Widen`]. It never widens itself.
    pub fn whole(ignore: Dockerignore) -> Self {
        Self { sources: None, ignore, trails: Mutex::default() }
    }

    /// The sources without wildcards that no entry answers to: the build would fail on them.
    pub fn missing<'a>(&'a self, entries: &[Entry]) -> Vec<&'a Source> {
        let all = self.sources.iter().flat_map(|sources| &sources.all);
        let sources = all.filter(|source| !source.glob);
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

    /// The first source that a symbolic link is on the way to, or is itself.
    pub fn through(&self, link: &RelPath) -> Option<&Source> {
        let link = link.as_bytes();
        let all = &self.sources.as_ref()?.all;
        all.iter().find(|source| {
            let path = source.path.as_bytes();
            let is_glob = || matches!(Glob::new(path).relation(link), Relation::Matched | Relation::Above);
            if source.glob { is_glob() } else { path == link || is_below(path, link) }
        })
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

    /// Whether a source lies strictly below a path; a link there is followed.
    fn leads_on(&self, path: &[u8]) -> bool {
        self.sources.as_ref().is_some_and(|sources| sources.lead_on(path))
    }
}

/// Takes the trail that has most in common with a path.
fn take_nearest(trails: &mut Vec<Trail>, path: &[u8]) -> Option<Trail> {
    let nearest = (0..trails.len()).max_by_key(|index| trails[*index].common(path))?;
    Some(trails.swap_remove(nearest))
}

impl Sources {
    fn new(sources: &[Source]) -> Self {
        let (globs, plain): (Vec<&Source>, Vec<&Source>) = sources.iter().partition(|source| source.glob);
        Self {
            all: sources.to_vec(),
            plain: plain.into_iter().map(|source| source.path.clone().into_bytes()).collect(),
            globs: globs.into_iter().map(|source| Glob::new(source.path.as_bytes())).collect(),
        }
    }

    /// Several sources can name a path; being one outweighs lying in one, because a link that
    /// is a source itself is followed.
    fn relation(&self, path: &[u8]) -> Relation {
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
        for glob in &self.globs {
            match glob.relation(path) {
                Relation::Matched => return Relation::Matched,
                Relation::Inside => relation = Relation::Inside,
                Relation::Above if relation == Relation::Outside => relation = Relation::Above,
                Relation::Above | Relation::Outside => {}
            }
        }
        relation
    }

    fn lead_on(&self, path: &[u8]) -> bool {
        self.leads_to_plain(path) || self.globs.iter().any(|glob| glob.relation(path) == Relation::Above)
    }

    fn leads_to_plain(&self, path: &[u8]) -> bool {
        let below = [path, b"/"].concat();
        self.plain.range(below.clone()..).next().is_some_and(|source| source.starts_with(&below))
    }
}

/// The directories that a path stands in.
fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| &path[..end])
}

impl Glob {
    fn new(pattern: &[u8]) -> Self {
        let mut plain: Vec<&[u8]> = pattern.split(|byte| *byte == b'/').collect();
        // The last component is what a match ends with, so it is never on the way to one.
        plain.pop();
        let special = |part: &&[u8]| part.iter().any(|byte| b"*?[\\".contains(byte));
        plain.truncate(plain.iter().position(special).unwrap_or(plain.len()));
        Self { pattern: pattern.to_vec(), plain: plain.join(&b'/') }
    }

    /// How a path relates to this source.
    fn relation(&self, path: &[u8]) -> Relation {
        let Self { pattern, plain } = self;
        let towards = plain.is_empty() || is_below(path, plain);
        if !towards {
            // Only a directory on the way to the first wildcard can be of use.
            return if path == plain || is_below(plain, path) { Relation::Above } else { Relation::Outside };
        }
        let matches = |path: &[u8]| golang::glob(pattern, path) == Ok(true);
        if matches(path) {
            return Relation::Matched;
        }
        if above(path).any(matches) {
            return Relation::Inside;
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
    use crate::inputs::At;

    fn source(path: &str) -> Source {
        Source { path: path.to_owned(), glob: path.contains(['*', '?', '[']), at: At::default() }
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

    /// The relation to one source, by its definition.
    fn of(source: &Source, path: &[u8]) -> Relation {
        let pattern = source.path.as_bytes();
        let matches = |path: &[u8]| {
            if source.glob { golang::glob(pattern, path) == Ok(true) } else { path == pattern }
        };
        let fits = |(part, name): (&[u8], &[u8])| {
            if source.glob { golang::glob(part, name) == Ok(true) } else { part == name }
        };
        let parts = || pattern.split(|byte| *byte == b'/');
        let names = || path.split(|byte| *byte == b'/');
        if matches(path) {
            Relation::Matched
        } else if above(path).any(matches) {
            Relation::Inside
        } else if names().count() < parts().count() && parts().zip(names()).all(fits) {
            Relation::Above
        } else {
            Relation::Outside
        }
    }

    proptest::proptest! {
        #[test]
        fn many_sources_are_as_each_alone(
            sources in proptest::collection::vec("[ab*?-]{1,2}(/[ab*?-]{1,2}){0,2}", 0..5),
            paths in proptest::collection::vec("[ab-]{1,2}(/[ab-]{1,2}){0,3}", 1..12),
        ) {
            let all: Vec<Source> = sources.iter().map(|path| source(path)).collect();
            let quick = Sources::new(&all);
            for path in paths {
                let each: Vec<Relation> = all.iter().map(|source| of(source, path.as_bytes())).collect();
                let order = [Relation::Matched, Relation::Inside, Relation::Above];
                let expect = order.into_iter().find(|relation| each.contains(relation));
                proptest::prop_assert_eq!(quick.relation(path.as_bytes()), expect.unwrap_or(Relation::Outside), "{}", path);
                proptest::prop_assert_eq!(quick.lead_on(path.as_bytes()), each.contains(&Relation::Above), "{}", path);
            }
        }
    }
}
