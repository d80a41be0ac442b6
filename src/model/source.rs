//! Where the inputs of a build come from.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Timestamp, grammar};

/// Where a set's boxes were built from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Source {
    /// The commit, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "grammar::revision")]
    pub revision: Option<String>,
    /// The commit's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Whether inputs differed from the commit.
    #[serde(default)]
    pub dirty: bool,
    /// Working copies that stood in for pinned revisions or directories, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "grammar::words")]
    pub local: Vec<String>,
    /// Why nobody could tell whether inputs differed from the commit, where that is so; then `dirty`
    /// says nothing. There is no revision either, unless somebody else than git named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

impl Source {
    /// Tells whether it is known to be older than `other`; without both times nothing is known.
    pub fn is_older_than(&self, other: &Self) -> bool {
        matches!((self.time, other.time), (Some(ours), Some(theirs)) if ours < theirs)
    }
}

/// The commit's first twelve digits and its time.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = self.revision.as_deref().unwrap_or("an unknown revision");
        f.write_str(revision.get(..12).unwrap_or(revision))?;
        self.time.map_or(Ok(()), |time| write!(f, " ({})", time.human()))
    }
}
