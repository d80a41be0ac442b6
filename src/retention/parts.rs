//! Manifests without a tag that go with an image: the children of an index, and what a registry
//! lists as referring to it.
//!
//! A tombstone names them, before anything of it is deleted. So a sweep that dies between an index
//! and its children leaves nothing that nobody knows of: the next one goes on with what is left.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ContentTag, Digest, Generation, Key, Part, TaggedDigest, Tombstone};
use crate::retention::observed::{Node, Observed};
use crate::retention::roots::Roots;

/// Returns what goes with these images by what was read about them, to the end.
pub(super) fn below(nodes: &BTreeMap<Digest, Node>, images: &[TaggedDigest]) -> BTreeSet<Part> {
    let mut parts = BTreeSet::new();
    let mut waiting: Vec<(&str, &Digest)> =
        images.iter().map(|seen| (seen.repository.as_str(), &seen.digest)).collect();
    while let Some((repository, digest)) = waiting.pop() {
        let Some(node) = nodes.get(digest) else { continue };
        for digest in node.children.iter().chain(&node.referrers).filter(|one| nodes.contains_key(one)) {
            if parts.insert(Part { repository: repository.to_owned(), digest: digest.clone() }) {
                waiting.push((repository, digest));
            }
        }
    }
    parts.retain(|part| !images.iter().any(|seen| seen.digest == part.digest));
    parts
}

/// Returns the tombstones of whose images no tag stands any more, and that name parts.
pub fn leftovers(observed: &Observed) -> Vec<&Tombstone> {
    let named: Vec<&Tombstone> =
        observed.tombstones.iter().filter(|tombstone| !tombstone.parts.is_empty()).collect();
    if named.is_empty() {
        return named;
    }
    let standing: BTreeSet<(Key, Generation)> = observed
        .all_tags()
        .filter_map(ContentTag::read)
        .map(|content| (content.key().clone(), content.generation()))
        .collect();
    let is_over = |tombstone: &&Tombstone| !standing.contains(&(tombstone.key.clone(), tombstone.generation));
    named.into_iter().filter(is_over).collect()
}

/// Returns the parts that a tombstone names, of images that are gone, as far as they are known to have
/// belonged there: whoever may push can write a tombstone that names anything.
///
/// What a sweep wrote (`is_own`) is known. Of other tombstones what says itself that it was built for
/// this generation; and where nobody notes who wrote a tombstone what refers to an image that the tombstone
/// names and that is gone, or to such a part. All else is left where it is.
pub(super) fn remembered(observed: &Observed, tombstone: &Tombstone, is_own: bool) -> BTreeSet<Part> {
    if is_own {
        return tombstone.parts.clone();
    }
    let node = |part: &Part| observed.nodes.get(&part.digest);
    let is_built = |part: &&Part| {
        node(part).is_some_and(|node| {
            node.key.as_ref() == Some(&tombstone.key) && node.generation == Some(tombstone.generation)
        })
    };
    let mut known: BTreeSet<Part> = tombstone.parts.iter().filter(is_built).cloned().collect();
    if observed.ages.is_some() {
        return known;
    }
    loop {
        let more = tombstone.parts.iter().filter(|part| !known.contains(part)).filter(|part| {
            let subject = node(part).and_then(|node| node.subject.as_ref());
            subject.is_some_and(|subject| {
                let is_gone = tombstone.images.iter().any(|image| image.digest == *subject)
                    && !observed.nodes.contains_key(subject);
                is_gone || known.iter().any(|one| one.digest == *subject)
            })
        });
        let more: Vec<Part> = more.cloned().collect();
        if more.is_empty() {
            return known;
        }
        known.extend(more);
    }
}

/// Returns those of `parts` that nothing but `going` and each other needs, and no tag holds.
///
/// Only where everything that stands in a repository was read is it known what needs a part of it.
pub(super) fn free(
    observed: &Observed,
    roots: &Roots,
    standing: &BTreeSet<(String, Digest)>,
    going: &BTreeSet<Digest>,
    parts: BTreeSet<Part>,
) -> BTreeSet<Part> {
    if parts.is_empty() {
        return parts;
    }
    let mut holders: BTreeMap<&Digest, Vec<&Digest>> = BTreeMap::new();
    for (holder, node) in &observed.nodes {
        node.needs.iter().for_each(|needed| holders.entry(needed).or_default().push(holder));
    }
    let is_read = |name: &str| observed.unread.get(name).is_none_or(BTreeSet::is_empty);
    let mut free = parts;
    free.retain(|part| {
        observed.nodes.contains_key(&part.digest)
            && is_read(&part.repository)
            && roots.keeps(&part.digest).is_none()
            && !going.contains(&part.digest)
            && !standing.contains(&(part.repository.clone(), part.digest.clone()))
    });
    loop {
        let digests: BTreeSet<Digest> = free.iter().map(|part| part.digest.clone()).collect();
        let before = free.len();
        free.retain(|part| {
            let held = holders.get(&part.digest).into_iter().flatten();
            held.into_iter().all(|holder| going.contains(holder) || digests.contains(holder))
        });
        if free.len() == before {
            return free;
        }
    }
}
