//! What a sweep of the model sees.

use std::collections::{BTreeMap, BTreeSet};

use boxwright::model::{Digest, Generation, Part, Record, TaggedDigest, Tombstone};
use boxwright::retention::{Age, Node, Observed, Unreadable, Until};

use super::super::registry::{Cell, GARBAGE, Id, Mark, NAMES, Rec, Store};
use super::super::world::{Config, Guard, PartKind, generations};
use super::at_day;

/// What the product's survey would have read of this; nothing if a tag does not resolve.
pub fn observed(config: &Config, view: &Store, leased: u8) -> Option<Observed> {
    let mut observed = Observed::default();
    let mut ages = BTreeMap::new();
    if leased & GARBAGE != 0 && !config.lacks(Guard::UnreadableLease) {
        let stops = Some(Until::Expiry(at_day(u8::MAX)));
        observed.unreadable.insert(Unreadable { tag: String::new(), why: String::new(), stops });
    }
    for key in 0..config.keys {
        if leased & (1 << key) != 0 {
            observed.leased.insert(NAMES.key(key));
        }
        let of = NAMES.box_name(config.box_of(key));
        let repository = observed.repositories.entry(of.clone()).or_default();
        for generation in generations() {
            if let Some(id) = view.content[usize::from(key)][usize::from(generation)].now {
                repository.insert(NAMES.tag(key, generation), NAMES.digest(id));
            }
            if let Some(mark) = &view.tombstones[usize::from(key)][usize::from(generation)].now {
                let tombstone = tombstone(config, view, key, generation, mark);
                if let Some((seen, is_own)) = mark.seen {
                    ages.insert(tombstone.place(), Age { since: Some(at_day(seen)), is_own });
                }
                observed.tombstones.push(tombstone);
            }
        }
    }
    for of in 0..config.boxes {
        let repository = observed.repositories.entry(NAMES.box_name(of)).or_default();
        let main = view.main[usize::from(of)].now.map(|id| (NAMES.main.clone(), id));
        let foreign = view.foreign[usize::from(of)].map(|id| (NAMES.foreign.clone(), id));
        for (tag, id) in main.into_iter().chain(foreign) {
            if !config.lacks(Guard::ForeignTags) {
                repository.insert(tag, NAMES.digest(id));
            }
        }
    }
    observed.ages = (!config.lacks(Guard::Sighting)).then_some(ages);
    let last = |cells: &[Cell<Rec>]| cells.iter().rposition(|cell| cell.now.is_some());
    let (set, plan) = (last(&view.sets), last(&view.plans));
    let kept = view.sets.iter().rev().filter_map(|cell| cell.now.as_ref()).take(config.kept);
    let begun =
        plan.filter(|plan| set.is_none_or(|set| set < *plan)).and_then(|seq| view.plans[seq].now.as_ref());
    for record in kept.chain(begun) {
        for one in &record.boxes {
            observed.promoted.insert(NAMES.digest(one.wanted), "main".to_owned());
        }
    }
    let tagged: BTreeSet<Digest> =
        observed.repositories.values().flat_map(BTreeMap::values).cloned().collect();
    let parts = observed.tombstones.iter().flat_map(|tombstone| &tombstone.parts).map(|part| &part.digest);
    let waiting = tagged.iter().chain(observed.promoted.keys()).chain(parts);
    let mut waiting: Vec<Digest> = waiting.cloned().collect();
    while let Some(digest) = waiting.pop() {
        let id = NAMES.id(&digest);
        if observed.nodes.contains_key(&digest) {
            continue;
        }
        if !view.has(id) {
            if tagged.contains(&digest) {
                return None;
            }
            continue;
        }
        let image = view.image(id);
        let mut node = node(config, view, id);
        waiting.extend(node.needs.iter().chain(&node.referrers).cloned());
        if config.lacks(Guard::Closure) || image.is_foreign && config.lacks(Guard::PartsOfOthers) {
            node.needs = BTreeSet::new();
        }
        observed.nodes.insert(digest, node);
    }
    Some(observed)
}

/// What the product would have written for a tombstone.
pub fn tombstone(config: &Config, view: &Store, key: u8, generation: u8, mark: &Mark) -> Tombstone {
    let of = NAMES.box_name(config.box_of(key));
    let image = mark.image.map(|id| TaggedDigest {
        repository: of.clone(),
        tag: NAMES.tag(key, generation),
        digest: NAMES.digest(id),
    });
    let is_known =
        |_: &Id| !config.lacks(Guard::PartsRemembered) || mark.image.is_some_and(|id| view.has(id));
    let part = mark.part.filter(is_known).map(|id| NAMES.digest(id));
    let part = part.map(|digest| Part { repository: of, digest });
    Tombstone {
        key: NAMES.key(key),
        generation: Generation(generation.into()),
        marked: at_day(mark.day),
        // Who wrote it tells tombstones apart, as their times do in the product.
        reason: format!("{:?}", mark.by),
        images: image.into_iter().collect(),
        parts: part.into_iter().collect(),
    }
}

/// What an image says and what the registry lists for it.
fn node(config: &Config, view: &Store, id: Id) -> Node {
    let image = view.image(id);
    let digest = |id: &Id| NAMES.digest(*id);
    let holders: Vec<Id> = view.holders(id).collect();
    let mut node = Node { needs: image.base.iter().map(digest).collect(), ..Node::default() };
    match config.part {
        Some(PartKind::Child) => node.children = image.part.iter().map(digest).collect(),
        Some(PartKind::Referrer) => {
            let part = image.part.filter(|part| view.has(*part));
            node.referrers = part.iter().map(digest).collect();
            node.needs.extend(holders.iter().map(digest));
        }
        None => {}
    }
    node.needs.extend(node.children.iter().cloned());
    // A part says no key: as an attestation does, or a signature.
    let is_part = view.images.iter().any(|one| one.part == Some(id));
    node.key = (!image.is_foreign && !is_part).then(|| NAMES.key(image.key));
    node
}
