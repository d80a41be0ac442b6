//! Platforms.

use std::fmt;
use std::str::FromStr;

/// A platform, `os/architecture[/variant]`, in the names of Go's `GOOS` and `GOARCH`
/// (OCI image-spec, "Image Index").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform(Box<str>);

/// Why a text is not a platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a platform; expected os/architecture, such as linux/amd64")]
pub struct PlatformError {
    text: String,
}

impl Platform {
    /// Returns the whole name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the operating system.
    pub fn os(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Returns the architecture.
    pub fn architecture(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or_default()
    }

    /// Returns the variant, if one is named.
    pub fn variant(&self) -> Option<&str> {
        self.0.split('/').nth(2)
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, PlatformError> {
        let word = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if matches!(text.split('/').count(), 2 | 3) && text.split('/').all(word) {
            Ok(Self(text.into()))
        } else {
            Err(PlatformError { text: super::printable(text, 80) })
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
