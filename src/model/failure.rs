//! What an error means to whoever meets it. Each error says so beside its text; one that wraps
//! another passes that one's meaning on.

use std::error::Error;
use std::sync::Arc;

/// How a command ends by an error; each kind has an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// What was asked for or configured cannot be used.
    Usage,
    /// An image or a promotion that is needed is not there.
    Missing,
    /// A registry, an engine or another source did not say what had to be known.
    Unreachable,
    /// It may not be done.
    Refused,
    /// Some of it was done, and some was not.
    Partly,
    /// It was tried, and failed.
    Failed,
    /// It was stopped.
    Interrupted,
}

/// What an error means.
#[derive(Debug)]
pub struct Explanation<'a> {
    /// How a command ends by it.
    pub kind: ErrorKind,
    /// The file and the line that it is about, the file as the directory of the configuration sees it.
    pub place: Option<(&'a str, u32)>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The request that failed, as method and URL, for who looks closer.
    pub request: Option<&'a str>,
}

/// An error that says what it means.
pub trait Explained: Error + Send + Sync + 'static {
    /// Says what it means.
    fn explain(&self) -> Explanation<'_>;
}

impl From<ErrorKind> for Explanation<'_> {
    fn from(kind: ErrorKind) -> Self {
        Self { kind, place: None, hint: None, request: None }
    }
}

impl ErrorKind {
    /// Adds what to do about it.
    pub fn hint<'a>(self, hint: impl Into<String>) -> Explanation<'a> {
        Explanation { hint: Some(hint.into()), ..self.into() }
    }

    /// Adds the file and the line that it is about.
    pub fn at(self, file: &str, line: u32) -> Explanation<'_> {
        Explanation { place: Some((file, line)), ..self.into() }
    }
}

impl Explanation<'_> {
    /// Says first what was not done.
    #[must_use]
    pub fn undone(self, what: &str) -> Self {
        let hint = self.hint.map_or_else(|| what.to_owned(), |hint| format!("{what}; {hint}"));
        Self { hint: Some(hint), ..self }
    }
}

/// An error of any type that is kept until somebody prints it. Two are equal that say the same.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct AnyError(Arc<dyn Explained>);

impl AnyError {
    /// Says what it means.
    pub fn explain(&self) -> Explanation<'_> {
        self.0.explain()
    }
}

impl<E: Explained> From<E> for AnyError {
    fn from(error: E) -> Self {
        Self(Arc::new(error))
    }
}

impl PartialEq for AnyError {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for AnyError {}
