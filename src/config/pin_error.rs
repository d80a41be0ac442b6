//! Why a document holds no value for a pin.

/// Why a document yields no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// The document is no text.
    #[error("is not UTF-8 text")]
    NotText,
    /// The document cannot be parsed.
    #[error("cannot be parsed: {message}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1, in characters.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// The field is not there.
    #[error("has no field `{0}`")]
    Missing(String),
    /// The field is a table or a list.
    #[error("holds {found} at `{field}`; expected a string, a number or a boolean")]
    NotScalar {
        /// The field's path.
        field: String,
        /// What is there.
        found: &'static str,
    },
    /// The pattern does not match.
    #[error("does not match `{0}`")]
    NoMatch(String),
    /// The value is longer than any version is.
    #[error("holds a value of more than {0} bytes")]
    TooLong(usize),
    /// The value is empty or spans lines.
    #[error("holds no single-line value")]
    NotOneLine,
}
