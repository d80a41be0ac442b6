//! The stages of a Dockerfile: what each stands on and copies from, and which are reachable.

use std::collections::BTreeMap;
use std::ops::Range;

use super::BoxInputs;
use super::error::{DockerfileError, nearest};
use super::globals::Globals;
use super::instruction::Instruction;
use super::mount::{self, Mount};
use super::shell::Lexer;
use super::source::DockerfileSource;
use super::unknown;

/// How many stages a file may have. BuildKit has no limit; nobody has met it.
const STAGES: usize = 2_500;

/// How many instructions may run, those of triggers once for each stage that they run in.
const RUN: usize = 200_000;

#[derive(Debug)]
pub(super) struct Stage {
    /// In lower case.
    pub name: Option<String>,
    pub from: Instruction,
    pub base: Base,
    /// What follows the `FROM` line.
    pub body: Vec<Instruction>,
}

/// What an image name means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// The empty image.
    Scratch,
    /// An earlier stage, by index.
    Stage(usize),
    /// A named context, by the name that the configuration gives it.
    Context(String),
    /// An image that the file knows nothing about, by its expanded name.
    Outside(String),
    /// Only the build knows.
    Unknown { text: String, variable: String },
}

/// All stages, in file order.
#[derive(Debug)]
pub(super) struct Stages {
    pub stages: Vec<Stage>,
    /// Named contexts in lower case, with the name as given.
    contexts: BTreeMap<String, String>,
}

impl Stages {
    /// Splits the instructions after the global arguments into stages.
    pub fn new(
        source: &DockerfileSource,
        instructions: Vec<Instruction>,
        globals: &Globals,
        inputs: &BoxInputs,
        escape: char,
    ) -> Result<Self, DockerfileError> {
        let contexts = inputs.contexts.iter().map(|name| (name.to_lowercase(), name.clone())).collect();
        let mut this = Self { stages: Vec::new(), contexts };
        for instruction in instructions {
            if instruction.keyword == "FROM" {
                if this.stages.len() == STAGES {
                    let reason = format!("it has more than {STAGES} stages");
                    return Err(DockerfileError::Syntax { at: source.at(instruction.start), reason });
                }
                let stage = this.open(source, instruction, globals, escape)?;
                this.stages.push(stage);
            } else if let Some(stage) = this.stages.last_mut() {
                stage.body.push(instruction);
            } else {
                let reason = format!("{} comes before the first FROM", instruction.written());
                return Err(DockerfileError::Syntax { at: source.at(instruction.start), reason });
            }
        }
        if this.stages.is_empty() {
            let reason = "no FROM, so there is nothing to build".to_owned();
            return Err(DockerfileError::Syntax { at: source.at(source.text().len()), reason });
        }
        Ok(this)
    }

    fn open(
        &self,
        source: &DockerfileSource,
        from: Instruction,
        globals: &Globals,
        escape: char,
    ) -> Result<Stage, DockerfileError> {
        let syntax = |reason: String| DockerfileError::Syntax { at: source.at(from.start), reason };
        let words: Vec<&str> = from.words().into_iter().map(|word| &from.logical.text[word]).collect();
        let (image, name) = match words.as_slice() {
            [image] => (*image, None),
            [image, keyword, name] if keyword.eq_ignore_ascii_case("as") => {
                (*image, Some(name.to_lowercase()))
            }
            _ => return Err(syntax("FROM requires either one or three arguments".to_owned())),
        };
        if let Some(name) = name.as_ref().filter(|name| !is_stage_name(name)) {
            return Err(syntax(format!(
                "invalid name for build stage: `{name}`; it must start with a letter and hold only letters, digits, `-`, `_` and `.`"
            )));
        }
        let expansion = Lexer::new(escape).expand(image, globals).map_err(syntax)?;
        let base = match expansion.unknown {
            Some(variable) => Base::Unknown { text: image.to_owned(), variable },
            None if expansion.text.is_empty() => {
                return Err(DockerfileError::Syntax {
                    at: source.at(from.start),
                    reason: format!("base name `{image}` expands to nothing"),
                });
            }
            None => self.resolve(&expansion.text),
        };
        Ok(Stage { name, from, base, body: Vec::new() })
    }

    /// What an expanded name means after the stages known so far.
    fn resolve(&self, name: &str) -> Base {
        let lower = name.to_lowercase();
        if let Some(index) = self.stages.iter().rposition(|stage| stage.name.as_deref() == Some(&lower)) {
            // A named context of a stage's own name takes that stage's place.
            return self
                .contexts
                .get(&lower)
                .map_or(Base::Stage(index), |given| Base::Context(given.clone()));
        }
        let familiar = lower.strip_suffix(":latest").unwrap_or(&lower);
        if let Some(given) = self.contexts.get(&lower).or_else(|| self.contexts.get(familiar)) {
            return Base::Context(given.clone());
        }
        if name == "scratch" { Base::Scratch } else { Base::Outside(name.to_owned()) }
    }

    /// What `--from=NAME` or `from=NAME` means in the stage with this index.
    pub fn copied(
        &self,
        source: &DockerfileSource,
        at: usize,
        name: &str,
        index_too: bool,
        user: usize,
    ) -> Result<Base, DockerfileError> {
        let wrong = |reason: &str| DockerfileError::Stage {
            at: source.at(at),
            name: crate::model::printable(name, 80),
            reason: reason.to_owned(),
        };
        if name.contains('$') {
            return Err(wrong("cannot be a variable here; name a stage with FROM and use that"));
        }
        let base = match name.parse::<i64>() {
            Ok(index) if index_too => match usize::try_from(index) {
                Ok(index) if index < self.stages.len() => match &self.stages[index].name {
                    Some(name) => self.contexts.get(name).cloned().map_or(Base::Stage(index), Base::Context),
                    None => Base::Stage(index),
                },
                _ => return Err(wrong("does not exist")),
            },
            _ => self.resolve(name),
        };
        match base {
            Base::Stage(index) if index == user => Err(wrong("cannot copy from itself")),
            Base::Stage(index) if index > user => Err(wrong("is defined only after the stage that uses it")),
            base => Ok(base),
        }
    }

