//! What becomes of tombstones whose images are gone.

use std::collections::BTreeSet;

use crate::model::{ContentTag, Key, Record as _, Tag, Tombstone};
use crate::retention::observed::{Clean, Group, Observed, Policy};
use crate::retention::times::RETIRED;

/// Decides which tombstones are to be retired and which are to be forgotten.
///
/// A tombstone whose images are gone may still be met by a sweep that looked before. Only when
/// all such sweeps must have ended may its generation be built again, for the same inputs may
/// give the same digest. So it is retired first: written anew without images, with the date
/// from which that time counts. While somebody leases the key, or parts of its images are left
/// (`unfinished`), it stays as it is.
pub(super) fn settle(observed: &Observed, policy: Policy, unfinished: &BTreeSet<Group>, clean: &mut Clean) {
    let standing: BTreeSet<Key> = observed
        .all_tags()
        .filter_map(|tag| ContentTag::read(tag).map(|content| content.key().clone()))
        .collect();
    // What was attached to its image may be left of it.
    let is_left = |tombstone: &Tombstone| {
        let stands = |repository: &str, tag: &Tag| observed.tags(repository).any(|at| at == tag);
        tombstone
            .images
            .iter()
            .any(|image| image.tag.subject().is_some() && stands(&image.repository, &image.tag))
    };
    let is_ours = |tombstone: &Tombstone| {
        tombstone.images.is_empty() || tombstone.images.iter().any(|image| observed.covers(&image.repository))
    };
    let is_free = |tombstone: &&Tombstone| {
        is_ours(tombstone)
            && !standing.contains(&tombstone.key)
            && !observed.leased.contains(&tombstone.key)
            && !is_left(tombstone)
            && !unfinished.contains(&(tombstone.key.clone(), tombstone.generation))
    };
    let (retired, fresh): (Vec<&Tombstone>, Vec<&Tombstone>) =
        observed.tombstones.iter().filter(is_free).partition(|tombstone| tombstone.images.is_empty());
    let retire = fresh.into_iter().map(|tombstone| Tombstone {
        marked: policy.today,
        images: Vec::new(),
        parts: BTreeSet::new(),
        ..tombstone.clone()
    });
    clean.retire = retire.collect();
    for tombstone in retired {
        match observed.age(tombstone, tombstone.marked).since {
            Some(since) if policy.today.since(since) >= RETIRED => clean.forget.push(tombstone.clone()),
            Some(_) => {}
            None => drop(clean.sight.insert((tombstone.place(), tombstone.to_manifest().digest().clone()))),
        }
    }
}
