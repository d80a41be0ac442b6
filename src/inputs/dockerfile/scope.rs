//! The variables of a stage while its instructions run, one after the other.

use std::collections::BTreeMap;

use super::BoxInputs;
use super::error::DockerfileError;
use super::globals::{self, Globals};
use super::instruction::{Instruction, quoted_words};
use super::shell::{Env, Expansion, Lexer, Value};
use super::source::DockerfileSource;

/// The variables that an instruction sees.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    values: BTreeMap<String, Variable>,
    /// What `ENV` set, whatever an `ARG` of the same name did since.
    env: BTreeMap<String, Value>,
    /// An outside image may define any other variable.
    open: bool,
}

#[derive(Debug, Clone)]
struct Variable {
    value: Value,
    from_env: bool,
}

impl Env for Scope {
    fn lookup(&self, name: &str) -> Value {
        match self.values.get(name) {
            Some(variable) => variable.value.clone(),
            // BuildKit sets PATH where an image does not; proxies come from the call.
            None if self.open || name == "PATH" || globals::is_proxy(name) => Value::Unknown,
            None => Value::Unset,
        }
    }
}

impl Scope {
    /// The scope of a stage on the empty image, or on an image from outside.
    pub fn new(outside: bool) -> Self {
        Self { values: BTreeMap::new(), env: BTreeMap::new(), open: outside }
    }

    /// The scope of a stage on this one. Frontends differ in whether its arguments are
    /// still set there, so only what `ENV` set is certain.
    pub fn inherited(&self) -> Self {
        let mut child = self.clone();
        for variable in child.values.values_mut().filter(|variable| !variable.from_env) {
            variable.value = Value::Unknown;
        }
        child
    }

    /// The scope of a stage in another file on the image that this stage leaves: images have
    /// environments and no arguments.
    pub fn handed(&self) -> Self {
        let variable = |(name, value): (&String, &Value)| {
            (name.clone(), Variable { value: value.clone(), from_env: true })
        };
        Self { values: self.env.iter().map(variable).collect(), env: self.env.clone(), open: self.open }
    }

    /// Expands a word as this scope sees it.
    pub fn expand(&self, escape: char, word: &str) -> Result<Expansion, String> {
        Lexer::new(escape).expand(word, self)
    }

    /// Applies an `ARG` or `ENV` instruction; any other changes nothing.
    pub fn apply(
        &mut self,
        source: &DockerfileSource,
        instruction: &Instruction,
        globals: &Globals,
        inputs: &BoxInputs,
        escape: char,
    ) -> Result<(), DockerfileError> {
        let syntax = |reason: String| DockerfileError::Syntax { at: source.at(instruction.start), reason };
        match instruction.keyword {
            "ARG" => {
                for (name, default) in globals::arguments(source, instruction, escape)? {
                    let value = if let Some(given) = inputs.args.get(&name) {
                        Value::Known(given.clone())
                    } else if let Some(default) = default {
                        known(self.expand(escape, &default).map_err(syntax)?)
                    } else {
                        globals.lookup(&name)
                    };
                    self.argument(name, value);
                }
            }
            "ENV" => {
                let before = self.clone();
                for (name, value) in environment(instruction, escape).map_err(syntax)? {
                    let name = before.expand(escape, &name).map_err(syntax)?;
                    let value = known(before.expand(escape, &value).map_err(syntax)?);
                    if name.unknown.is_some() {
                        // Any variable may have been set.
                        *self = Self::new(true);
                        continue;
                    }
                    self.env.insert(name.text.clone(), value.clone());
                    self.values.insert(name.text, Variable { value, from_env: true });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn argument(&mut self, name: String, value: Value) {
        if value == Value::Unset {
            return;
        }
        // An ARG after an ENV of that name: newer frontends let the later one win, older
        // ones the ENV.
        let value = match self.values.get(&name) {
            Some(variable) if variable.from_env && variable.value != value => Value::Unknown,
            _ => value,
        };
        self.values.insert(name, Variable { value, from_env: false });
    }
}

fn known(expansion: Expansion) -> Value {
    if expansion.unknown.is_some() { Value::Unknown } else { Value::Known(expansion.text) }
}

/// The names and values of an `ENV` or `LABEL` instruction, in the new form or the old
/// (BuildKit, `parseNameVal`).
pub(super) fn environment(instruction: &Instruction, escape: char) -> Result<Vec<(String, String)>, String> {
    let (keyword, text) = (instruction.keyword, instruction.args_text());
    let words = quoted_words(text, escape);
    match words.first() {
        None => return Err(format!("{keyword} requires at least one argument")),
        Some(first) if !first.contains('=') => {
            let (name, value) = text
                .split_once(['\t', '\u{b}', '\u{c}', '\r', ' '])
                .ok_or_else(|| format!("{keyword} must have two arguments"))?;
            return Ok(vec![(name.to_owned(), value.trim_start().to_owned())]);
        }
        Some(_) => {}
    }
    let pairs = words.into_iter().map(|word| match word.split_once('=') {
        Some(("", _)) => Err(format!("{keyword} names cannot be blank")),
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err(format!("cannot find = in `{word}`; it must be of the form name=value")),
    });
    pairs.collect()
}
