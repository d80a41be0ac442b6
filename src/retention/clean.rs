//! Mark and sweep: what is kept and why, what is condemned now, what may be deleted.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ContentTag, Digest, Part, Record as _, Tag, TaggedDigest, Tombstone};
use crate::retention::endings::Endings;
use crate::retention::observed::{
    Action, Clean, Condemned, Doomed, Goes, Group, Held, Kept, Observed, Policy, Until, What,
};
use crate::retention::parts::{below, free, leftovers, remembered};
use crate::retention::roots::Roots;
use crate::retention::settle::settle;
use crate::retention::times::RETIRED;

/// Decides. Nothing is both condemned and deleted, and nothing that is reachable from a
/// root is either.
///
/// What is attached to an image (by a tag such as `sha256-<hex>.sig`) follows it: it is kept
/// as long as the image is, condemned with it and deleted after it.
pub fn decide(observed: &Observed, policy: Policy) -> Clean {
    let roots = Roots::of(observed);
    let endings = Endings::of(observed, policy);
    let mut sorting = Sorting::new(observed, &roots);
    for (repository, tags) in &observed.repositories {
        for (tag, digest) in tags {
            let seen =
                TaggedDigest { repository: repository.clone(), tag: tag.clone(), digest: digest.clone() };
            match endings.holds(&seen) {
                Some(None) => {}
                Some(Some(reason)) => sorting.keep(seen.into(), reason.to_owned()),
                None => sorting.sort(seen.into()),
            }
        }
    }
    for (repository, tags) in &observed.unread {
        for tag in tags {
            let held = Held { repository: repository.clone(), tag: tag.clone(), digest: None };
            match endings.named(repository, tag) {
                Some(reason) => sorting.keep(held, reason.to_owned()),
                None => sorting.sort(held),
            }
        }
    }
    sorting.attach();
    let (mut clean, unfinished) = sorting.judge(policy);
    endings.into_clean(&mut clean);
    if let Some(only) = &observed.only {
        restrict(&mut clean, only);
    }
    order(&mut clean.delete);
    settle(observed, policy, &unfinished, &mut clean);
    clean.sight.extend(observed.unseen.iter().cloned());
    clean.unreadable.clone_from(&observed.unreadable);
    stop(&mut clean);
    clean
}

/// Deletes nothing, neither images nor records, while something may keep what is not known.
fn stop(clean: &mut Clean) {
    let Some(first) = clean.stops().next() else { return };
    let reason = match first.stops {
        Some(Until::Expiry(expiry)) => {
            format!("{} cannot be read; nothing is deleted before {}", first.tag, expiry.human())
        }
        _ => format!("{} cannot be read; nothing is deleted until it is forgotten", first.tag),
    };
    clean.retire.clear();
    clean.forget.clear();
    clean.settled.clear();
    let stays = std::mem::take(&mut clean.delete).into_iter().filter(|one| one.goes != Goes::Part);
    let stays = stays.map(|one| Kept { seen: one.seen.clone().into(), reason: reason.clone() });
    clean.kept.extend(stays);
}

/// Returns the tags that have to be resolved before anything can be done about them: those of
/// generations that no lease and no root keeps.
pub fn candidates(observed: &Observed) -> Vec<(String, Tag)> {
    let roots = Roots::of(observed);
    let mut candidates = Vec::new();
    for (repository, tags) in &observed.unread {
        for tag in tags {
            let Some(content) = ContentTag::read(tag) else { continue };
            let is_kept = observed.leased.contains(content.key())
                || roots.keeps_key(content.key(), content.generation()).is_some();
            if !is_kept {
                candidates.push((repository.clone(), tag.clone()));
            }
        }
    }
    candidates
}

/// What a tombstone lets go.
struct Going<'a> {
    /// The images; none if they are gone and only parts of them are left.
    images: Vec<TaggedDigest>,
    /// What has no tag and goes with them.
    parts: BTreeSet<Part>,
    tombstone: &'a Tombstone,
    is_due: bool,
}

