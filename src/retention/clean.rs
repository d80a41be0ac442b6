//! Mark and sweep: what is kept and why, what is condemned now, what may be deleted.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ContentTag, Digest, Generation, Key, Marked, Marker, Span, Tag, Timestamp};

/// Everything a sweep has read, completely. Whoever could not read all of it has no
/// `Observed`, and deletes nothing.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The keys of live leases.
    pub leased: BTreeSet<Key>,
    /// The markers that stand.
    pub markers: Vec<Marker>,
    /// The digests that finished promotions keep, with the reason.
    pub promoted: BTreeMap<Digest, String>,
    /// Every tag of every repository, by the repository's name.
    pub repositories: BTreeMap<String, BTreeMap<Tag, Digest>>,
    /// What was read about digests: every root's whole closure, and every candidate.
    pub nodes: BTreeMap<Digest, Node>,
}

/// What a digest needs and says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Children, subject and recorded bases: what must exist as long as this does.
    pub needs: BTreeSet<Digest>,
    /// The key that its labels hold.
    pub key: Option<Key>,
}

/// How a sweep waits.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The least time between marking and deleting.
    pub grace: Span,
    /// The time that counts as now.
    pub now: Timestamp,
    /// The registry's true time, by which markers are forgotten however far ahead `now` looks.
    pub today: Timestamp,
}

/// What a sweep found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Clean {
    /// What stays, and why.
    pub kept: Vec<Kept>,
    /// What is marked now.
    pub condemn: Vec<Condemned>,
    /// What was marked long enough ago, in the order of deletion.
    pub delete: Vec<Doomed>,
    /// Markers whose images are gone: they are written anew without images, dated today.
    pub retire: Vec<Marker>,
    /// Markers that were retired long enough ago, to be forgotten.
    pub forget: Vec<Marker>,
}

/// A tag with what it points to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Seen {
    /// The repository's name, without host.
    pub repository: String,
    /// The tag.
    pub tag: Tag,
    /// The digest.
    pub digest: Digest,
}

/// Something that stays.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kept {
    /// What.
    pub seen: Seen,
    /// Why.
    pub reason: String,
}

/// A key's generation that is condemned, with all that stands under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condemned {
    /// The key.
    pub key: Key,
    /// The generation.
    pub generation: Generation,
    /// What stands there.
    pub images: Vec<Marked>,
}

/// An image that may be deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Doomed {
    /// What.
    pub seen: Seen,
    /// When it was marked.
    pub marked: Timestamp,
    /// What must not be deleted before it is gone.
    pub needs: BTreeSet<Digest>,
}

/// Decides. Nothing is both condemned and deleted, and nothing that is reachable from a
/// root is either. A generation of a key is condemned and deleted as a whole: a marker ends
/// it for every repository.
pub fn decide(observed: &Observed, policy: Policy) -> Clean {
    let reasons = reachable(observed);
    let markers: BTreeMap<(&Key, Generation), &Marker> =
        observed.markers.iter().map(|marker| ((&marker.key, marker.generation), marker)).collect();
    let mut clean = Clean::default();
    let mut kept: BTreeMap<(Key, Generation), String> = BTreeMap::new();
    let mut outside: BTreeMap<(Key, Generation), Vec<Seen>> = BTreeMap::new();
    for (repository, tags) in &observed.repositories {
        for (tag, digest) in tags {
            let seen = Seen { repository: repository.clone(), tag: tag.clone(), digest: digest.clone() };
            match judge(&seen, observed, &reasons) {
                Verdict::Keep(reason) => clean.kept.push(Kept { seen, reason }),
                Verdict::Needed(key, generation, reason) => {
                    kept.insert((key, generation), reason.clone());
                    clean.kept.push(Kept { seen, reason });
                }
                Verdict::Outside(key, generation) => {
                    outside.entry((key, generation)).or_default().push(seen);
                }
            }
        }
    }
    for ((key, generation), images) in outside {
        let mut keep = |reason: String| {
            clean.kept.extend(images.iter().map(|seen| Kept { seen: seen.clone(), reason: reason.clone() }));
        };
        if let Some(reason) = kept.get(&(key.clone(), generation)) {
            keep(format!("its key is kept: {reason}"));
            continue;
        }
        // What appeared after its key was condemned is condemned anew, with a grace of its own.
        let marker = markers
            .get(&(&key, generation))
            .filter(|marker| images.iter().all(|seen| marker.images.iter().any(|image| seen.is(image))));
        match marker {
            None => {
                let images = images.into_iter().map(Seen::into_marked).collect();
                clean.condemn.push(Condemned { key, generation, images });
            }
            Some(marker) if policy.now.since(marker.marked) < policy.grace => {
                keep(format!("condemned, deleted after {}", marker.marked.after(policy.grace).human()));
            }
            Some(marker) => clean.delete.extend(images.into_iter().map(|seen| {
                let needs = observed.nodes.get(&seen.digest).map(|node| node.needs.clone());
                Doomed { seen, marked: marker.marked, needs: needs.unwrap_or_default() }
            })),
        }
    }
    children_first(&mut clean.delete);
    (clean.retire, clean.forget) = settled(observed, policy);
    clean
}

