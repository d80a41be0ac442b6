//! Keys and generations.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A box's key: the first 32 hex digits of the SHA-256 over its canonical input manifest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<str>);

/// Why a text is not a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a key; expected 32 lower-case hex digits")]
pub struct KeyError {
    text: String,
}

impl Key {
    /// Computes the key of a canonical input manifest.
    pub fn of(manifest: &[u8]) -> Self {
        let mut hasher = KeyHasher::default();
        hasher.update(manifest);
        hasher.finish()
    }

    /// Returns the 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the first twelve digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }
}

/// Computes a key from the pieces of a manifest.
#[derive(Debug, Clone, Default)]
pub struct KeyHasher(Sha256);

impl KeyHasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the key.
    pub fn finish(self) -> Key {
        let hash: [u8; 32] = self.0.finalize().into();
        Key(super::digest::hex(&hash[..16]).into())
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.len() == 32 && super::digest::is_hex(text) {
            Ok(Self(text.into()))
        } else {
            Err(KeyError { text: super::printable(text, 80) })
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often the image of a key was made anew: 0 for the first, one more each time the
/// generation before it was condemned or replaced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

impl Generation {
    /// Returns the generation after this one.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// Says why an image of this generation has to be built, where none stands.
    pub fn why_missing(self) -> String {
        match self.0.checked_sub(1) {
            None => "not built yet for these inputs".to_owned(),
            Some(before) => format!("generation {before} of this key was replaced or condemned"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_the_first_half_of_the_hash() {
        assert_eq!(Key::of(b"abc").as_str(), "ba7816bf8f01cfea414140de5dae2223");
        assert!("BA7816BF8F01CFEA414140DE5DAE2223".parse::<Key>().is_err());
        assert!("ba7816bf".parse::<Key>().is_err());
    }
}