/// The tags of a registry on their way to a decision.
struct Sorting<'a> {
    observed: &'a Observed,
    roots: &'a Roots,
    kept: Vec<Kept>,
    /// Generations that something needs, with the reason.
    needed: BTreeMap<Group, String>,
    /// What nothing keeps.
    outside: BTreeMap<Group, Vec<Held>>,
    /// Tags that name what they are attached to.
    attached: Vec<(Digest, Held)>,
    /// What tags of each repository hold.
    standing: BTreeSet<(String, Digest)>,
    /// What is kept because of what it is attached to.
    twins: BTreeMap<(String, Digest), Tag>,
}

impl<'a> Sorting<'a> {
    fn new(observed: &'a Observed, roots: &'a Roots) -> Self {
        let standing = observed.repositories.iter().flat_map(|(repository, tags)| {
            tags.values().map(move |digest| (repository.clone(), digest.clone()))
        });
        Self {
            observed,
            roots,
            kept: Vec::new(),
            needed: BTreeMap::new(),
            outside: BTreeMap::new(),
            attached: Vec::new(),
            standing: standing.collect(),
            twins: BTreeMap::new(),
        }
    }

    fn keep(&mut self, seen: Held, reason: String) {
        self.kept.push(Kept { seen, reason });
    }

    fn sort(&mut self, held: Held) {
        let Some(content) = ContentTag::read(&held.tag) else {
            return match held.tag.subject() {
                Some(subject) => self.attached.push((subject, held)),
                None => self.keep(held, "tag is not a temporary one".to_owned()),
            };
        };
        let group = (content.key().clone(), content.generation());
        if self.observed.leased.contains(&group.0) {
            return self.keep(held, "leased".to_owned());
        }
        let reason = match &held.digest {
            Some(digest) if !self.observed.is_own(&content, digest) => {
                return self.keep(held, "was not built by boxwright for this key".to_owned());
            }
            Some(digest) => self.roots.keeps(digest),
            // An image holds its key: whose key nothing that is kept has is not kept.
            None => self.roots.keeps_key(&group.0, group.1),
        };
        if let Some(reason) = reason.map(str::to_owned) {
            self.needed.insert(group, reason.clone());
            return self.keep(held, reason);
        }
        self.outside.entry(group).or_default().push(held);
    }

    /// Gives what is attached to the image that it follows, and that may be attached itself.
    fn attach(&mut self) {
        let mut owners: BTreeMap<(String, Digest), Group> = BTreeMap::new();
        for tombstone in &self.observed.tombstones {
            // What is left of images that are gone follows them.
            for image in &tombstone.images {
                let at = (image.repository.clone(), image.digest.clone());
                if !self.standing.contains(&at) {
                    owners.insert(at, (tombstone.key.clone(), tombstone.generation));
                }
            }
        }
        for (group, images) in &self.outside {
            for held in images {
                if let Some(digest) = &held.digest {
                    owners.insert((held.repository.clone(), digest.clone()), group.clone());
                }
            }
        }
        loop {
            let before = self.attached.len();
            for (subject, held) in std::mem::take(&mut self.attached) {
                let is_kept = held.digest.as_ref().is_some_and(|digest| self.roots.keeps(digest).is_some());
                match owners.get(&(held.repository.clone(), subject.clone())).cloned() {
                    Some(group) if !is_kept => {
                        if let Some(digest) = &held.digest {
                            owners.insert((held.repository.clone(), digest.clone()), group.clone());
                        }
                        self.outside.entry(group).or_default().push(held);
                    }
                    _ => self.attached.push((subject, held)),
                }
            }
            if self.attached.len() == before {
                break;
            }
        }
        for (subject, held) in std::mem::take(&mut self.attached) {
            if let Some(digest) = &held.digest {
                self.twins.insert((held.repository.clone(), digest.clone()), held.tag.clone());
            }
            self.keep(held, format!("is attached to {}", subject.short()));
        }
    }

