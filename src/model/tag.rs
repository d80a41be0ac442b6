//! Tags, and the content tags that hold a key.

use std::fmt;
use std::str::FromStr;

use super::{Digest, Generation, Key};

/// A tag: at most 128 of `[A-Za-z0-9_.-]`, not starting with `.` or `-`
/// (OCI distribution-spec, "Pulling manifests").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

/// Why a text is not a tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// A character that no tag may hold, or a forbidden first one.
    #[error("`{text}` is not a tag; expected letters, digits, `_`, `.`, `-`, not starting with `.` or `-`")]
    Grammar {
        /// The text, made printable.
        text: String,
    },
    /// Longer than registries accept.
    #[error("tag `{text}` has {length} characters; a registry takes at most 128")]
    TooLong {
        /// The text, made printable.
        text: String,
        /// Its length in bytes.
        length: usize,
    },
}

impl Tag {
    /// Returns the tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the tag whose index lists what refers to `subject`, in registries that keep no
    /// such list themselves (distribution-spec, "Referrers Tag Schema").
    pub fn of_referrers(subject: &Digest) -> Self {
        let (algorithm, hex) = (subject.algorithm(), subject.hex());
        Self(format!("{algorithm}-{}", &hex[..hex.len().min(64)]).into())
    }

    /// Returns what the tag says it is attached to: the list of what refers to a digest
    /// (`sha256-<hex>`), or one signature, attestation or bill of materials of it, as cosign
    /// names them (`sha256-<hex>.sig`, `.att`, `.sbom`).
    pub fn subject(&self) -> Option<Digest> {
        let rest = self.0.strip_prefix("sha256-")?;
        let (hex, word) = rest.split_once('.').unwrap_or((rest, "x"));
        let is_word = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric());
        format!("sha256:{hex}").parse().ok().filter(|_| is_word)
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let mut bytes = text.bytes();
        let good =
            bytes.next().is_some_and(word) && bytes.all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if !good {
            return Err(TagError::Grammar { text: super::printable(text, 80) });
        }
        if text.len() > 128 {
            return Err(TagError::TooLong { text: text[..80].to_owned(), length: text.len() });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The tag under which a box's image stands until it is promoted: `k-<key>`, behind an
/// optional readable prefix, with `.gN` for a generation above 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentTag {
    prefix: Option<Box<str>>,
    key: Key,
    generation: Generation,
}

impl ContentTag {
    /// Joins a prefix, a key and a generation; the result is a valid tag or an error.
    pub fn new(prefix: Option<&str>, key: Key, generation: Generation) -> Result<Self, TagError> {
        let tag = Self { prefix: prefix.map(Into::into), key, generation };
        tag.to_string().parse::<Tag>()?;
        Ok(tag)
    }

    /// Reads a tag as a content tag; `None` for every tag that is not one of ours.
    pub fn read(tag: &Tag) -> Option<Self> {
        let text = tag.as_str();
        let (head, generation) = match text.rsplit_once(".g") {
            Some((head, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                let value: u32 = number.parse().ok()?;
                // One spelling for each generation: `.g0` and `.g01` are not ours.
                if value == 0 || value.to_string() != number {
                    return None;
                }
                (head, Generation(value))
            }
            _ => (text, Generation(0)),
        };
        let at = head.len().checked_sub(34)?;
        let key = head.get(at..)?.strip_prefix("k-")?.parse().ok()?;
        let prefix = match &head[..at] {
            "" => None,
            before => Some(before.strip_suffix('-')?.into()),
        };
        Some(Self { prefix, key, generation })
    }

    /// Returns the key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Returns the generation.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Returns the same tag in another generation.
    pub fn with_generation(&self, generation: Generation) -> Self {
        Self { generation, ..self.clone() }
    }

    /// Returns the tag itself.
    pub fn tag(&self) -> Tag {
        Tag(self.to_string().into())
    }
}

impl fmt::Display for ContentTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(prefix) = &self.prefix {
            write!(f, "{prefix}-")?;
        }
        write!(f, "k-{}", self.key)?;
        match self.generation {
            Generation(0) => Ok(()),
            Generation(number) => write!(f, ".g{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ba7816bf8f01cfea414140de5dae2223";

    fn check(text: &str, expect: Option<(Option<&str>, u32)>) {
        let read = ContentTag::read(&text.parse().unwrap());
        let parts = read.as_ref().map(|tag| (tag.prefix.as_deref(), tag.generation.0));
        assert_eq!(parts, expect, "{text}");
        if let Some(tag) = read {
            assert_eq!(tag.to_string(), text);
        }
    }

    #[test]
    fn content_tags_are_read_back_and_nothing_else_is() {
        check(&format!("k-{KEY}"), Some((None, 0)));
        check(&format!("k-{KEY}.g3"), Some((None, 3)));
        check(&format!("rust-1.90-lean-v4.21-k-{KEY}"), Some((Some("rust-1.90-lean-v4.21"), 0)));
        check(&format!("v1.g2-k-{KEY}"), Some((Some("v1.g2"), 0)));
        for foreign in ["main", "r2026.07", "k-abc", "latest.g2"] {
            check(foreign, None);
        }
        for almost in ["k-{}.g0", "k-{}.g01", "k-{}0", "xk-{}", "k-{}.g", "k-{}.sig"] {
            check(&almost.replace("{}", KEY), None);
        }
    }

    #[test]
    fn attached_things_name_their_subject() {
        let subject = Digest::of(b"x");
        let check = |text: String, expect: Option<&Digest>| {
            assert_eq!(text.parse::<Tag>().unwrap().subject().as_ref(), expect, "{text}");
        };
        check(Tag::of_referrers(&subject).to_string(), Some(&subject));
        for word in ["sig", "att", "sbom"] {
            check(format!("sha256-{}.{word}", subject.hex()), Some(&subject));
        }
        for other in ["0", ".", ".sig.", "-sig"] {
            check(format!("sha256-{}{other}", subject.hex()), None);
        }
        check(format!("sha256-{}", &subject.hex()[1..]), None);
        check("main".to_owned(), None);
    }

    #[test]
    fn tag_grammar() {
        let long = "a".repeat(129);
        for bad in ["", ".a", "-a", "a+b", "feature/x", "a b", "ä", long.as_str()] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
        assert!("a".repeat(128).parse::<Tag>().is_ok());
        let key: Key = KEY.parse().unwrap();
        assert!(ContentTag::new(Some(&"p".repeat(100)), key.clone(), Generation(0)).is_err());
        assert!(ContentTag::new(Some("a/b"), key, Generation(0)).is_err());
    }
}
