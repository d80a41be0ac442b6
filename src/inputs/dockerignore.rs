//! `.dockerignore`: what the docker CLI leaves out of a context.
//!
//! Reading follows moby/patternmatcher `ignorefile.ReadAll`; deciding follows
//! `MatchesUsingParentResults` as fsutil's walker calls it, directory by directory. The
//! Dockerfile and the `.dockerignore` get no special treatment, as with BuildKit.

use super::golang;
use super::pattern::Pattern;
use crate::model::{ErrorKind, Explained, Explanation, printable};

/// A parsed `.dockerignore`. The default one ignores nothing.
#[derive(Debug, Clone, Default)]
pub struct Dockerignore {
    patterns: Vec<Pattern>,
}

/// What was found out about a path and the directories that it stands in.
#[derive(Debug, Default)]
pub(super) struct Trail {
    path: Vec<u8>,
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    /// Where this directory's name ends in the path.
    end: usize,
    /// Which patterns match it or what it stands in.
    inherited: Vec<bool>,
    ignored: bool,
}

/// Why a `.dockerignore` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerignoreError {
    /// A pattern that Docker refuses as well.
    #[error("{file}:{line}:{column}: `{pattern}` is not a valid pattern")]
    Pattern {
        file: String,
        /// Its line, from 1.
        line: u32,
        /// Its column, from 1.
        column: u32,
        /// The pattern, made printable.
        pattern: String,
    },
    /// More than is held against each path of a context.
    #[error("{file}:{line}: more than {limit}")]
    Limit {
        file: String,
        /// Its line, from 1.
        line: u32,
        /// How much, fit to follow "more than".
        limit: String,
    },
}

impl Explained for DockerignoreError {
    fn explain(&self) -> Explanation<'_> {
        let (Self::Pattern { file, line, .. } | Self::Limit { file, line, .. }) = self;
        ErrorKind::Usage.at(file, *line)
    }
}

/// How many patterns a file may have. Each is held against each path.
const PATTERNS: usize = 10_000;
/// How many of them may be more than a name, a prefix or a suffix.
const WILDCARDS: usize = 1_000;
/// The longest pattern, in bytes; no path is as long.
const LONGEST: usize = 4096;

impl Trail {
    /// How many bytes at their start the last path that was asked for and this one share.
    pub fn common(&self, path: &[u8]) -> usize {
        path.iter().zip(&self.path).take_while(|(a, b)| a == b).count()
    }
}

impl Dockerignore {
    /// Reads a file's bytes; `file` is its name in errors.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, DockerignoreError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let (mut patterns, mut wildcards) = (Vec::new(), 0);
        for (line, raw) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let text = golang::trim_space(raw);
            if raw.starts_with(b"#") || text.is_empty() {
                continue;
            }
            let most = |is_more: bool, limit: String| match is_more {
                true => Err(DockerignoreError::Limit { file: file.to_owned(), line, limit }),
                false => Ok(()),
            };
            most(text.len() > LONGEST, format!("{LONGEST} bytes in a pattern"))?;
            most(patterns.len() == PATTERNS, format!("{PATTERNS} patterns"))?;
            let compiled = pattern(&read_line(text));
            wildcards += usize::from(compiled.as_ref().is_some_and(Pattern::is_expression));
            most(wildcards > WILDCARDS, format!("{WILDCARDS} patterns with wildcards"))?;
            let indent = raw.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            patterns.push(compiled.ok_or_else(|| DockerignoreError::Pattern {
                file: file.to_owned(),
                line,
                column: u32::try_from(indent + 1).unwrap_or(u32::MAX),
                pattern: printable(&String::from_utf8_lossy(text), 120),
            })?);
        }
        Ok(Self { patterns })
    }

    /// Patterns as an instruction gives them; nothing if one of them cannot be used.
    pub(super) fn of<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Option<Self> {
        let patterns = texts.into_iter().map(|text| pattern(text.as_ref().as_bytes()));
        Some(Self { patterns: patterns.collect::<Option<_>>()? })
    }

    /// Whether it ignores nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether Docker leaves this path out of the context.
    pub fn ignores(&self, path: &[u8]) -> bool {
        self.follow(&mut Trail::default(), path)
    }

    /// The same for one path after another of a walk: what was found out about the directories
    /// that a path shares with the one before it is used again.
    pub(super) fn follow(&self, trail: &mut Trail, path: &[u8]) -> bool {
        let common = trail.common(path);
        let shared = |end: usize| end <= common && path.get(end).is_none_or(|byte| *byte == b'/');
        while trail.levels.pop_if(|level| !shared(level.end)).is_some() {}
        trail.path = path.to_vec();
        let known = trail.levels.last().map_or(0, |level| level.end);
        let ends = (known + 1..path.len()).filter(|end| path[*end] == b'/');
        for end in ends.chain((known < path.len()).then_some(path.len())) {
            let mut inherited = trail
                .levels
                .last()
                .map_or_else(|| vec![false; self.patterns.len()], |level| level.inherited.clone());
            let mut ignored = false;
            for (pattern, inherited) in self.patterns.iter().zip(&mut inherited) {
                if !*inherited {
                    // A pattern that cannot change the outcome is not evaluated, and so is
                    // not inherited either: moby's rule, visible when patterns overlap.
                    *inherited = pattern.exception == ignored && pattern.matches(&path[..end]);
                }
                if *inherited {
                    ignored = !pattern.exception;
                }
            }
            trail.levels.push(Level { end, inherited, ignored });
        }
        trail.levels.last().is_some_and(|level| level.ignored)
    }

    /// Whether Docker looks into a directory that it leaves out, because an exception could
    /// match something below (fsutil, `filterFS.Walk`).
    pub fn looks_into_ignored(&self, directory: &[u8]) -> bool {
        let exceptions = || self.patterns.iter().filter(|pattern| pattern.exception);
        let globbed =
            |pattern: &Pattern| pattern.without_trailing_glob().iter().any(|byte| b"*[]?^\\".contains(byte));
        exceptions().any(globbed)
            || exceptions().any(|pattern| {
                let below = pattern.without_trailing_glob();
                below == directory || below.strip_prefix(directory).is_some_and(|rest| rest.starts_with(b"/"))
            })
    }
}