    /// Returns what is decided, and the generations of whose images parts are left.
    fn judge(mut self, policy: Policy) -> (Clean, BTreeSet<Group>) {
        let mut clean = Clean::default();
        let tombstones: BTreeMap<Group, &Tombstone> = self
            .observed
            .tombstones
            .iter()
            .map(|tombstone| ((tombstone.key.clone(), tombstone.generation), tombstone))
            .collect();
        let mut delete: Vec<Going<'_>> = Vec::new();
        for (group, images) in std::mem::take(&mut self.outside) {
            if let Some(reason) = self.why_kept(&group, &images) {
                images.into_iter().for_each(|held| self.keep(held, reason.clone()));
                continue;
            }
            let Some(seen) = resolved(&images) else {
                clean.unread.extend(images);
                continue;
            };
            let parts = below(&self.observed.nodes, &seen);
            // What appeared after its key was condemned is condemned anew, with a grace of its own. So is
            // what has parts, by a tombstone that is not ours: of a tombstone that is they are remembered.
            let tombstone = tombstones.get(&group).filter(|tombstone| {
                let is_named = |seen: &TaggedDigest| tombstone.images.contains(seen);
                let is_ours = tombstone.parts.is_empty()
                    || self.observed.ages.is_none()
                    || self.observed.age(**tombstone, tombstone.marked).is_own;
                // No clock of the registry has shown that day yet: such a tombstone would never be due.
                let is_dated =
                    self.observed.ages.is_some() || tombstone.marked <= policy.today.after(RETIRED);
                seen.iter().all(is_named) && parts.is_subset(&tombstone.parts) && is_ours && is_dated
            });
            match tombstone {
                None => {
                    let (key, generation) = group;
                    clean.condemn.push(Condemned { key, generation, images: seen, parts });
                }
                Some(tombstone) => {
                    let since = self.observed.age(*tombstone, tombstone.marked).since;
                    if since.is_none() {
                        clean.sight.insert((tombstone.place(), tombstone.to_manifest().digest().clone()));
                    }
                    let until = since.unwrap_or(policy.today).after(policy.grace);
                    if since.is_some() && policy.now >= until {
                        delete.push(Going { images: seen, parts, tombstone, is_due: true });
                        continue;
                    }
                    let reason = format!("condemned, deleted after {}", until.human());
                    images.into_iter().for_each(|held| self.keep(held, reason.clone()));
                }
            }
        }
        let left: Vec<&Tombstone> = leftovers(self.observed);
        let left = left.into_iter().filter(|tombstone| !self.observed.leased.contains(&tombstone.key));
        delete.extend(left.map(|tombstone| {
            let age = self.observed.age(tombstone, tombstone.marked);
            let is_due = age.since.is_some_and(|since| policy.now >= since.after(policy.grace));
            Going {
                images: Vec::new(),
                parts: remembered(self.observed, tombstone, age.is_own),
                tombstone,
                is_due,
            }
        }));
        let (doomed, unfinished) = self.doom(&delete);
        clean.delete = doomed;
        clean.kept = self.kept;
        (clean, unfinished)
    }

    /// Returns what keeps a generation that nothing needs by itself.
    fn why_kept(&self, group: &Group, images: &[Held]) -> Option<String> {
        if let Some(reason) = self.needed.get(group) {
            return Some(format!("its key is kept: {reason}"));
        }
        // A delete takes all tags of a digest along.
        let twin = |held: &Held| self.twins.get(&(held.repository.clone(), held.digest.clone()?));
        images.iter().find_map(twin).map(|tag| format!("its digest has tag {tag}"))
    }

