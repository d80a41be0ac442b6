//! Why nothing happens for a while.

use std::time::Duration;

/// A registry host is left alone for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The host, as in references.
    pub host: String,
    /// For how long.
    pub span: Duration,
    /// Why, on one line: what it answered, and whether it asked for the wait.
    pub why: String,
}
