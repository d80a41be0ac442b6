//! Sizes: what images take together, each blob counted once, and what is whose alone.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::Stored;
use crate::model::Digest;

/// Who holds one blob.
#[derive(Debug, Default)]
struct Holders<'a> {
    bytes: u64,
    images: BTreeSet<&'a Digest>,
    repositories: BTreeSet<&'a str>,
    /// Whether something that stays holds it.
    is_kept: bool,
}

/// The blobs of a registry.
#[derive(Debug)]
pub struct Weights<'a> {
    blobs: BTreeMap<&'a Digest, Holders<'a>>,
    images: BTreeMap<&'a Digest, Vec<&'a Digest>>,
}

impl<'a> Weights<'a> {
    /// Takes every tag with its repository, its digest and whether it stays.
    pub fn new(
        tags: impl Iterator<Item = (&'a str, &'a Digest, bool)>,
        stored: &'a BTreeMap<Digest, Stored>,
    ) -> Self {
        let mut weights = Self { blobs: BTreeMap::new(), images: BTreeMap::new() };
        for (repository, image, is_kept) in tags {
            let Some(parts) = stored.get(image) else { continue };
            for (digest, bytes) in parts {
                let holders = weights.blobs.entry(digest).or_default();
                holders.bytes = *bytes;
                holders.images.insert(image);
                holders.repositories.insert(repository);
                holders.is_kept |= is_kept;
            }
            weights.images.insert(image, parts.keys().collect());
        }
        weights
    }

    fn sum(&self, is_wanted: impl Fn(&Holders<'_>) -> bool) -> u64 {
        self.blobs.values().filter(|holders| is_wanted(holders)).map(|holders| holders.bytes).sum()
    }

    pub fn total(&self) -> u64 {
        self.sum(|_| true)
    }

    /// What nothing that stays holds.
    pub fn freed(&self) -> u64 {
        self.sum(|holders| !holders.is_kept)
    }

    pub fn of_repository(&self, name: &str) -> u64 {
        self.sum(|holders| holders.repositories.contains(name))
    }

    pub fn own_of_repository(&self, name: &str) -> u64 {
        self.sum(|holders| holders.repositories.len() == 1 && holders.repositories.contains(name))
    }

    pub fn of_image(&self, digest: &Digest) -> u64 {
        self.parts(digest).map(|holders| holders.bytes).sum()
    }

    pub fn own_of_image(&self, digest: &Digest) -> u64 {
        self.parts(digest).filter(|holders| holders.images.len() == 1).map(|holders| holders.bytes).sum()
    }

    fn parts(&self, digest: &Digest) -> impl Iterator<Item = &Holders<'a>> {
        let parts = self.images.get(digest).into_iter().flatten();
        parts.filter_map(|part| self.blobs.get(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_is_counted_once() {
        let [a, b, c, shared, own] = [b"a", b"b", b"c", b"s", b"o"].map(|bytes| Digest::of(bytes));
        let stored = BTreeMap::from([
            (a.clone(), Stored::from([(a.clone(), 1), (shared.clone(), 100)])),
            (b.clone(), Stored::from([(b.clone(), 2), (shared.clone(), 100), (own.clone(), 30)])),
            (c.clone(), Stored::from([(c.clone(), 4), (own.clone(), 30)])),
        ]);
        // `one` holds a, which stays; `two` holds b twice and c, which go.
        let tags = [("one", &a, true), ("two", &b, false), ("two", &b, false), ("two", &c, false)];
        let weights = Weights::new(tags.into_iter(), &stored);
        assert_eq!((weights.total(), weights.freed()), (137, 36));
        assert_eq!((weights.of_repository("one"), weights.own_of_repository("one")), (101, 1));
        assert_eq!((weights.of_repository("two"), weights.own_of_repository("two")), (136, 36));
        assert_eq!((weights.of_image(&b), weights.own_of_image(&b)), (132, 2));
        assert_eq!(weights.of_image(&shared), 0);
    }
}
