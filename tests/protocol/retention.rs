//! The decision of a sweep over random registries.

use std::collections::{BTreeMap, BTreeSet};

use boxwright::model::{ContentTag, Digest, Generation, Key, Span, Tag, TaggedDigest, Timestamp, Tombstone};
use boxwright::retention::{Clean, Node, Observed, Policy, decide};
use proptest::prelude::*;

const REPOSITORIES: [&str; 3] = ["a", "b", "c"];
/// Digests and keys are few, so that they meet often.
const FEW: u8 = 8;

fn digest(number: u8) -> Digest {
    Digest::of(&[number])
}

fn key(number: u8) -> Key {
    Key::of(&[number % 5])
}

fn name(is_content: bool, number: u8, generation: u8) -> Tag {
    if is_content {
        ContentTag::new(None, key(number), Generation(u32::from(generation % 2))).unwrap().tag()
    } else {
        format!("t{}", number % 3).parse().unwrap()
    }
}

prop_compose! {
    fn observed()(
        tags in prop::collection::vec((0..3_usize, any::<bool>(), 0..FEW, 0..2_u8, 0..FEW), 0..14),
        nodes in prop::collection::vec((0..FEW, prop::collection::vec(0..FEW, 0..3), 0..FEW, any::<bool>()), 0..12),
        leased in prop::collection::vec(0..FEW, 0..2),
        promoted in prop::collection::vec(0..FEW, 0..2),
        marked in prop::collection::vec((0..FEW, 0..2_u8, 0..200_i64, any::<bool>()), 0..6),
    ) -> Observed {
        let mut observed = Observed::default();
        for (repository, is_content, number, generation, at) in tags {
            let tags = observed.repositories.entry(REPOSITORIES[repository].to_owned()).or_default();
            tags.insert(name(is_content, number, generation), digest(at));
        }
        // Mostly images say the key that they stand under; some say another one, or none.
        for (repository, tags) in &observed.repositories {
            let _ = repository;
            for (tag, at) in tags {
                let own = ContentTag::read(tag).map(|content| content.key().clone());
                observed.nodes.entry(at.clone()).or_insert(Node { key: own, ..Node::default() });
            }
        }
        for (number, needs, other, is_other) in nodes {
            let node = observed.nodes.entry(digest(number)).or_default();
            node.needs = needs.into_iter().map(digest).collect();
            if is_other {
                node.key = Some(key(other));
            }
        }
        observed.leased = leased.into_iter().map(key).collect();
        observed.promoted = promoted.into_iter().map(|number| (digest(number), "set".to_owned())).collect();
        for (number, generation, at, is_recorded) in marked {
            let generation = Generation(u32::from(generation));
            let standing = observed.repositories.iter().flat_map(|(repository, tags)| {
                tags.iter().map(move |(tag, digest)| (repository.clone(), tag.clone(), digest.clone()))
            });
            let images = standing
                .filter(|(_, tag, _)| {
                    is_recorded
                        && ContentTag::read(tag)
                            .is_some_and(|content| (content.key(), content.generation()) == (&key(number), generation))
                })
                .map(|(repository, tag, digest)| TaggedDigest { repository, tag, digest })
                .collect();
            observed.tombstones.retain(|tombstone| (&tombstone.key, tombstone.generation) != (&key(number), generation));
            let marked = Timestamp::from_unix(at);
            observed.tombstones.push(Tombstone { key: key(number), generation, marked, reason: String::new(), images, parts: BTreeSet::new() });
        }
        observed
    }
}

fn policy() -> Policy {
    let now = Timestamp::from_unix(200);
    Policy { grace: Span::from_seconds(100), now, today: now }
}

/// Walks from everything that keeps an image, in another way than the code does.
fn reachable(observed: &Observed) -> BTreeSet<Digest> {
    let mut found: BTreeSet<Digest> = observed.promoted.keys().cloned().collect();
    for (tag, digest) in observed.repositories.values().flatten() {
        match ContentTag::read(tag) {
            Some(content) if !observed.leased.contains(content.key()) => {}
            _ => drop(found.insert(digest.clone())),
        }
    }
    loop {
        let more: BTreeSet<Digest> = found
            .iter()
            .filter_map(|digest| observed.nodes.get(digest))
            .flat_map(|node| node.needs.clone())
            .collect();
        let before = found.len();
        found.extend(more);
        if found.len() == before {
            return found;
        }
    }
}

fn condemned(clean: &Clean) -> BTreeSet<(String, Tag)> {
    let images = clean.condemn.iter().flat_map(|one| &one.images);
    images.map(|image| (image.repository.clone(), image.tag.clone())).collect()
}

fn deleted(clean: &Clean) -> BTreeSet<(String, Tag)> {
    clean.delete.iter().map(|one| (one.seen.repository.clone(), one.seen.tag.clone())).collect()
}

