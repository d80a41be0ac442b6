//! What an instruction can read from the build context.

use super::at::At;
use super::error::DockerfileError;
use super::instruction::Instruction;
use super::mount::{self, Kind};
use super::scope::Scope;
use super::source::DockerfileSource;
use super::{lines, unknown};
use crate::inputs::golang;

/// How many sources are told apart, and how many with wildcards: each is held against each file.
const SOURCES: usize = 10_000;
const GLOBS: usize = 1_000;
/// The longest path that a system has.
const PATH: usize = 4096;

/// What the reachable stages can read from the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reads {
    /// Nothing: an empty context is enough.
    Nothing,
    /// What these sources match.
    Some(Vec<Source>),
    /// Everything that `.dockerignore` leaves.
    Whole {
        /// Why, as a lower-case fragment.
        reason: String,
        /// The line that decides it.
        line: u32,
        /// Whether an instruction names all of it; otherwise it is not known what is read.
        named: bool,
    },
}

/// One path or pattern that an instruction reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// Cleaned, relative to the context.
    pub path: String,
    /// What is read at the path.
    pub shape: Shape,
    /// What is left out, by patterns of `--exclude` and the path below a directory that is read.
    pub exclude: Vec<String>,
    /// Where it is named.
    pub at: At,
}

/// What a source reads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// What stands there, with what it holds; a link is followed.
    Plain,
    /// What matches: the path is a pattern of Go's `filepath.Match`.
    Glob,
    /// What this pattern of `--parents` matches below the path.
    Parents(String),
}

/// A source that is not in the context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub text: String,
    pub checksum: bool,
    pub at: At,
}

/// Collects what instructions read.
#[derive(Debug, Default)]
pub(super) struct Collector {
    sources: Vec<Source>,
    whole: Option<(String, u32)>,
    named: bool,
    pub remotes: Vec<(u32, Remote)>,
}

impl Collector {
    pub fn finish(mut self) -> Reads {
        self.sources.sort();
        self.sources.dedup_by(|a, b| (&a.path, &a.shape, &a.exclude) == (&b.path, &b.shape, &b.exclude));
        let patterns = |source: &Source| usize::from(source.shape != Shape::Plain) + source.exclude.len();
        let globs: usize = self.sources.iter().map(patterns).sum();
        if self.sources.len() > SOURCES || globs > GLOBS {
            let line = self.sources.first().map_or(1, |source| source.at.line);
            self.whole(line, format!("it names more than {SOURCES} sources, or {GLOBS} with wildcards"));
        }
        match self.whole {
            Some((reason, line)) => Reads::Whole { reason, line, named: self.named },
            None if self.sources.is_empty() => Reads::Nothing,
            None => Reads::Some(self.sources),
        }
    }

    /// Gives up: everything can be read.
    pub fn whole(&mut self, line: u32, reason: impl Into<String>) {
        if self.whole.is_none() {
            self.whole = Some((reason.into(), line));
        }
    }

    /// Takes over what a parent's trigger reads, which `place` names. Whatever it fetches is
    /// the parent's to remark on.
    pub fn take(&mut self, other: Self, line: u32, place: &str) {
        self.sources.extend(other.sources);
        self.named |= other.named;
        if let Some((reason, _)) = other.whole {
            self.whole(line, format!("{place}: {reason}"));
        }
    }

    /// Adds what one instruction reads.
    pub fn add(
        &mut self,
        source: &DockerfileSource,
        instruction: &Instruction,
        scope: &Scope,
        escape: char,
    ) -> Result<(), DockerfileError> {
        if let Some(part) = unknown::part(source, instruction)? {
            self.whole(instruction.line, format!("nothing is known about {part}"));
            // What it names of the context is not known either.
            let mut known = Self::default();
            known.read(source, instruction, scope, escape)?;
            self.sources.extend(known.sources);
            self.remotes.extend(known.remotes);
            return Ok(());
        }
        self.read(source, instruction, scope, escape)
    }

