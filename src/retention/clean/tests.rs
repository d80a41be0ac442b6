use std::collections::{BTreeMap, BTreeSet};

use super::super::observed::{Node, Observed, Policy};
use super::*;
use crate::model::{Generation, Key, Span, TaggedDigest, Timestamp};

const DAY: Span = Span::from_seconds(86_400);

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn content_tag(name: &str) -> Tag {
    ContentTag::new(None, Key::of(name.as_bytes()), Generation(0)).unwrap().tag()
}

/// A registry with boxes base, build and test, each needing the one before.
fn chain() -> Observed {
    let mut observed = Observed::default();
    let mut before: Option<Digest> = None;
    for name in ["base", "build", "test"] {
        let tags = BTreeMap::from([(content_tag(name), digest(name))]);
        observed.repositories.insert(name.to_owned(), tags);
        let node = Node {
            needs: before.into_iter().collect(),
            key: Some(Key::of(name.as_bytes())),
            ..Node::default()
        };
        observed.nodes.insert(digest(name), node);
        before = Some(digest(name));
    }
    observed
}

fn mark(observed: &mut Observed, name: &str, at: i64) {
    observed.tombstones.push(Tombstone {
        key: Key::of(name.as_bytes()),
        generation: Generation(0),
        marked: Timestamp::from_unix(at),
        reason: String::new(),
        images: vec![TaggedDigest {
            repository: name.to_owned(),
            tag: content_tag(name),
            digest: digest(name),
        }],
        parts: BTreeSet::new(),
    });
}

fn tag(observed: &mut Observed, repository: &str, tag: &str, what: &str) {
    let tags = observed.repositories.get_mut(repository).unwrap();
    tags.insert(tag.parse().unwrap(), digest(what));
}

fn policy(now: i64) -> Policy {
    let now = Timestamp::from_unix(now);
    Policy { grace: DAY, now, today: now }
}

/// Returns the repositories that are condemned and those that are deleted, in order.
fn outcome(observed: &Observed, now: i64) -> (Vec<String>, Vec<String>) {
    let clean = decide(observed, policy(now));
    let condemned = clean.condemn.iter().flat_map(|one| &one.images);
    let mut condemned: Vec<String> = condemned.map(|image| image.repository.clone()).collect();
    condemned.sort();
    let deleted = clean.delete.iter().map(|one| one.seen.repository.clone()).collect();
    (condemned, deleted)
}

fn check(observed: &Observed, now: i64, condemned: &[&str], deleted: &[&str]) {
    let (are_condemned, are_deleted) = outcome(observed, now);
    assert_eq!(are_condemned, condemned);
    assert_eq!(are_deleted, deleted);
}

#[test]
fn marks_first_and_deletes_after_the_grace_children_first() {
    let mut observed = chain();
    check(&observed, 0, &["base", "build", "test"], &[]);
    for name in ["base", "build", "test"] {
        mark(&mut observed, name, 100);
    }
    check(&observed, 100 + 86_399, &[], &[]);
    check(&observed, 100 + 86_400, &[], &["test", "build", "base"]);
}

#[test]
fn a_lease_keeps_its_keys_and_what_they_stand_on() {
    let mut observed = chain();
    observed.leased.insert(Key::of(b"build"));
    for name in ["base", "build", "test"] {
        mark(&mut observed, name, 0);
    }
    check(&observed, 1_000_000, &[], &["test"]);
}

#[test]
fn a_promoted_or_unknown_tag_keeps_its_digest_and_its_bases() {
    let mut observed = chain();
    tag(&mut observed, "build", "main", "build");
    check(&observed, 0, &["test"], &[]);
    for name in ["base", "build", "test"] {
        mark(&mut observed, name, 0);
    }
    check(&observed, 1_000_000, &[], &["test"]);
    tag(&mut observed, "test", "somebody-elses", "test");
    check(&observed, 1_000_000, &[], &[]);
}

#[test]
fn a_set_record_keeps_what_its_channel_says() {
    let mut observed = chain();
    observed.promoted.insert(digest("test"), "main, promotion 3".to_owned());
    check(&observed, 0, &[], &[]);
}

#[test]
fn children_of_a_kept_index_are_kept() {
    let mut observed = chain();
    let node = Node { needs: BTreeSet::from([digest("test")]), key: None, ..Node::default() };
    observed.nodes.insert(digest("index"), node);
    tag(&mut observed, "base", "r1", "index");
    check(&observed, 0, &[], &[]);
}