impl Seen {
    fn is(&self, image: &Marked) -> bool {
        image.repository == self.repository && image.tag == self.tag && image.digest == self.digest
    }

    fn into_marked(self) -> Marked {
        Marked { repository: self.repository, tag: self.tag, digest: self.digest }
    }
}

enum Verdict {
    Keep(String),
    /// Something else needs this image of a key.
    Needed(Key, Generation, String),
    Outside(Key, Generation),
}

fn judge(seen: &Seen, observed: &Observed, reasons: &BTreeMap<Digest, String>) -> Verdict {
    let Some(content) = ContentTag::read(&seen.tag) else {
        return Verdict::Keep("tag is not a temporary one".to_owned());
    };
    let (key, generation) = (content.key(), content.generation());
    if observed.leased.contains(key) {
        return Verdict::Keep("leased".to_owned());
    }
    if let Some(reason) = reasons.get(&seen.digest) {
        return Verdict::Needed(key.clone(), generation, reason.clone());
    }
    // A digest that does not carry its own key may stand under other tags as well.
    if observed.nodes.get(&seen.digest).and_then(|node| node.key.as_ref()) != Some(key) {
        return Verdict::Keep("was not built by boxwright for this key".to_owned());
    }
    Verdict::Outside(key.clone(), generation)
}

/// Walks from the roots and names, for each digest that is reached, what keeps it.
fn reachable(observed: &Observed) -> BTreeMap<Digest, String> {
    let mut reasons = observed.promoted.clone();
    for tags in observed.repositories.values() {
        for (tag, digest) in tags {
            match ContentTag::read(tag) {
                None => {
                    reasons.insert(digest.clone(), format!("has tag {tag}"));
                }
                Some(content) if observed.leased.contains(content.key()) => {
                    reasons.entry(digest.clone()).or_insert_with(|| "leased".to_owned());
                }
                Some(_) => {}
            }
        }
    }
    let mut waiting: Vec<Digest> = reasons.keys().cloned().collect();
    while let Some(digest) = waiting.pop() {
        for needed in observed.nodes.get(&digest).iter().flat_map(|node| &node.needs) {
            if !reasons.contains_key(needed) {
                reasons.insert(needed.clone(), format!("needed by {}", digest.short()));
                waiting.push(needed.clone());
            }
        }
    }
    reasons
}

/// Orders deletions so that nothing is deleted before what needs it.
fn children_first(doomed: &mut Vec<Doomed>) {
    let mut rest = std::mem::take(doomed);
    while !rest.is_empty() {
        let needed: BTreeSet<Digest> = rest
            .iter()
            .flat_map(|one| one.needs.iter().filter(|need| **need != one.seen.digest))
            .cloned()
            .collect();
        let (bound, free): (Vec<Doomed>, Vec<Doomed>) =
            rest.into_iter().partition(|one| needed.contains(&one.seen.digest));
        if free.is_empty() {
            // Digests cannot form a circle; should labels claim one, the order no longer matters.
            doomed.extend(bound);
            return;
        }
        doomed.extend(free);
        rest = bound;
    }
}

/// How long a retired marker stays: longer than any sweep that saw its images may live.
const RETIRED: Span = Span::from_seconds(86_400);