/// Carries a decision out on what was observed.
fn apply(observed: &Observed, clean: &Clean) -> Observed {
    let mut after = observed.clone();
    for doomed in &clean.delete {
        let tags = after.repositories.get_mut(&doomed.seen.repository).unwrap();
        tags.retain(|_, at| *at != doomed.seen.digest);
    }
    for condemned in &clean.condemn {
        after.tombstones.retain(|tombstone| {
            (&tombstone.key, tombstone.generation) != (&condemned.key, condemned.generation)
        });
        after.tombstones.push(Tombstone {
            key: condemned.key.clone(),
            generation: condemned.generation,
            marked: policy().today,
            reason: String::new(),
            images: condemned.images.clone(),
            parts: condemned.parts.clone(),
        });
    }
    after.tombstones.retain(|tombstone| !clean.forget.contains(tombstone));
    for retired in &clean.retire {
        after
            .tombstones
            .retain(|tombstone| (&tombstone.key, tombstone.generation) != (&retired.key, retired.generation));
        after.tombstones.push(retired.clone());
    }
    after
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_reachable_is_neither_condemned_nor_deleted(observed in observed()) {
        let clean = decide(&observed, policy());
        let roots = reachable(&observed);
        for image in clean.condemn.iter().flat_map(|one| &one.images) {
            prop_assert!(!roots.contains(&image.digest));
        }
        for doomed in &clean.delete {
            prop_assert!(!roots.contains(&doomed.seen.digest));
            // A delete takes every tag of the digest along: all of them must be ours and doomed.
            for (tag, digest) in observed.repositories[&doomed.seen.repository].iter() {
                if *digest == doomed.seen.digest {
                    let content = ContentTag::read(tag);
                    prop_assert!(content.is_some_and(|content| !observed.leased.contains(content.key())));
                }
            }
        }
    }

    #[test]
    fn only_what_was_marked_long_enough_ago_is_deleted(observed in observed()) {
        let clean = decide(&observed, policy());
        prop_assert!(condemned(&clean).is_disjoint(&deleted(&clean)));
        for doomed in &clean.delete {
            let seen = &doomed.seen;
            let is_marked = observed.tombstones.iter().any(|tombstone| {
                tombstone.marked <= Timestamp::from_unix(100)
                    && tombstone.images.iter().any(|image| {
                        (&image.repository, &image.tag, &image.digest) == (&seen.repository, &seen.tag, &seen.digest)
                    })
            });
            prop_assert!(is_marked);
        }
    }

    #[test]
    fn every_tag_is_accounted_for_once(observed in observed()) {
        let clean = decide(&observed, policy());
        let mut all: Vec<(String, Tag)> = Vec::new();
        all.extend(clean.kept.iter().map(|kept| (kept.seen.repository.clone(), kept.seen.tag.clone())));
        all.extend(condemned(&clean));
        all.extend(deleted(&clean));
        all.sort();
        let tags = observed.repositories.iter();
        let expect: Vec<(String, Tag)> =
            tags.flat_map(|(name, tags)| tags.keys().map(|tag| (name.clone(), tag.clone()))).collect();
        prop_assert_eq!(all, expect);
    }

    #[test]
    fn needs_are_deleted_last(observed in observed()) {
        let clean = decide(&observed, policy());
        let order: Vec<&Digest> = clean.delete.iter().map(|one| &one.seen.digest).collect();
        for (index, digest) in order.iter().enumerate() {
            let later: BTreeMap<&Digest, &Node> = order[index + 1..]
                .iter()
                .filter(|later| later != &digest)
                .filter_map(|later| Some((*later, observed.nodes.get(*later)?)))
                .collect();
            // Unless they need each other in a circle.
            let is_needed = later.values().any(|node| node.needs.contains(*digest));
            if is_needed {
                prop_assert!(in_circle(&observed, digest));
            }
        }
    }

    #[test]
    fn again_there_is_nothing_to_do(observed in observed()) {
        let after = apply(&observed, &decide(&observed, policy()));
        // Tombstones of what was deleted are retired by the next sweep.
        let retired = decide(&after, policy());
        prop_assert!(retired.condemn.is_empty() && retired.delete.is_empty() && retired.forget.is_empty());
        let again = decide(&apply(&after, &retired), policy());
        prop_assert!(again.condemn.is_empty() && again.delete.is_empty() && again.retire.is_empty() && again.forget.is_empty());
    }
}

/// Tells whether a digest is needed by something in a circle above it.
fn in_circle(observed: &Observed, digest: &Digest) -> bool {
    let above = |of: &BTreeSet<Digest>| -> BTreeSet<Digest> {
        let holders =
            observed.nodes.iter().filter(|(_, node)| node.needs.iter().any(|need| of.contains(need)));
        holders.map(|(holder, _)| holder.clone()).collect()
    };
    let mut reached = above(&BTreeSet::from([digest.clone()]));
    for _ in 0..FEW {
        let more = above(&reached);
        reached.extend(more);
    }
    reached.iter().any(|one| {
        let mut from = above(&BTreeSet::from([one.clone()]));
        for _ in 0..FEW {
            let more = above(&from);
            from.extend(more);
        }
        from.contains(one)
    })
}
