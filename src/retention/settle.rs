//! What becomes of markers whose images are gone.

use std::collections::BTreeSet;

use crate::model::{ContentTag, Key, Marker, Record as _, Tag};
use crate::retention::observed::{Clean, Group, Observed, Policy};
use crate::retention::times::RETIRED;

/// Decides which markers are to be retired and which are to be forgotten.
///
/// A marker whose images are gone may still be met by a sweep that looked before. Only when
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
    let is_left = |marker: &Marker| {
        let stands = |repository: &str, tag: &Tag| observed.tags(repository).any(|at| at == tag);
        marker
            .images
            .iter()
            .any(|image| image.tag.subject().is_some() && stands(&image.repository, &image.tag))
    };
    let is_ours = |marker: &Marker| {
        marker.images.is_empty() || marker.images.iter().any(|image| observed.covers(&image.repository))
    };
    let is_free = |marker: &&Marker| {
        is_ours(marker)
            && !standing.contains(&marker.key)
            && !observed.leased.contains(&marker.key)
            && !is_left(marker)
            && !unfinished.contains(&(marker.key.clone(), marker.generation))
    };
    let (retired, fresh): (Vec<&Marker>, Vec<&Marker>) =
        observed.markers.iter().filter(is_free).partition(|marker| marker.images.is_empty());
    let retire = fresh.into_iter().map(|marker| Marker {
        marked: policy.today,
        images: Vec::new(),
        parts: BTreeSet::new(),
        ..marker.clone()
    });
    clean.retire = retire.collect();
    for marker in retired {
        match observed.age(marker, marker.marked).since {
            Some(since) if policy.today.since(since) >= RETIRED => clean.forget.push(marker.clone()),
            Some(_) => {}
            None => drop(clean.sight.insert((marker.place(), marker.to_manifest().digest().clone()))),
        }
    }
}