    fn read(
        &mut self,
        source: &DockerfileSource,
        instruction: &Instruction,
        scope: &Scope,
        escape: char,
    ) -> Result<(), DockerfileError> {
        let syntax = |reason: String| DockerfileError::Syntax { at: source.at(instruction.start), reason };
        match instruction.keyword {
            "COPY" if instruction.flag("from").is_some_and(|flag| !flag.value.is_empty()) => Ok(()),
            "COPY" | "ADD" => self.copy(source, instruction, scope, escape).map_err(syntax),
            "RUN" => {
                for flag in instruction.flags.iter().filter(|flag| flag.name == "mount") {
                    let mount = mount::read(source, instruction, flag)?;
                    if mount.kind == Kind::Bind && mount.from.is_none() {
                        let written = mount.source.as_deref().unwrap_or_default();
                        let at = source.at(instruction.logical.offset(flag.raw.start));
                        self.path(instruction, (written, at), scope, escape, (Form::Mount, &[]))
                            .map_err(syntax)?;
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn copy(
        &mut self,
        source: &DockerfileSource,
        instruction: &Instruction,
        scope: &Scope,
        escape: char,
    ) -> Result<(), String> {
        // Where each word begins; those of a JSON array are not told apart.
        let words: Vec<(String, usize)> = match &instruction.json {
            Some(words) => words.iter().map(|word| (word.clone(), instruction.args.start)).collect(),
            None => instruction
                .words()
                .into_iter()
                .map(|word| (instruction.logical.text[word.clone()].to_owned(), word.start))
                .collect(),
        };
        let Some((_, sources)) = words.split_last().filter(|(_, sources)| !sources.is_empty()) else {
            return Err(format!("{} requires at least one source and a destination", instruction.keyword));
        };
        let parents = match instruction.flag("parents").map(|flag| flag.value.to_lowercase()).as_deref() {
            None | Some("false") => false,
            Some("" | "true") => true,
            Some(_) => {
                self.whole(instruction.line, "--parents is neither true nor false");
                return Ok(());
            }
        };
        let form = if parents { Form::Parents } else { Form::Copy };
        let exclude = excluded(instruction);
        for (word, start) in sources {
            let at = source.at(instruction.logical.offset(*start));
            let inline = instruction.json.is_none()
                && lines::heredoc_word(word).is_some_and(|announced| {
                    instruction.heredocs.iter().any(|heredoc| heredoc.name == announced.name)
                });
            if !inline {
                self.path(instruction, (word, at), scope, escape, (form, &exclude))?;
            }
        }
        Ok(())
    }

    fn path(
        &mut self,
        instruction: &Instruction,
        (word, at): (&str, At),
        scope: &Scope,
        escape: char,
        (form, exclude): (Form, &[String]),
    ) -> Result<(), String> {
        let line = instruction.line;
        let expansion = scope.expand(escape, word)?;
        if let Some(variable) = expansion.unknown {
            self.whole(line, format!("`{word}` depends on `{variable}`, which only the build knows"));
            return Ok(());
        }
        let text = expansion.text;
        if instruction.keyword == "ADD" && is_remote(&text) {
            let checksum = instruction.flag("checksum").is_some_and(|flag| !flag.value.is_empty());
            self.remotes.push((line, Remote { text, checksum, at }));
            return Ok(());
        }
        if text.contains('\\') && form != Form::Mount {
            self.whole(line, format!("`{word}` holds a backslash"));
            return Ok(());
        }
        let special = |part: &str| part.contains(['*', '?', '[']);
        let (path, shape) = match form {
            Form::Mount => (clean(&text), Shape::Plain),
            Form::Copy if special(&text) => (clean(&text), Shape::Glob),
            Form::Parents if special(&text) => parents(&text, special),
            Form::Copy | Form::Parents => (clean(&text), Shape::Plain),
        };
        if path.len() > PATH {
            self.whole(line, format!("a source has more than {PATH} bytes"));
        } else if path.is_empty() && shape == Shape::Plain && exclude.is_empty() {
            self.named = true;
            self.whole(line, format!("{} reads the whole context", instruction.keyword));
        } else if shape == Shape::Glob && golang::glob(path.as_bytes(), b"").is_err() {
            return Err(format!("`{word}` is not a valid pattern"));
        } else {
            self.sources.push(Source { path, shape, exclude: exclude.to_vec(), at });
        }
        Ok(())
    }
}

/// A path as it is looked for in the context.
fn clean(text: &str) -> String {
    let cleaned = golang::clean(format!("/{text}").as_bytes());
    String::from_utf8_lossy(&cleaned[1..]).into_owned()
}

/// A source of `--parents` with wildcards: the directory before `/./`, and the pattern below it
/// (BuildKit, `dispatchCopy`).
fn parents(text: &str, special: impl Fn(&str) -> bool) -> (String, Shape) {
    let (from, pattern) =
        text.split_once("/./").map_or((String::new(), text), |(from, pattern)| (clean(from), pattern));
    if special(&from) || pattern.starts_with('!') {
        // Several directories, each with what the pattern finds in it: all that they can be in.
        let path = clean(text);
        let plain: Vec<&str> = path.split('/').take_while(|part| !special(part)).collect();
        return (plain.join("/"), Shape::Plain);
    }
    match clean(pattern) {
        pattern if pattern.is_empty() => (from, Shape::Plain),
        pattern => (from, Shape::Parents(pattern)),
    }
}

/// The patterns of `--exclude`; none if one of them is not known, since the others may be its
/// exceptions.
fn excluded(instruction: &Instruction) -> Vec<String> {
    let given = instruction.flags.iter().filter(|flag| flag.name == "exclude");
    let patterns: Vec<String> = given.map(|flag| flag.value.clone()).collect();
    match patterns.iter().any(|pattern| pattern.contains(['$', '\\'])) {
        true => Vec::new(),
        false => patterns,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Copy,
    Parents,
    Mount,
}

impl Remote {
    /// Whether it is a git repository (BuildKit, `gitutil.ParseGitRef`). A frontend that knows
    /// of none takes it for a file.
    pub fn is_git(&self) -> bool {
        let path = self.text.split(['#', '?']).next().unwrap_or_default();
        begins(&self.text, &["git://", "ssh://", "git@"]) || path.ends_with(".git")
    }
}

/// Whether `ADD` fetches this source from elsewhere.
fn is_remote(text: &str) -> bool {
    begins(text, &["http://", "https://", "git://", "ssh://", "git@"])
}

fn begins(text: &str, schemes: &[&str]) -> bool {
    let is = |name: &&str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    schemes.iter().any(is)
}