#[test]
fn a_digest_without_its_own_key_is_never_touched() {
    let mut observed = chain();
    observed.nodes.get_mut(&digest("test")).unwrap().key = None;
    mark(&mut observed, "test", 0);
    // Nor is one that was never read.
    observed.nodes.remove(&digest("build"));
    mark(&mut observed, "build", 0);
    mark(&mut observed, "base", 0);
    let (_, deleted) = outcome(&observed, 1_000_000);
    assert_eq!(deleted, ["base"]);
}

#[test]
fn what_somebody_put_under_another_key_or_generation_too_is_kept() {
    let other = content_tag("other").to_string();
    let next = format!("{}.g1", content_tag("test"));
    for alias in [other, next] {
        let mut observed = chain();
        observed.nodes.get_mut(&digest("test")).unwrap().generation = Some(Generation(0));
        tag(&mut observed, "test", &alias, "test");
        for name in ["base", "build", "test"] {
            mark(&mut observed, name, 0);
        }
        // A delete would take both tags, and what the image stands on stays with it.
        check(&observed, 1_000_000, &[], &[]);
    }
}

#[test]
fn what_moved_after_it_was_marked_is_left_alone() {
    let mut observed = chain();
    mark(&mut observed, "test", 0);
    observed.repositories.get_mut("test").unwrap().insert(content_tag("test"), digest("newer"));
    let node = Node { needs: BTreeSet::new(), key: Some(Key::of(b"test")), ..Node::default() };
    observed.nodes.insert(digest("newer"), node);
    assert!(outcome(&observed, 1_000_000).1.is_empty());
}

#[test]
fn tombstones_are_retired_when_their_images_are_gone_and_forgotten_a_day_later() {
    let mut observed = chain();
    mark(&mut observed, "gone", 0);
    mark(&mut observed, "test", 0);
    // What another configuration's repositories hold was not read.
    mark(&mut observed, "elsewhere", 0);
    observed.repositories.insert("gone".to_owned(), BTreeMap::new());
    let keys = |tombstones: Vec<Tombstone>| {
        tombstones.into_iter().map(|tombstone| tombstone.key).collect::<Vec<_>>()
    };
    let settled = |observed: &Observed, policy| {
        let clean = decide(observed, policy);
        (keys(clean.retire), keys(clean.forget))
    };
    // However old it is: sweeps that saw its image may live.
    assert_eq!(settled(&observed, policy(1_000_000)), (vec![Key::of(b"gone")], vec![]));
    let [retired] = decide(&observed, policy(1_000_000)).retire.try_into().unwrap();
    assert_eq!((retired.marked.unix(), retired.images.len()), (1_000_000, 0));
    observed.tombstones[0] = retired;
    assert_eq!(settled(&observed, policy(1_000_000 + 86_399)), (vec![], vec![]));
    assert_eq!(settled(&observed, policy(1_000_000 + 86_400)), (vec![], vec![Key::of(b"gone")]));
    // A look ahead deletes, but forgets nothing.
    let ahead = Policy { today: Timestamp::from_unix(1_000_000), ..policy(2_000_000) };
    assert_eq!(settled(&observed, ahead), (vec![], vec![]));
    // Nor is the tombstone of a key that somebody builds under its next generation.
    observed.leased.insert(Key::of(b"gone"));
    assert_eq!(settled(&observed, policy(2_000_000)), (vec![], vec![]));
}

#[test]
fn what_appeared_under_a_condemned_key_is_condemned_anew() {
    let mut observed = chain();
    mark(&mut observed, "test", 0);
    let node = Node { needs: BTreeSet::new(), key: Some(Key::of(b"test")), ..Node::default() };
    observed.nodes.insert(digest("late"), node);
    let also = BTreeMap::from([(content_tag("test"), digest("late"))]);
    observed.repositories.insert("elsewhere".to_owned(), also);
    // Its tombstone's date would be too old for what came later, so it is written again.
    check(&observed, 1_000_000, &["base", "build", "elsewhere", "test"], &[]);
}

#[test]
fn a_generation_of_a_key_is_kept_as_a_whole() {
    let mut observed = chain();
    let node = Node { needs: BTreeSet::new(), key: Some(Key::of(b"test")), ..Node::default() };
    observed.nodes.insert(digest("other"), node);
    let also = BTreeMap::from([(content_tag("test"), digest("other"))]);
    observed.repositories.insert("elsewhere".to_owned(), also);
    tag(&mut observed, "elsewhere", "main", "other");
    // A tombstone would end the promoted image's key as well.
    check(&observed, 0, &["base", "build"], &[]);
}
