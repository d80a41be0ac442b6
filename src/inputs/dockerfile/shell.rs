//! Variable expansion and word splitting as in BuildKit's `frontend/dockerfile/shell`.
//!
//! One thing is added: a variable may be *unknown*, because only the build knows its value.
//! Then the result is unknown too, and says because of which variable.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::modifier::{self, Value};

/// Looks variables up.
pub(super) trait Env {
    fn lookup(&self, name: &str) -> Value;

    /// What the values may come to that are looked up.
    fn budget(&self) -> Option<&Budget> {
        None
    }
}

/// What the values that one analysis looks up come to. Values are made of values: a few lines
/// can say more than any memory holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Budget(Arc<AtomicUsize>);

/// The longest value of a variable; Linux gives a process none that is longer.
const LONGEST: usize = 128 << 10;
/// All values together that an analysis looks up.
const ALL: usize = 64 << 20;

impl Budget {
    fn spend(&self, bytes: usize) -> Result<(), String> {
        let before = self.0.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > ALL {
            return Err(format!("the variables up to here expand to more than {ALL} bytes"));
        }
        Ok(())
    }
}

/// No variable is set.
pub(super) struct NoEnv;

impl Env for NoEnv {
    fn lookup(&self, _: &str) -> Value {
        Value::Unset
    }
}

/// An expanded text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Expansion {
    pub text: String,
    /// The text split at unquoted white space.
    pub words: Vec<String>,
    /// The variables it names.
    pub used: BTreeSet<String>,
    /// The first variable whose value is unknown; then `text` means nothing.
    pub unknown: Option<String>,
}

/// How to read a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lexer {
    pub escape: char,
    pub raw_quotes: bool,
    pub raw_escapes: bool,
    /// Leaves variables that are not set as they are written.
    pub skip_unset: bool,
    /// Joins `<<` with the word after it.
    pub heredocs: bool,
}

impl Lexer {
    pub fn new(escape: char) -> Self {
        Self { escape, raw_quotes: false, raw_escapes: false, skip_unset: false, heredocs: false }
    }

    /// Expands a text; the error is a lower-case fragment.
    pub fn expand(self, text: &str, env: &dyn Env) -> Result<Expansion, String> {
        let mut run = Run {
            lexer: self,
            chars: text.chars().collect(),
            at: 0,
            env,
            used: BTreeSet::new(),
            unknown: None,
            depth: 0,
            grown: 0,
        };
        let (text, words) = run.until(None, self.raw_escapes)?;
        Ok(Expansion { text, words, used: run.used, unknown: run.unknown })
    }
}

/// How deep `${a:-${b:-…}}` may nest. BuildKit has no limit; a stack has.
const DEPTH: u32 = 64;

struct Run<'a> {
    lexer: Lexer,
    chars: Vec<char>,
    at: usize,
    env: &'a dyn Env,
    used: BTreeSet<String>,
    unknown: Option<String>,
    depth: u32,
    /// What the values looked up so far come to, in bytes.
    grown: usize,
}

#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: String,
    inside: bool,
}

impl Words {
    fn push(&mut self, c: char) {
        if !c.is_whitespace() {
            self.push_raw(c);
        } else if self.inside && !self.word.is_empty() {
            self.done.push(std::mem::take(&mut self.word));
            self.inside = false;
        }
    }

    fn push_raw(&mut self, c: char) {
        self.word.push(c);
        self.inside = true;
    }

    fn push_raw_str(&mut self, text: &str) {
        self.word.push_str(text);
        self.inside = true;
    }

    fn finish(mut self) -> Vec<String> {
        if !self.word.is_empty() {
            self.done.push(self.word);
        }
        self.done
    }
}

