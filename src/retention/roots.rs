//! The walk from the roots: what keeps a digest, and what keeps a key.

use std::collections::BTreeMap;

use crate::model::{ContentTag, Digest, Generation, Key};
use crate::retention::observed::Observed;

/// Everything that is reachable from a root, with what keeps it.
pub(super) struct Roots {
    digests: BTreeMap<Digest, String>,
    /// Of images that do not say their generation, every one is kept.
    keys: BTreeMap<(Key, Option<Generation>), String>,
}

impl Roots {
    /// Walks from the tags that are not ours, or hold what is not, from what leases cover and from
    /// what is promoted or protected. What a lease covers is kept wherever it was met: somebody may
    /// have taken its tag away, and named it as a part of what goes. So is what refers to what is kept.
    pub fn of(observed: &Observed) -> Self {
        let mut digests = observed.promoted.clone();
        for (tag, digest) in observed.repositories.values().flatten() {
            match ContentTag::read(tag) {
                // What is attached to an image follows it, and keeps nothing.
                None if tag.subject().is_some() => {}
                None => {
                    digests.insert(digest.clone(), format!("has tag {tag}"));
                }
                Some(content) if observed.leased.contains(content.key()) => {
                    digests.entry(digest.clone()).or_insert_with(|| "leased".to_owned());
                }
                Some(content) if !observed.is_own(&content, digest) => {
                    digests.entry(digest.clone()).or_insert_with(|| format!("has tag {tag}"));
                }
                Some(_) => {}
            }
        }
        let mut referring: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
        for (digest, node) in &observed.nodes {
            if node.key.as_ref().is_some_and(|key| observed.leased.contains(key)) {
                digests.entry(digest.clone()).or_insert_with(|| "leased".to_owned());
            }
            if let Some(subject) = &node.subject {
                referring.entry(subject).or_default().push(digest);
            }
        }
        let mut waiting: Vec<Digest> = digests.keys().cloned().collect();
        while let Some(digest) = waiting.pop() {
            let needs = observed.nodes.get(&digest).into_iter().flat_map(|node| &node.needs);
            let needs = needs.map(|needed| (needed, "needed by"));
            let referring = referring.get(&digest).into_iter().flatten();
            for (kept, why) in needs.chain(referring.map(|one| (*one, "refers to"))) {
                if !digests.contains_key(kept) {
                    digests.insert(kept.clone(), format!("{why} {}", digest.short()));
                    waiting.push(kept.clone());
                }
            }
        }
        let mut keys = BTreeMap::new();
        for (digest, reason) in &digests {
            let node = observed.nodes.get(digest);
            if let Some((key, node)) = node.and_then(|node| Some((node.key.clone()?, node))) {
                // An index counts as its images' key does. Of two reasons the same is told each time.
                let kept: &mut String = keys.entry((key, node.generation)).or_insert_with(|| reason.clone());
                if reason < kept {
                    kept.clone_from(reason);
                }
            }
        }
        Self { digests, keys }
    }

    /// Returns what keeps a digest.
    pub fn keeps(&self, digest: &Digest) -> Option<&str> {
        self.digests.get(digest).map(String::as_str)
    }

    /// Returns what keeps an image of this key and generation, whatever its digest is.
    pub fn keeps_key(&self, key: &Key, generation: Generation) -> Option<&str> {
        let exact = self.keys.get(&(key.clone(), Some(generation)));
        exact.or_else(|| self.keys.get(&(key.clone(), None))).map(String::as_str)
    }
}
