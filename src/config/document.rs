//! A TOML document read section by section, with the place of everything kept.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::model::{ErrorKind, Explained, Explanation, excerpt, printable};

/// An error in a configuration file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The line's text.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, text, message, .. } = self;
        writeln!(f, "{file}:{line}:{column}: {message}")?;
        f.write_str(&excerpt(*line, *column, text))
    }
}

impl std::error::Error for ConfigError {}

impl Explained for ConfigError {
    fn explain(&self) -> Explanation<'_> {
        let place = u32::try_from(self.line).ok().map(|line| (&*self.file, line));
        Explanation { place, hint: self.hint.clone(), ..ErrorKind::Usage.into() }
    }
}

/// A place in a file, for errors that are found out later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The line's text.
    pub text: String,
}

impl Place {
    /// Returns the place that a line and a column, both from 1, name in a document.
    pub fn in_document(file: String, document: &str, line: usize, column: usize) -> Self {
        let text = document.lines().nth(line.saturating_sub(1)).unwrap_or_default().to_owned();
        Self { file, line, column: column.max(1), text }
    }

    /// Makes an error of it.
    pub fn error(self, message: impl Into<String>) -> ConfigError {
        let Self { file, line, column, text } = self;
        ConfigError { file, line, column, text, message: printable(&message.into(), 500), hint: None }
    }
}

/// The longest document, in bytes.
const LONGEST: usize = 1 << 20;
/// How many sections of a kind it may have. Each may be held against each other.
const SECTIONS: usize = 2_000;

/// A file's name and text, to place errors in.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub file: &'a str,
    pub text: &'a str,
}

impl<'a> Source<'a> {
    pub fn parse(self) -> Result<Spanned<DeTable<'a>>, ConfigError> {
        if self.text.len() > LONGEST {
            return Err(
                self.error(0..0, format!("it has {} bytes; at most {LONGEST} are read", self.text.len()))
            );
        }
        DeTable::parse(self.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            self.error(span, error.message().lines().collect::<Vec<_>>().join(", "))
        })
    }

    pub fn error(self, span: Range<usize>, message: impl Into<String>) -> ConfigError {
        self.place(span).error(message)
    }

    fn place(self, span: Range<usize>) -> Place {
        let at = span.start.min(self.text.len());
        let before = self.text.get(..at).unwrap_or_default();
        let start = before.rfind('\n').map_or(0, |index| index + 1);
        let text = self.text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
        Place {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(start..).map_or(0, |lead| lead.chars().count()) + 1,
            text: text.to_owned(),
        }
    }
}

/// One table of a document: `[box.base]` as its fields and its place.
pub(super) struct Section<'a> {
    pub source: Source<'a>,
    /// The table's name as one would write it, empty for the document itself.
    pub name: String,
    pub span: Range<usize>,
    table: &'a DeTable<'a>,
}

/// A value with its name and place.
pub(super) struct Field<'a> {
    source: Source<'a>,
    pub name: String,
    value: &'a Spanned<DeValue<'a>>,
}

impl<'a> Section<'a> {
    pub fn root(source: Source<'a>, table: &'a Spanned<DeTable<'a>>) -> Self {
        Self { source, name: String::new(), span: 0..0, table: table.get_ref() }
    }

