//! The variables of a stage while its instructions run, one after the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::DockerfileError;
use super::globals::{self, Globals};
use super::instruction::{Instruction, quoted_words};
use super::modifier::Value;
use super::shell::{Budget, Env, Expansion, Lexer};
use super::source::DockerfileSource;

/// The variables that an instruction sees.
#[derive(Debug, Clone)]
pub(super) struct Scope {
    /// What was set in this stage.
    values: BTreeMap<String, Variable>,
    /// What `ENV` set in it, whatever an `ARG` of the same name did since.
    env: BTreeMap<String, Value>,
    /// The stage that it stands on.
    below: Option<Arc<Scope>>,
    /// How many stages are below.
    depth: usize,
    /// An outside image may define any other variable.
    open: bool,
    budget: Budget,
}

#[derive(Debug, Clone)]
struct Variable {
    value: Value,
    from_env: bool,
}

/// How many stages are looked through for a variable; then their variables are put together.
const DEPTH: usize = 64;

impl Env for Scope {
    fn lookup(&self, name: &str) -> Value {
        match self.find(name) {
            Some(variable) => variable.value,
            // BuildKit sets PATH where an image does not; proxies come from the call.
            None if self.open || name == "PATH" || globals::is_proxy(name) => Value::Unknown,
            None => Value::Unset,
        }
    }

    fn budget(&self) -> Option<&Budget> {
        Some(&self.budget)
    }
}

impl Scope {
    /// The scope of a stage on the empty image, or on an image from outside.
    pub fn new(outside: bool, budget: &Budget) -> Self {
        Self {
            values: BTreeMap::new(),
            env: BTreeMap::new(),
            below: None,
            depth: 0,
            open: outside,
            budget: budget.clone(),
        }
    }

    /// The scope of a stage on this one.
    pub fn inherited(self: &Arc<Self>) -> Self {
        let child = Self { open: self.open, ..Self::new(false, &self.budget) };
        if self.depth < DEPTH {
            return Self { below: Some(Arc::clone(self)), depth: self.depth + 1, ..child };
        }
        let mut values = BTreeMap::new();
        for (above, scope) in self.chain().iter().enumerate().rev() {
            let seen = |(name, variable): (&String, &Variable)| (name.clone(), variable.seen(above > 0));
            values.extend(scope.values.iter().map(seen));
        }
        let whole = Self { values, env: self.all_env(), ..child.clone() };
        Self { below: Some(Arc::new(whole)), depth: 1, ..child }
    }

    /// The scope of a stage in another file on the image that this stage leaves: images have
    /// environments and no arguments.
    pub fn handed(&self) -> Self {
        let env = self.all_env();
        let variable = |(name, value): (&String, &Value)| {
            (name.clone(), Variable { value: value.clone(), from_env: true })
        };
        let values = env.iter().map(variable).collect();
        Self { values, env, ..Self::new(self.open, &Budget::default()) }
    }

    /// The same in an analysis of its own.
    pub fn within(&self, budget: &Budget) -> Self {
        Self { budget: budget.clone(), ..self.clone() }
    }

    /// This scope and those below, from the top.
    fn chain(&self) -> Vec<&Self> {
        std::iter::successors(Some(self), |scope| scope.below.as_deref()).collect()
    }

    fn all_env(&self) -> BTreeMap<String, Value> {
        let env = self.chain().into_iter().rev().flat_map(|scope| &scope.env);
        env.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn find(&self, name: &str) -> Option<Variable> {
        let of = |(above, scope): (usize, &Self)| Some(scope.values.get(name)?.seen(above > 0));
        std::iter::successors(Some(self), |scope| scope.below.as_deref()).enumerate().find_map(of)
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
        given: &BTreeMap<String, String>,
        escape: char,
    ) -> Result<(), DockerfileError> {
        let syntax = |reason: String| DockerfileError::Syntax { at: source.at(instruction.start), reason };
        match instruction.keyword {
            "ARG" => {
                for (name, default) in globals::arguments(source, instruction, escape)? {
                    let value = if let Some(given) = given.get(&name) {
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
                // All see what was before the instruction.
                let pairs = environment(instruction, escape).map_err(syntax)?;
                let pairs = pairs.iter().map(|(name, value)| {
                    Ok((self.expand(escape, name)?, known(self.expand(escape, value)?)))
                });
                for (name, value) in pairs.collect::<Result<Vec<_>, String>>().map_err(syntax)? {
                    if name.unknown.is_some() {
                        // Any variable may have been set.
                        *self = Self::new(true, &self.budget);
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
        let value = match self.find(&name) {
            Some(variable) if variable.from_env && variable.value != value => Value::Unknown,
            _ => value,
        };
        self.values.insert(name, Variable { value, from_env: false });
    }
}

impl Variable {
    /// As it is in this stage, or in one that stands on it: frontends differ in whether arguments
    /// are still set there, so only what `ENV` set is certain.
    fn seen(&self, from_above: bool) -> Self {
        match from_above && !self.from_env {
            true => Self { value: Value::Unknown, from_env: false },
            false => self.clone(),
        }
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