impl Run<'_> {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += 1;
        Some(c)
    }

    fn lookup(&mut self, name: &str) -> Result<Value, String> {
        self.used.insert(name.to_owned());
        let value = self.env.lookup(name);
        if value == Value::Unknown && self.unknown.is_none() {
            self.unknown = Some(name.to_owned());
        }
        if let Value::Known(value) = &value {
            self.grow(value.len())?;
        }
        Ok(value)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), String> {
        self.grown = self.grown.saturating_add(bytes);
        if self.grown > LONGEST {
            return Err(format!("its variables expand to more than {LONGEST} bytes"));
        }
        self.env.budget().map_or(Ok(()), |budget| budget.spend(bytes))
    }

    /// Reads up to `stop`, or to the end.
    fn until(&mut self, stop: Option<char>, raw_escapes: bool) -> Result<(String, Vec<String>), String> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("substitutions are nested too deeply".to_owned());
        }
        let mut result = String::new();
        let mut words = Words::default();
        while let Some(c) = self.peek() {
            if stop == Some(c) {
                self.at += 1;
                self.depth -= 1;
                return Ok((result, words.finish()));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| words.push(c));
                    result.push_str(&value);
                }
                '\'' | '"' => {
                    let value =
                        if c == '"' { self.double_quoted(raw_escapes)? } else { self.single_quoted()? };
                    words.push_raw_str(&value);
                    result.push_str(&value);
                }
                '<' if self.lexer.heredocs => {
                    let value = self.heredoc();
                    words.push_raw_str(&value);
                    result.push_str(&value);
                }
                _ => {
                    self.at += 1;
                    if c != self.lexer.escape {
                        words.push(c);
                        result.push(c);
                        continue;
                    }
                    if raw_escapes {
                        words.push_raw(c);
                        result.push(c);
                    }
                    let Some(escaped) = self.next() else { break };
                    words.push_raw(escaped);
                    result.push(escaped);
                }
            }
        }
        if let Some(stop) = stop {
            return Err(format!("unexpected end of statement while looking for matching {stop}"));
        }
        self.depth -= 1;
        Ok((result, words.finish()))
    }

    fn heredoc(&mut self) -> String {
        self.at += 1;
        let mut text = String::from("<");
        if self.peek() == Some('<') {
            self.at += 1;
            text.push('<');
            while let Some(c) = self.peek().filter(|c| matches!(c, ' ' | '\t' | '\r' | '\u{b}' | '\u{c}')) {
                text.push(c);
                self.at += 1;
            }
        }
        text
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        let quote = self.next();
        text.extend(quote.filter(|_| self.lexer.raw_quotes));
        loop {
            match self.next() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote".to_owned()
                    );
                }
                Some('\'') => {
                    text.extend(quote.filter(|_| self.lexer.raw_quotes));
                    return Ok(text);
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn double_quoted(&mut self, raw_escapes: bool) -> Result<String, String> {
        let mut text = String::new();
        let quote = self.next();
        text.extend(quote.filter(|_| self.lexer.raw_quotes));
        loop {
            match self.peek() {
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote".to_owned()
                    );
                }
                Some('"') => {
                    self.at += 1;
                    text.extend(quote.filter(|_| self.lexer.raw_quotes));
                    return Ok(text);
                }
                Some('$') => text.push_str(&self.dollar()?),
                Some(c) if c == self.lexer.escape => {
                    self.at += 1;
                    if raw_escapes {
                        text.push(c);
                    }
                    match self.peek() {
                        None => {}
                        Some(escaped) if matches!(escaped, '"' | '$') || escaped == self.lexer.escape => {
                            self.at += 1;
                            text.push(escaped);
                        }
                        Some(_) => text.push(c),
                    }
                }
                Some(c) => {
                    self.at += 1;
                    text.push(c);
                }
            }
        }
    }

    fn dollar(&mut self) -> Result<String, String> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            return Ok(match self.lookup(&name)? {
                Value::Known(value) => value,
                Value::Unset if self.lexer.skip_unset => format!("${name}"),
                Value::Unset | Value::Unknown => String::new(),
            });
        }
        self.at += 1;
        match self.peek() {
            None => return Err("missing `}`".to_owned()),
            Some('{' | '}' | ':') => return Err("bad substitution".to_owned()),
            Some(_) => {}
        }
        let name = self.name();
        let Some(mut operator) = self.next() else { return Err("missing `}`".to_owned()) };
        let mut written = String::from(operator);
        if operator == '}' {
            return Ok(match self.lookup(&name)? {
                Value::Known(value) => value,
                Value::Unset if self.lexer.skip_unset => format!("${{{name}}}"),
                Value::Unset | Value::Unknown => String::new(),
            });
        }
        let null_is_unset = operator == ':';
        if null_is_unset {
            operator = self.next().ok_or("missing `}`")?;
            written.push(operator);
        }
        match operator {
            '+' | '-' | '?' | '#' | '%' => {
                let (word, _) = self.until(Some('}'), matches!(operator, '#' | '%'))?;
                let value = self.lookup(&name)?;
                if value == Value::Unset && self.lexer.skip_unset {
                    return Ok(format!("${{{name}{written}{word}}}"));
                }
                modifier::apply(&name, value, operator, null_is_unset, word)
            }
            '/' if !null_is_unset => {
                let all = self.peek() == Some('/');
                self.at += usize::from(all);
                let (pattern, _) = self.until(Some('/'), true)?;
                let (replacement, _) = self.until(Some('}'), true)?;
                match self.lookup(&name)? {
                    Value::Unset if self.lexer.skip_unset => {
                        Ok(format!("${{{name}/{pattern}/{replacement}}}"))
                    }
                    Value::Known(value) => {
                        let replaced = modifier::replace(&value, &pattern, &replacement, all, LONGEST)?;
                        self.grow(replaced.len())?;
                        Ok(replaced)
                    }
                    Value::Unset => modifier::replace("", &pattern, &replacement, all, LONGEST),
                    Value::Unknown => Ok(String::new()),
                }
            }
            _ => Err(format!("unsupported modifier ({written}) in substitution")),
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if name.is_empty() && c.is_numeric() {
                while let Some(digit) = self.peek().filter(|c| c.is_numeric()) {
                    name.push(digit);
                    self.at += 1;
                }
                return name;
            }
            if name.is_empty() && "@*#?-$!".contains(c) {
                self.at += 1;
                return String::from(c);
            }
            if !c.is_alphanumeric() && c != '_' {
                break;
            }
            name.push(c);
            self.at += 1;
        }
        name
    }
}
