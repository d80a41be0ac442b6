//! Places in a Dockerfile, as errors name them.

use std::fmt;

use crate::model::excerpt;

/// A place in a Dockerfile; prints as `file:line:column`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct At {
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// The line's text, of a long line the part around the place.
    pub(super) text: String,
    /// How many characters are before that part.
    pub(super) skipped: u32,
}

impl At {
    /// Returns the line with a mark at the place, to stand below a message about it.
    pub fn excerpt(&self) -> String {
        format!("\n{}", excerpt(self.line as usize, (self.column - self.skipped) as usize, &self.text))
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}
