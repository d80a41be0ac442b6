//! Build secrets: where they come from, and their values, which are never printed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a secret's value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// In an environment variable of this process.
    Env(String),
    /// In a file; relative to the configuration file.
    File(PathBuf),
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(variable) => write!(f, "the variable {variable}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
        }
    }
}

/// A secret's value.
///
/// It has no order, no text form and no serde: it can be handed to a build, and searched for
/// in what is about to be printed.
#[derive(Clone)]
pub struct SecretValue(Arc<[u8]>);

impl SecretValue {
    /// Wraps a value.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// Returns the value itself, to be sent and not to be shown.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_tells_nothing() {
        let value = SecretValue::new(&b"hunter2"[..]);
        assert_eq!(format!("{value:?} {:?}", Some(&value)), "(secret) Some((secret))");
        assert_eq!(value.expose(), b"hunter2");
    }
}