    /// The instructions that run in a stage: its base's `ONBUILD` triggers, then its own.
    pub fn effective(&self, index: usize) -> impl Iterator<Item = &Instruction> {
        let base = match self.stages[index].base {
            Base::Stage(base) => self.stages[base].body.as_slice(),
            _ => &[],
        };
        base.iter().filter_map(|instruction| instruction.trigger.as_deref()).chain(&self.stages[index].body)
    }

    /// The stage to build: by name, by index, or the last.
    pub fn target(&self, source: &DockerfileSource, target: Option<&str>) -> Result<usize, DockerfileError> {
        let Some(target) = target.filter(|target| !target.is_empty()) else {
            return Ok(self.stages.len() - 1);
        };
        let lower = target.to_lowercase();
        let by_name = self.stages.iter().rposition(|stage| stage.name.as_deref() == Some(&lower));
        let by_index = || target.parse::<usize>().ok().filter(|index| *index < self.stages.len());
        let found = by_name.or_else(by_index).ok_or_else(|| {
            let names: Vec<String> = self.stages.iter().filter_map(|stage| stage.name.clone()).collect();
            DockerfileError::UnknownTarget {
                file: source.name().to_owned(),
                target: crate::model::printable(target, 80),
                nearest: nearest(target, names.iter().map(String::as_str)),
                stages: names,
            }
        })?;
        if self.stages[found].name.as_ref().is_some_and(|name| self.contexts.contains_key(name)) {
            return Err(DockerfileError::Stage {
                at: source.at(self.stages[found].from.start),
                name: target.to_owned(),
                reason: "is the target and cannot be a named context as well".to_owned(),
            });
        }
        Ok(found)
    }

    /// The stages that the target needs, itself included, in file order.
    pub fn reachable(&self, source: &DockerfileSource, target: usize) -> Result<Vec<usize>, DockerfileError> {
        let mut reached = vec![false; self.stages.len()];
        let mut queue = vec![target];
        let mut run = 0;
        while let Some(index) = queue.pop() {
            if std::mem::replace(&mut reached[index], true) {
                continue;
            }
            run += self.effective(index).count();
            if run > RUN {
                let at = source.at(self.stages[index].from.start);
                let reason =
                    format!("with the ONBUILD triggers of its stages it has more than {RUN} instructions");
                return Err(DockerfileError::Syntax { at, reason });
            }
            if let Base::Stage(base) = self.stages[index].base {
                queue.push(base);
            }
            let mut reads_all = false;
            for instruction in self.effective(index) {
                if !reads_all && unknown::part(source, instruction)?.is_some() {
                    // It may read any stage that stands before.
                    reads_all = true;
                    queue.extend((0..index).filter(|index| !reached[*index]));
                }
                for (_, base) in self.copies(source, instruction, index)? {
                    if let Base::Stage(base) = base {
                        queue.push(base);
                    }
                }
            }
        }
        Ok((0..reached.len()).filter(|index| reached[*index]).collect())
    }

    /// The images that a `COPY` or `RUN` reads, with the range of each name in its line.
    pub fn copies(
        &self,
        source: &DockerfileSource,
        instruction: &Instruction,
        stage: usize,
    ) -> Result<Vec<(Range<usize>, Base)>, DockerfileError> {
        let mut found = Vec::new();
        match instruction.keyword {
            "COPY" => {
                if let Some(flag) = instruction.flag("from").filter(|flag| !flag.value.is_empty()) {
                    let written = &instruction.logical.text[flag.raw.clone()];
                    let range = match written.strip_prefix("--from=") {
                        Some(value) => flag.raw.end - value.len()..flag.raw.end,
                        None => flag.places[0]..flag.places[flag.places.len() - 1] + 1,
                    };
                    let at = self::replaceable(source, instruction, &range)?;
                    found.push((range, self.copied(source, at, &flag.value, true, stage)?));
                }
            }
            "RUN" => {
                for flag in instruction.flags.iter().filter(|flag| flag.name == "mount") {
                    let Mount { from, .. } = mount::read(source, instruction, flag)?;
                    if let Some((name, range)) = from {
                        let at = self::replaceable(source, instruction, &range)?;
                        found.push((range, self.copied(source, at, &name, false, stage)?));
                    }
                }
            }
            _ => {}
        }
        Ok(found)
    }
}

/// Returns where a name stands, in whose place another one can be put: no quote that begins in it
/// ends elsewhere.
fn replaceable(
    source: &DockerfileSource,
    instruction: &Instruction,
    range: &Range<usize>,
) -> Result<usize, DockerfileError> {
    let at = instruction.logical.offset(range.start);
    let text = &instruction.logical.text[range.clone()];
    let is_even = |quote: char| text.matches(quote).count().is_multiple_of(2);
    if is_even('"') && is_even('\'') {
        return Ok(at);
    }
    let reason = "the name after from= cannot be told from the quotes around it; write it plainly".to_owned();
    Err(DockerfileError::Syntax { at: source.at(at), reason })
}

fn is_stage_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte))
}
