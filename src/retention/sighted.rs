//! When records were first seen: what their own dates say is believed only where nobody notes that.

use std::collections::BTreeMap;

use crate::model::{Digest, Place, RecordTag, Sighting, Timestamp};

/// The sightings that stand, by the place of what was seen.
#[derive(Debug, Clone, Default)]
pub struct Sightings(BTreeMap<Place, Vec<Sighting>>);

impl FromIterator<Sighting> for Sightings {
    fn from_iter<T: IntoIterator<Item = Sighting>>(sightings: T) -> Self {
        let mut all = Self::default();
        for one in sightings {
            all.0.entry(one.place().clone()).or_default().push(one);
        }
        all
    }
}

impl Sightings {
    fn of(&self, place: &RecordTag) -> &[Sighting] {
        self.0.get(&Place::of(place)).map_or(&[], Vec::as_slice)
    }

    /// Tells whether what stands at a place was seen there; nothing if nothing ever was.
    pub fn knows(&self, place: &RecordTag, record: &Digest) -> Option<bool> {
        let seen = self.of(place);
        (!seen.is_empty()).then(|| seen.iter().any(|one| one.is_of(record)))
    }

    /// Returns when a record was first seen at its place.
    pub fn since(&self, place: &RecordTag, record: &Digest) -> Option<Timestamp> {
        self.of(place).iter().filter(|one| one.is_of(record)).map(|one| one.seen).min()
    }

    /// Returns the age of a record at its place.
    pub fn age(&self, place: &RecordTag, record: &Digest) -> Age {
        let is_own = self.of(place).iter().any(|one| one.is_own && one.is_of(record));
        Age { since: self.since(place, record), is_own }
    }

    /// Returns when a sweep last wrote a record of its own at a place, whatever stands there now.
    pub fn written(&self, place: &RecordTag) -> Option<Timestamp> {
        self.of(place).iter().filter(|one| one.is_own).map(|one| one.seen).max()
    }

    /// Lists all.
    pub fn iter(&self) -> impl Iterator<Item = &Sighting> {
        self.0.values().flatten()
    }
}

/// What is known of a record's age.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Age {
    /// Since when it has stood; nothing if no sweep has seen it before.
    pub since: Option<Timestamp>,
    /// Whether a sweep wrote it; where that is not noted, nobody can tell.
    pub is_own: bool,
}
