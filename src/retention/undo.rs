//! Which of the manifests that a sweep deleted go back, in which order, and what becomes of the
//! tombstones that had ended them.
//!
//! A record of the ledger says what was deleted, and whoever may push can write one. So nothing is
//! taken from it that a push of a build would not do: an image goes back under a tag that its own
//! labels fit and that nothing else holds; what has another tag of ours, or belongs to no image, does
//! not. A promoted tag is none of these: a promotion writes it, and nobody else.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{ContentTag, Digest, Generation, Key, Tag, Timestamp, Tombstone};
use crate::retention::observed::UNKEPT;

/// A manifest that a sweep deleted, and what stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remains {
    /// The repository's name, without its host.
    pub repository: String,
    /// The tag that stood on it; nothing for a part of what stood under a tag.
    pub tag: Option<Tag>,
    /// The key whose image it was, or was a part of, by the record.
    pub key: Key,
    /// Its digest.
    pub digest: Digest,
    /// What was found out about it.
    pub state: RemainsState,
}

/// What was found out about a manifest that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemainsState {
    /// The record cannot be believed about it.
    Doubtful(String),
    /// It can be put back, as far as it alone goes.
    Known {
        /// Whether it stands, with a tag or without.
        stands: bool,
        /// What its tag holds.
        holds: Option<Digest>,
        /// What has to stand in the same repository: children, and what it refers to.
        children: BTreeSet<Digest>,
        /// The images that it was built on by their keys, in whatever repository.
        bases: BTreeMap<Key, Digest>,
        /// A blob of it that the registry no longer has.
        lacks: Option<Digest>,
        /// The key and the generation that its labels hold.
        says: Option<(Key, Option<Generation>)>,
        /// Until when a sweep that is under way may delete what has its key, or that of a base.
        claimed: Option<Timestamp>,
    },
}

/// What becomes of a manifest that was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutBack {
    /// It is put back.
    Put,
    /// It stands as it was.
    Stands,
    /// The registry no longer has all that it needs.
    Gone(String),
    /// It stays away, for this reason.
    Refused(String),
}

/// Decides what is put back: returns places in `remains`, in an order in which nothing comes before
/// what it needs. `standing` is what else is there, by repository.
pub fn put_back(remains: &[Remains], standing: &BTreeSet<(String, Digest)>) -> Vec<(usize, PutBack)> {
    let mut standing = standing.clone();
    for one in remains {
        // It may still be deleted.
        if matches!(one.state, RemainsState::Known { claimed: Some(_), .. }) {
            standing.remove(&(one.repository.clone(), one.digest.clone()));
        }
    }
    let mut left: BTreeSet<usize> = (0..remains.len()).collect();
    let mut steps = Vec::new();
    loop {
        let is_ready = |at: &usize| remains.get(*at).is_some_and(|one| lacking(one, &standing).is_none());
        let ready: Vec<usize> = left.iter().copied().filter(is_ready).collect();
        if ready.is_empty() {
            break;
        }
        for (at, one) in ready.into_iter().filter_map(|at| Some((at, remains.get(at)?))) {
            left.remove(&at);
            let step = judge(one);
            if matches!(step, PutBack::Put | PutBack::Stands) {
                standing.insert((one.repository.clone(), one.digest.clone()));
            }
            steps.push((at, step));
        }
    }
    let lacks = |at: usize| lacking(remains.get(at)?, &standing);
    steps.extend(left.into_iter().filter_map(|at| {
        let needed = lacks(at)?;
        Some((at, PutBack::Gone(format!("{needed}, which it needs, is not there"))))
    }));
    let owned = owned(remains, &steps);
    for (at, step) in &mut steps {
        if *step == PutBack::Put && !owned.contains(at) {
            *step = PutBack::Refused("what it belongs to does not go back".to_owned());
        }
    }
    steps
}

/// Returns the places of what has a tag that counts, and of all that is a part of it or refers to it:
/// nothing else would ever be found again, and deleted.
fn owned(remains: &[Remains], steps: &[(usize, PutBack)]) -> BTreeSet<usize> {
    let goes: Vec<(usize, &Remains)> = steps
        .iter()
        .filter(|(_, step)| matches!(step, PutBack::Put | PutBack::Stands))
        .filter_map(|(at, _)| Some((*at, remains.get(*at)?)))
        .collect();
    let needs = |one: &Remains, other: &Remains| {
        let RemainsState::Known { children, .. } = &one.state else { return false };
        one.repository == other.repository && children.contains(&other.digest)
    };
    let mut owned: BTreeSet<usize> =
        goes.iter().filter(|(_, one)| one.tag.is_some()).map(|(at, _)| *at).collect();
    loop {
        let is_new = |at: &usize, one: &Remains| {
            let mut all = owned.iter().filter_map(|at| remains.get(*at));
            !owned.contains(at) && all.any(|other| needs(other, one) || needs(one, other))
        };
        let new: Vec<usize> = goes.iter().filter(|(at, one)| is_new(at, one)).map(|(at, _)| *at).collect();
        if new.is_empty() {
            return owned;
        }
        owned.extend(new);
    }
}

