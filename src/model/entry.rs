//! What a build context holds.

use std::fmt;

use super::Digest;

/// A path inside a context: bytes, components joined by `/`, never empty, never leaving
/// the context (no `.`, `..`, leading or doubled slash).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Box<[u8]>);

/// Why bytes are not a path inside a context.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a path inside the context")]
pub struct RelPathError {
    text: String,
}

impl RelPath {
    /// Checks and wraps bytes.
    pub fn new(bytes: impl Into<Box<[u8]>>) -> Result<Self, RelPathError> {
        let bytes = bytes.into();
        check(&bytes)?;
        Ok(Self(bytes))
    }

    /// Puts one more component behind a path; nothing stands for the context itself.
    pub fn join(parent: Option<&Self>, name: &[u8]) -> Result<Self, RelPathError> {
        let Some(Self(parent)) = parent else { return Self::new(name) };
        check(name)?;
        Ok(Self([parent, &b"/"[..], name].concat().into()))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells whether it is a `.git` or below one, which holds what a checkout logged in with.
    pub fn is_in_git(&self) -> bool {
        self.0.split(|byte| *byte == b'/').any(|part| part.eq_ignore_ascii_case(b".git"))
    }
}

fn check(path: &[u8]) -> Result<(), RelPathError> {
    let component = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
    if path.split(|byte| *byte == b'/').all(component) {
        Ok(())
    } else {
        Err(RelPathError { text: super::printable(&String::from_utf8_lossy(path), 200) })
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            f.write_str(&super::printable(chunk.valid(), usize::MAX))?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

/// One entry of a build context, with normalised metadata: what is hashed is what is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it stands.
    pub path: RelPath,
    /// What it is.
    pub kind: EntryKind,
}

/// The kinds of entry that enter a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File {
        /// The digest of its bytes.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
    },
    /// A symbolic link, never followed.
    Symlink {
        /// Its target's bytes.
        target: Box<[u8]>,
    },
    /// A directory that would be empty otherwise; others are implied by what they hold.
    Directory,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for bad in [&b""[..], b"/a", b"a/", b"a//b", b".", b"a/../b", b"./a", b"a\0b"] {
            assert!(RelPath::new(bad).is_err(), "{bad:?}");
        }
        let parent = RelPath::new(&b"a/b"[..]).unwrap();
        assert_eq!(RelPath::join(Some(&parent), b"c").unwrap().as_bytes(), b"a/b/c");
        assert_eq!(RelPath::join(None, b"c").unwrap().as_bytes(), b"c");
        assert!(RelPath::join(Some(&parent), b"..").is_err());
        let odd = RelPath::new(&b"a\xff\n/b"[..]).unwrap();
        assert_eq!(odd.to_string(), "a\\xff\\n/b");
    }

    #[test]
    fn a_git_directory_is_told_by_its_name() {
        for (path, expect) in [
            (".git", true),
            (".git/config", true),
            ("lib/.git/x", true),
            (".GIT/config", true),
            (".gitignore", false),
            ("a.git/b", false),
            ("git", false),
        ] {
            assert_eq!(RelPath::new(path.as_bytes()).unwrap().is_in_git(), expect, "{path}");
        }
    }
}