/// Returns the markers that are to be retired and those that are to be forgotten.
///
/// A marker whose images are gone may still be met by a sweep that looked before. Only when
/// all such sweeps must have ended may its generation be built again, for the same inputs may
/// give the same digest. So it is retired first: written anew without images, with the date
/// from which that time counts. While somebody leases the key it stays as it is.
fn settled(observed: &Observed, policy: Policy) -> (Vec<Marker>, Vec<Marker>) {
    let standing: BTreeSet<Key> = observed
        .repositories
        .values()
        .flat_map(BTreeMap::keys)
        .filter_map(|tag| ContentTag::read(tag).map(|content| content.key().clone()))
        .collect();
    let is_free =
        |marker: &&Marker| !standing.contains(&marker.key) && !observed.leased.contains(&marker.key);
    let (retired, fresh): (Vec<&Marker>, Vec<&Marker>) =
        observed.markers.iter().filter(is_free).partition(|marker| marker.images.is_empty());
    let retire =
        fresh.into_iter().map(|marker| Marker { marked: policy.today, images: Vec::new(), ..marker.clone() });
    let forget = retired.into_iter().filter(|marker| policy.today.since(marker.marked) >= RETIRED);
    (retire.collect(), forget.cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let node = Node { needs: before.into_iter().collect(), key: Some(Key::of(name.as_bytes())) };
            observed.nodes.insert(digest(name), node);
            before = Some(digest(name));
        }
        observed
    }

    fn mark(observed: &mut Observed, name: &str, at: i64) {
        observed.markers.push(Marker {
            key: Key::of(name.as_bytes()),
            generation: Generation(0),
            marked: Timestamp::from_unix(at),
            reason: String::new(),
            images: vec![Marked {
                repository: name.to_owned(),
                tag: content_tag(name),
                digest: digest(name),
            }],
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
        let node = Node { needs: BTreeSet::from([digest("test")]), key: None };
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
    fn what_moved_after_it_was_marked_is_left_alone() {
        let mut observed = chain();
        mark(&mut observed, "test", 0);
        observed.repositories.get_mut("test").unwrap().insert(content_tag("test"), digest("newer"));
        let node = Node { needs: BTreeSet::new(), key: Some(Key::of(b"test")) };
        observed.nodes.insert(digest("newer"), node);
        assert!(outcome(&observed, 1_000_000).1.is_empty());
    }

    #[test]
    fn markers_are_retired_when_their_images_are_gone_and_forgotten_a_day_later() {
        let mut observed = chain();
        mark(&mut observed, "gone", 0);
        mark(&mut observed, "test", 0);
        let keys = |markers: Vec<Marker>| markers.into_iter().map(|marker| marker.key).collect::<Vec<_>>();
        let settled = |observed: &Observed, policy| {
            let clean = decide(observed, policy);
            (keys(clean.retire), keys(clean.forget))
        };
        // However old it is: sweeps that saw its image may live.
        assert_eq!(settled(&observed, policy(1_000_000)), (vec![Key::of(b"gone")], vec![]));
        let [retired] = decide(&observed, policy(1_000_000)).retire.try_into().unwrap();
        assert_eq!((retired.marked.unix(), retired.images.len()), (1_000_000, 0));
        observed.markers[0] = retired;
        assert_eq!(settled(&observed, policy(1_000_000 + 86_399)), (vec![], vec![]));
        assert_eq!(settled(&observed, policy(1_000_000 + 86_400)), (vec![], vec![Key::of(b"gone")]));
        // A look ahead deletes, but forgets nothing.
        let ahead = Policy { today: Timestamp::from_unix(1_000_000), ..policy(2_000_000) };
        assert_eq!(settled(&observed, ahead), (vec![], vec![]));
        // Nor is the marker of a key that somebody builds under its next generation.
        observed.leased.insert(Key::of(b"gone"));
        assert_eq!(settled(&observed, policy(2_000_000)), (vec![], vec![]));
    }

    #[test]
    fn what_appeared_under_a_condemned_key_is_condemned_anew() {
        let mut observed = chain();
        mark(&mut observed, "test", 0);
        let node = Node { needs: BTreeSet::new(), key: Some(Key::of(b"test")) };
        observed.nodes.insert(digest("late"), node);
        let also = BTreeMap::from([(content_tag("test"), digest("late"))]);
        observed.repositories.insert("elsewhere".to_owned(), also);
        // Its marker's date would be too old for what came later, so it is written again.
        check(&observed, 1_000_000, &["base", "build", "elsewhere", "test"], &[]);
    }

    #[test]
    fn a_generation_of_a_key_is_kept_as_a_whole() {
        let mut observed = chain();
        let node = Node { needs: BTreeSet::new(), key: Some(Key::of(b"test")) };
        observed.nodes.insert(digest("other"), node);
        let also = BTreeMap::from([(content_tag("test"), digest("other"))]);
        observed.repositories.insert("elsewhere".to_owned(), also);
        tag(&mut observed, "elsewhere", "main", "other");
        // A marker would end the promoted image's key as well.
        check(&observed, 0, &["base", "build"], &[]);
    }
}