/// Returns what it needs and what is not there.
fn lacking(one: &Remains, standing: &BTreeSet<(String, Digest)>) -> Option<Digest> {
    let RemainsState::Known { children, bases, .. } = &one.state else { return None };
    let is_beside = |digest: &Digest| standing.contains(&(one.repository.clone(), digest.clone()));
    let stands = |digest: &Digest| standing.iter().any(|(_, at)| at == digest);
    let subject = one.tag.as_ref().and_then(Tag::subject);
    let beside = children.iter().cloned().chain(subject).find(|digest| !is_beside(digest));
    beside.or_else(|| bases.values().find(|digest| !stands(digest)).cloned())
}

fn judge(one: &Remains) -> PutBack {
    let (stands, holds, lacks, says, claimed) = match &one.state {
        RemainsState::Doubtful(why) => return PutBack::Refused(why.clone()),
        RemainsState::Known { stands, holds, lacks, says, claimed, .. } => {
            (*stands, holds, lacks, says, claimed)
        }
    };
    let is_there = match &one.tag {
        Some(_) => *holds == Some(one.digest.clone()),
        None => stands,
    };
    if let Some(blob) = lacks.as_ref().filter(|_| !is_there) {
        // Without its configuration nobody knows what it says.
        return PutBack::Gone(format!("the registry no longer has {blob}"));
    }
    if let Some(Err(why)) = one.tag.as_ref().map(|tag| may_have(one, tag, says.as_ref())) {
        return PutBack::Refused(why);
    }
    match (holds, claimed) {
        (Some(holds), _) if !is_there => PutBack::Refused(format!("its tag holds {holds} now")),
        // What stands may not stand for long.
        (_, Some(until)) => {
            PutBack::Refused(format!("a sweep has claimed it until {}; run this again then", until.human()))
        }
        _ if is_there => PutBack::Stands,
        (_, None) => PutBack::Put,
    }
}

/// Tells whether a manifest may get this tag back.
fn may_have(one: &Remains, tag: &Tag, says: Option<&(Key, Option<Generation>)>) -> Result<(), String> {
    let Some(content) = ContentTag::read(tag) else {
        return match tag.subject() {
            // What it is attached to is among what it needs.
            Some(_) => Ok(()),
            None => Err("its tag is none that goes with an image; a promotion sets it".to_owned()),
        };
    };
    if *content.key() != one.key {
        return Err("its record names another key than its tag".to_owned());
    }
    match says {
        Some((key, generation))
            if key == content.key() && generation.is_none_or(|number| number == content.generation()) =>
        {
            Ok(())
        }
        _ => Err("it does not say that it was built for its tag".to_owned()),
    }
}

/// What becomes of the tombstone that ended a generation which is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Revived {
    /// It goes: the generation counts again, and is used.
    Forget,
    /// It is written anew, dated today: its image stays for the grace, and is used by its digest alone.
    Renew(Tombstone),
    /// It stays: it lets nothing go.
    Stays,
}

/// Decides about a tombstone. What only a sweep had ended counts again, unless a later generation has
/// taken its place (`is_replaced`); what somebody else ended on purpose, a rebuild say, does not.
pub fn revive(tombstone: &Tombstone, is_replaced: bool, today: Timestamp) -> Revived {
    if tombstone.reason == UNKEPT && !is_replaced {
        Revived::Forget
    } else if tombstone.images.is_empty() {
        Revived::Stays
    } else {
        Revived::Renew(Tombstone { marked: today, ..tombstone.clone() })
    }
}

/// Returns the latest generation of each key that has a tag among these.
pub fn latest<'a>(tags: impl Iterator<Item = &'a Tag>) -> BTreeMap<Key, Generation> {
    let mut latest = BTreeMap::new();
    for content in tags.filter_map(ContentTag::read) {
        let last = latest.entry(content.key().clone()).or_insert(content.generation());
        *last = content.generation().max(*last);
    }
    latest
}

#[cfg(test)]
mod tests;
