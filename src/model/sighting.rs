//! Sightings: when a sweep first saw a record of the ledger. They stand in a repository that the
//! sweeps' credential alone can write, so that nobody else can say how long a record has stood.
//!
//! All that a sighting says stands in its tag, `seen.<time>.<hash of the record's tag>.<hash of the
//! record>`, or `own.…` for a record that the sweep wrote itself. So one list tells all of them.

use std::fmt;

use super::record::manifest_of;
use super::{Digest, RawManifest, RecordTag, Tag, TagError, Timestamp};

/// That a record stood in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sighting {
    place: Place,
    record: Box<str>,
    /// When it was first seen, by the registry's clock.
    pub seen: Timestamp,
    /// Whether the sweep that wrote this had written the record.
    pub is_own: bool,
}

/// The hash of a record's tag: a tag and a digest do not fit into one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(Box<str>);

impl Place {
    /// Returns the place of a record.
    pub fn of(record: &RecordTag) -> Self {
        let hash = Digest::of(record.to_string().as_bytes());
        Self(hash.hex().get(..32).unwrap_or_default().into())
    }
}

impl Sighting {
    /// Notes that `record` stood at `place`.
    pub fn new(place: &RecordTag, record: &Digest, seen: Timestamp, is_own: bool) -> Self {
        Self { place: Place::of(place), record: record.hex().into(), seen, is_own }
    }

    /// Reads a tag; `None` for one that is no sighting.
    pub fn read(tag: &Tag) -> Option<Self> {
        let mut parts = tag.as_str().split('.');
        let is_own = match parts.next()? {
            "own" => true,
            "seen" => false,
            _ => return None,
        };
        let seen = parts.next()?.parse().ok()?;
        let read = Self { place: Place(parts.next()?.into()), record: parts.next()?.into(), seen, is_own };
        (read.to_string() == tag.as_str()).then_some(read)
    }

    /// Returns its tag.
    pub fn tag(&self) -> Result<Tag, TagError> {
        self.to_string().parse()
    }

    /// Returns the place of the record that was seen.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Tells whether this is what was seen.
    pub fn is_of(&self, record: &Digest) -> bool {
        *self.record == *record.hex()
    }

    /// Writes it as a manifest of its own, so that deleting one takes no other along.
    pub fn to_manifest(&self) -> RawManifest {
        manifest_of("seen", "io.boxwright.seen", &self.to_string())
    }
}

impl fmt::Display for Sighting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_own { "own" } else { "seen" };
        write!(f, "{kind}.{}.{}.{}", self.seen, self.place.0, self.record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Generation, Key};

    #[test]
    fn a_sighting_is_its_tag_and_other_tags_are_none() {
        let place = RecordTag::Over { key: Key::of(b"a"), generation: Generation(u32::MAX) };
        for is_own in [true, false] {
            let one = Sighting::new(&place, &Digest::of(b"x"), Timestamp::from_unix(1_000_000), is_own);
            assert_eq!(Sighting::read(&one.tag().unwrap()), Some(one.clone()));
            assert!(one.is_of(&Digest::of(b"x")) && !one.is_of(&Digest::of(b"y")));
            assert_eq!(one.place(), &Place::of(&place));
        }
        for other in [
            "main",
            "seen.x",
            "seen.20260101T000000Z.a",
            "own.20260101T000000Z.a.b.c",
            "their.20260101T000000Z.a.b",
        ] {
            assert_eq!(Sighting::read(&other.parse().unwrap()), None, "{other}");
        }
    }
}
