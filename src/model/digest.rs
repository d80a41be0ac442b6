//! Content digests.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A content digest such as `sha256:9f86…`, checked when it is made.
///
/// Only `sha256` and `sha512` in lower-case hex are accepted, so a digest can be used in a
/// URL or a path without escaping (OCI image-spec, descriptor, "Digests").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(Box<str>);

/// Why a text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a digest; expected sha256: or sha512: and lower-case hex")]
pub struct DigestError {
    text: String,
}

impl Digest {
    /// Computes the SHA-256 digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self::from_sha256(Sha256::digest(bytes).into())
    }

    /// Wraps a finished SHA-256 hash.
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        push_hex(&mut text, &hash);
        Self(text.into())
    }

    /// Returns the hash itself; nothing if it is no SHA-256.
    pub fn to_sha256(&self) -> Option<[u8; 32]> {
        let hex = self.0.strip_prefix("sha256:")?.as_bytes();
        let mut hash = [0; 32];
        for (byte, digits) in hash.iter_mut().zip(hex.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
            *byte = digit(digits[0])? << 4 | digit(digits[1])?;
        }
        Some(hash)
    }

    /// Returns the whole digest, algorithm included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the hex part alone.
    pub fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// Returns `sha256` or `sha512`.
    pub fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(name, _)| name)
    }

    /// Returns the algorithm and the first twelve hex digits, for people.
    pub fn short(&self) -> &str {
        &self.0[..self.algorithm().len() + 13]
    }
}

/// Writes `bytes` as lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

pub(super) fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let good = match text.split_once(':') {
            Some(("sha256", hex)) => hex.len() == 64 && is_hex(hex),
            Some(("sha512", hex)) => hex.len() == 128 && is_hex(hex),
            _ => false,
        };
        if good { Ok(Self(text.into())) } else { Err(DigestError { text: super::printable(text, 80) }) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_bytes_is_the_published_sha256_vector() {
        // FIPS 180-2, appendix B.1.
        let expect = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(Digest::of(b"abc").as_str(), expect);
        assert_eq!(Digest::of(b"abc").short(), "sha256:ba7816bf8f01");
        let hash = Digest::of(b"abc").to_sha256().unwrap();
        assert_eq!((hash[0], hash[31], Digest::from_sha256(hash)), (0xba, 0xad, Digest::of(b"abc")));
        let long: Digest = format!("sha512:{}", "a".repeat(128)).parse().unwrap();
        assert_eq!(long.to_sha256(), None);
    }

    #[test]
    fn refuses_what_could_leave_a_path() {
        let long = format!("sha256:{}", "A".repeat(64));
        for text in ["", "sha256:", "sha256:../..", "md5:00", "sha256:abc", &long] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