    /// Lets images go, each with the parts that nothing else needs; of images that are gone already
    /// the parts alone, and tells whose they are.
    fn doom(&self, delete: &[Going<'_>]) -> (Vec<Doomed>, BTreeSet<Group>) {
        let nodes = &self.observed.nodes;
        let going: BTreeSet<Digest> =
            delete.iter().flat_map(|one| &one.images).map(|one| one.digest.clone()).collect();
        let all = delete.iter().filter(|one| one.is_due).flat_map(|one| one.parts.iter().cloned()).collect();
        let mut parts = free(self.observed, self.roots, &self.standing, &going, all);
        let (mut doomed, mut unfinished) = (Vec::new(), BTreeSet::new());
        for Going { images, parts: theirs, tombstone, is_due } in delete {
            doomed
                .extend(images.iter().map(|seen| self.doomed(seen.clone(), Goes::Image, images, tombstone)));
            let mut theirs = theirs.clone();
            let is_early = !is_due && theirs.iter().any(|part| nodes.contains_key(&part.digest));
            theirs.retain(|part| parts.remove(part));
            if images.is_empty() && (is_early || !theirs.is_empty()) {
                unfinished.insert((tombstone.key.clone(), tombstone.generation));
            }
            if let Some(tag) = tombstone.images.first().map(|image| &image.tag) {
                doomed.extend(theirs.into_iter().map(|Part { repository, digest }| {
                    let seen = TaggedDigest { repository, tag: tag.clone(), digest };
                    self.doomed(seen, Goes::Part, images, tombstone)
                }));
            }
        }
        (doomed, unfinished)
    }

    fn doomed(
        &self,
        seen: TaggedDigest,
        goes: Goes,
        images: &[TaggedDigest],
        tombstone: &Tombstone,
    ) -> Doomed {
        let node = |digest: &Digest| self.observed.nodes.get(digest);
        let mut needs: BTreeSet<Digest> = node(&seen.digest)
            .into_iter()
            .flat_map(|node| node.needs.iter().chain(&node.referrers).cloned())
            .collect();
        // What refers to another or is attached to it goes after that, and so does not hold it.
        needs.retain(|need| !node(need).is_some_and(|node| node.referrers.contains(&seen.digest)));
        if goes == Goes::Image {
            if let Some(subject) = seen.tag.subject() {
                needs.remove(&subject);
            }
            let follows = |one: &&TaggedDigest| one.tag.subject().as_ref() == Some(&seen.digest);
            needs.extend(images.iter().filter(follows).map(|one| one.digest.clone()));
        }
        needs.remove(&seen.digest);
        let condemned = format!("condemned {}", tombstone.marked.human());
        let reason = match goes {
            Goes::Part => format!("part of {}; {condemned}", seen.tag),
            Goes::Image | Goes::Tag => condemned,
        };
        Doomed { seen, marked: tombstone.marked, reason, goes, key: Some(tombstone.key.clone()), needs }
    }
}

fn resolved(images: &[Held]) -> Option<Vec<TaggedDigest>> {
    let seen = |held: &Held| {
        let Held { repository, tag, digest } = held.clone();
        digest.map(|digest| TaggedDigest { repository, tag, digest })
    };
    images.iter().map(seen).collect()
}

/// Leaves what was not planned as it is. A generation is marked as a whole or not at all.
fn restrict(clean: &mut Clean, only: &BTreeSet<Action>) {
    let is_planned = |what: What, image: &TaggedDigest| {
        let TaggedDigest { repository, tag, digest } = image.clone();
        only.contains(&Action { what, repository, tag, digest })
    };
    let (kept, mut left) = (&mut clean.kept, Vec::new());
    clean.condemn.retain(|one| {
        let stays = one.images.iter().all(|image| is_planned(What::Condemn, image));
        left.extend(one.images.iter().filter(|_| !stays).cloned());
        stays
    });
    clean.announce.retain(|one| {
        let stays = one.images.iter().all(|image| is_planned(What::Condemn, image));
        left.extend(one.images.iter().filter(|_| !stays).cloned());
        stays
    });
    clean.delete.retain(|one| {
        let stays = only.contains(&one.action());
        left.extend(Some(one.seen.clone()).filter(|_| !stays && one.goes != Goes::Part));
        stays
    });
    kept.extend(
        left.into_iter().map(|seen| Kept { seen: seen.into(), reason: "was not planned".to_owned() }),
    );
}

/// Orders deletions so that nothing is deleted before what needs it.
fn order(doomed: &mut Vec<Doomed>) {
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

#[cfg(test)]
mod tests;