/// What `ReadAll` makes of a line: a clean path without a leading slash, `!` before it.
fn read_line(text: &[u8]) -> Vec<u8> {
    let (mark, path): (&[u8], _) = match text.strip_prefix(b"!") {
        Some(rest) => (b"!", golang::trim_space(rest)),
        None => (b"", text),
    };
    let mut cleaned = if path.is_empty() { Vec::new() } else { golang::clean(path) };
    if cleaned.len() > 1 && cleaned[0] == b'/' {
        cleaned.remove(0);
    }
    [mark, &cleaned].concat()
}

/// What `patternmatcher.New` makes of that: it looks for the `!` itself, so that one which
/// only a leading slash hid counts as well.
fn pattern(text: &[u8]) -> Option<Pattern> {
    let cleaned = golang::clean(golang::trim_space(text));
    match cleaned.strip_prefix(b"!") {
        Some(b"") => None,
        Some(path) => Pattern::new(path.to_vec(), true).ok(),
        None => Pattern::new(cleaned, false).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Dockerignore {
        Dockerignore::parse(".dockerignore", text).unwrap()
    }

    #[test]
    fn ignores_what_docker_ignores() {
        for (file, path, expect) in [
            ("", "a", false),
            ("a", "a/b/c", true),
            ("/a/", "a/b", true),
            ("./a/../b", "b", true),
            ("a", "x/a", false),
            ("**/a", "x/a/y", true),
            ("*\n!keep", "keep/x", false),
            ("*\n!keep", "other/x", true),
            ("*\n!keep\nkeep/no", "keep/no/x", true),
            ("*\n!keep/x", "keep/x", false),
            ("*\n!keep/x", "keep/y", true),
            ("*\n!keep/x", "keep", true),
            ("a\n!a/b\na/b/c", "a/b/c", true),
            ("a\n!a/b\na/b/c", "a/b/d", false),
            ("!a\na", "a", true),
            ("*.md\n!README*.md\nREADME-secret.md", "README.md", false),
            ("*.md\n!README*.md\nREADME-secret.md", "README-secret.md", true),
            ("*.md\nREADME-secret.md\n!README*.md", "README-secret.md", false),
            (" # no comment\n", "# no comment", true),
            ("# comment\n", "# comment", false),
            ("\u{feff}a\r\nb\r\n", "a", true),
            ("\u{feff}a\r\nb\r\n", "b", true),
            ("! a", "a", false),
            ("a\n/!a", "a", false),
            ("!!a", "!a", false),
            ("\\!a", "!a", true),
            ("a\n! a/b", "a/b", false),
            ("*/temp*", "x/temporary/file", true),
            ("*/*/temp*", "x/temporary", false),
            (".", "a", false),
            ("/", "a", false),
            ("..", "a", false),
            ("Dockerfile\n.dockerignore", "Dockerfile", true),
            ("d/*\n!d/keep", "d", false),
        ] {
            assert_eq!(parse(file.as_bytes()).ignores(path.as_bytes()), expect, "{file:?} {path}");
        }
    }

    #[test]
    fn an_exception_that_the_parent_skipped_is_asked_again() {
        // `!a/*` cannot change the outcome for `a` itself, so it is first asked for `a/b`;
        // from there everything below inherits it.
        let ignore = parse(b"a\n!a/*");
        assert!(!ignore.ignores(b"a/b"));
        assert!(!ignore.ignores(b"a/b/c"));
        assert!(ignore.ignores(b"a"));
    }

    #[test]
    fn looks_into_directories_where_an_exception_can_match() {
        for (file, directory, expect) in [
            ("a", "a", false),
            ("a\n!a/b/c", "a", true),
            ("a\n!a/b/c", "a/b", true),
            ("a\n!a/b/c", "a/x", false),
            ("a\n!a/b/*", "a/b", true),
            ("a\n!a/b/**", "a/b", true),
            ("a\nb\n!a/b", "b", false),
            ("a\n!ab/c", "a", false),
            ("a\n!**/x", "a/z", true),
            ("a\n!*.md", "a/z", true),
        ] {
            assert_eq!(parse(file.as_bytes()).looks_into_ignored(directory.as_bytes()), expect, "{file:?}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named_with_its_place() {
        let error = Dockerignore::parse("x/.dockerignore", b"ok\n  a[\n").unwrap_err();
        assert_eq!(error.to_string(), "x/.dockerignore:2:3: `a[` is not a valid pattern");
        assert!(Dockerignore::parse("f", b"!\n").is_err());
        assert!(Dockerignore::parse("f", b"! \n").is_err());
        assert!(Dockerignore::parse("f", b"!/.\n").is_err());
    }

    #[test]
    fn names_that_are_no_text_match_as_bytes() {
        assert!(parse(b"a\xff").ignores(b"a\xff/b"));
        assert!(!parse(b"a\xff").ignores(b"a\xfe"));
        assert!(parse(b"a?").ignores(b"a\xfe"));
    }

    #[test]
    fn docker_left_out_the_same() {
        let recorded = include_str!("../../testdata/dockerfiles/ignore-recorded.json");
        let recorded: serde_json::Value = serde_json::from_str(recorded).unwrap();
        let texts = |value: &serde_json::Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let tree = texts(&recorded["tree"]);
        let cases = recorded["cases"].as_array().unwrap();
        assert!(cases.len() >= 100);
        for case in cases {
            let file = case["ignore"].as_str().unwrap();
            let Ok(ignore) = Dockerignore::parse("i", file.as_bytes()) else {
                assert!(case.get("refused").is_some(), "{file:?}");
                continue;
            };
            assert!(case.get("refused").is_none(), "{file:?}");
            let mut closed: Vec<&str> = Vec::new();
            let mut left_out = Vec::new();
            for path in &tree {
                let name = path.trim_end_matches('/');
                if closed.iter().any(|closed| path.starts_with(closed)) || ignore.ignores(name.as_bytes()) {
                    left_out.push(name.to_owned());
                    if path.ends_with('/') && !ignore.looks_into_ignored(name.as_bytes()) {
                        closed.push(path);
                    }
                }
            }
            left_out.sort();
            assert_eq!(left_out, texts(&case["left_out"]), "{file:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_walk_finds_what_single_questions_find(file in "([!a-b*/]{0,6}\n){0,4}", mut paths in proptest::collection::vec("[ab]{1,2}(/[ab]{1,2}){0,3}", 1..12), sorted: bool) {
            if let Ok(ignore) = Dockerignore::parse("f", file.as_bytes()) {
                if sorted {
                    paths.sort();
                }
                let mut trail = Trail::default();
                for path in paths {
                    proptest::prop_assert_eq!(ignore.follow(&mut trail, path.as_bytes()), ignore.ignores(path.as_bytes()), "{}", path);
                }
            }
        }

        #[test]
        fn never_panics(file in proptest::collection::vec(proptest::num::u8::ANY, 0..60), path in "[a-c/*!\\[\\]\\\\^-]{1,12}") {
            if let Ok(ignore) = Dockerignore::parse("f", &file) {
                ignore.ignores(path.as_bytes());
                ignore.looks_into_ignored(path.as_bytes());
            }
            if let Ok(ignore) = Dockerignore::parse("f", path.as_bytes()) {
                ignore.ignores(&file);
            }
        }
    }
}