    /// Refuses every key that is not in `known`, naming the nearest one.
    pub fn allow(&self, known: &[&str]) -> Result<(), ConfigError> {
        for key in self.table.keys() {
            let word = key.get_ref().as_ref();
            if known.contains(&word) {
                continue;
            }
            let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let mut error = self.source.error(key.span(), format!("unknown key `{word}`{place}"));
            error.hint = Some(match nearest(word, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys are {}", known.join(", ")),
            });
            return Err(error);
        }
        Ok(())
    }

    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        self.source.error(self.span.clone(), message)
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    pub fn field(&self, key: &str) -> Option<Field<'a>> {
        let value = self.table.get(key)?;
        Some(Field { source: self.source, name: self.path(key), value })
    }

    pub fn need(&self, key: &str) -> Result<Field<'a>, ConfigError> {
        self.field(key).ok_or_else(|| self.error(format!("`{}` is missing", self.path(key))))
    }

    /// Returns the fields of this table in the order of their names.
    pub fn fields(&self) -> impl Iterator<Item = (&'a str, Range<usize>, Field<'a>)> {
        self.table.iter().map(|(key, value)| {
            let word = key.get_ref().as_ref();
            (word, key.span(), Field { source: self.source, name: self.path(word), value })
        })
    }

    /// Returns the tables under `key`: `[box.base]` and `[box.build]` for `box`.
    pub fn sections(&self, key: &str) -> Result<Vec<(&'a str, Section<'a>)>, ConfigError> {
        let Some(field) = self.field(key) else { return Ok(Vec::new()) };
        let parent = field.section()?;
        if let Some((word, ..)) = parent.fields().nth(SECTIONS) {
            let message = format!("`{key}` has more than {SECTIONS} sections; `{word}` is one too many");
            return Err(field.error(message));
        }
        parent
            .fields()
            .map(|(word, span, field)| {
                let mut section = field.section()?;
                section.span = span;
                Ok((word, section))
            })
            .collect()
    }
}

impl<'a> Field<'a> {
    pub fn place(&self) -> Place {
        self.source.place(self.value.span())
    }

    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        self.source.error(self.value.span(), message)
    }

    fn wrong(&self, expected: &str) -> ConfigError {
        let found = self.value.get_ref().type_str();
        let article = if found.starts_with(['a', 'i']) { "an" } else { "a" };
        self.error(format!("`{}` is {article} {found}; expected {expected}", self.name))
    }

    pub fn str(&self) -> Result<&'a str, ConfigError> {
        self.value.get_ref().as_str().ok_or_else(|| self.wrong("a string"))
    }

    pub fn bool(&self) -> Result<bool, ConfigError> {
        self.value.get_ref().as_bool().ok_or_else(|| self.wrong("true or false"))
    }

    pub fn count(&self) -> Result<u32, ConfigError> {
        let integer = self.value.get_ref().as_integer().ok_or_else(|| self.wrong("a number"))?;
        u32::from_str_radix(integer.as_str(), integer.radix())
            .map_err(|_| self.error(format!("`{}` is out of range", self.name)))
    }

    pub fn is_list(&self) -> bool {
        self.value.get_ref().is_array()
    }

    pub fn is_bool(&self) -> bool {
        self.value.get_ref().is_bool()
    }

    pub fn is_str(&self) -> bool {
        self.value.get_ref().is_str()
    }

    /// Reads a string by its one parser.
    pub fn parse<T: FromStr<Err: fmt::Display>>(&self) -> Result<T, ConfigError> {
        self.str()?.parse().map_err(|error: T::Err| self.error(format!("`{}`: {error}", self.name)))
    }

    pub fn section(&self) -> Result<Section<'a>, ConfigError> {
        let table = self.value.get_ref().as_table().ok_or_else(|| self.wrong("a table"))?;
        Ok(Section { source: self.source, name: self.name.clone(), span: self.value.span(), table })
    }

    pub fn list(&self) -> Result<Vec<Field<'a>>, ConfigError> {
        let items = self.value.get_ref().as_array().ok_or_else(|| self.wrong("a list"))?;
        let field =
            |(index, value)| Field { source: self.source, name: format!("{}[{index}]", self.name), value };
        Ok(items.iter().enumerate().map(field).collect())
    }

    pub fn strings(&self) -> Result<Vec<String>, ConfigError> {
        self.list()?.iter().map(|item| item.str().map(str::to_owned)).collect()
    }
}

/// Returns the word in `known` that `word` was probably meant to be.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let scored = known.iter().map(|near| (strsim::jaro_winkler(word, near), *near));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, near)| near)
}
