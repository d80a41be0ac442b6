//! What a sweep has read, and what it found out.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{
    ContentTag, Digest, Generation, Key, Part, Record, RecordTag, Span, Tag, TaggedDigest, Timestamp,
    Tombstone, UntagNotice,
};
use crate::retention::policy::Judged;
use crate::retention::sighted::Age;

/// Everything a sweep has read, completely. Whoever could not read all of it has no
/// `Observed`, and deletes nothing.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The keys of live leases.
    pub leased: BTreeSet<Key>,
    /// The tombstones that stand.
    pub tombstones: Vec<Tombstone>,
    /// The digests that promotions and lists of protected digests keep, with the reason.
    pub promoted: BTreeMap<Digest, String>,
    /// What the policies say of each promotion.
    pub judged: Vec<Judged>,
    /// The announcements that tags are to go.
    pub endings: Vec<UntagNotice>,
    /// The tags of every repository, by the repository's name, as far as they were resolved.
    pub repositories: BTreeMap<String, BTreeMap<Tag, Digest>>,
    /// The tags that were not resolved: what they hold keeps nothing, or need not be known yet.
    pub unread: BTreeMap<String, BTreeSet<Tag>>,
    /// What was read about digests: every root's whole closure, and every candidate.
    pub nodes: BTreeMap<Digest, Node>,
    /// The only actions that may be decided on, if they were planned before.
    pub only: Option<BTreeSet<Action>>,
    /// What in the ledger cannot be read.
    pub unreadable: BTreeSet<Unreadable>,
    /// The ages of the tombstones and announcements that sweeps have seen, where that is noted. Else a
    /// record's own date counts.
    pub ages: Option<BTreeMap<RecordTag, Age>>,
    /// Records that keep something and that no sweep has seen before.
    pub unseen: BTreeSet<(RecordTag, Digest)>,
}

/// A tag in the ledger that does not say what it has to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Unreadable {
    /// The tag; a name that is no tag is as printable as one.
    pub tag: String,
    /// Why.
    pub why: String,
    /// How long nothing is deleted because of it; nothing of what can have kept nothing.
    pub stops: Option<Until>,
}

/// How long a record that may have kept something stops every deletion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Until {
    /// Until the lease that it was would have ended.
    Expiry(Timestamp),
    /// Until a person says that it is to be forgotten.
    Forgotten,
}

impl Observed {
    /// Returns every tag that stands in a repository.
    pub fn tags<'a>(&'a self, repository: &str) -> impl Iterator<Item = &'a Tag> {
        let read = self.repositories.get(repository).into_iter().flat_map(BTreeMap::keys);
        read.chain(self.unread.get(repository).into_iter().flatten())
    }

    /// Returns every tag that stands anywhere.
    pub fn all_tags(&self) -> impl Iterator<Item = &Tag> {
        self.repositories.values().flat_map(BTreeMap::keys).chain(self.unread.values().flatten())
    }

    /// Tells whether a repository was read. Of others a ledger may tell, but not whether what it
    /// names there is gone.
    pub(super) fn covers(&self, repository: &str) -> bool {
        self.repositories.contains_key(repository) || self.unread.contains_key(repository)
    }

    /// Tells whether what a content tag holds was built for it. What was not may stand under other
    /// tags as well, and is kept like anything else that is not ours.
    pub(super) fn is_own(&self, content: &ContentTag, digest: &Digest) -> bool {
        self.nodes.get(digest).is_some_and(|node| {
            let is_generation = node.generation.is_none_or(|number| number == content.generation());
            is_generation && node.key.as_ref() == Some(content.key())
        })
    }

    /// Returns how many tags stand in each repository.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        let names: BTreeSet<&String> = self.repositories.keys().chain(self.unread.keys()).collect();
        names.into_iter().map(|name| (name.as_str(), self.tags(name).count())).collect()
    }
}

/// What a digest needs and says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Children, subject and recorded bases: what must exist as long as this does.
    pub needs: BTreeSet<Digest>,
    /// Of these, the children: manifests that an index holds together.
    pub children: BTreeSet<Digest>,
    /// What the registry lists as referring to this. Read of what may go, and of nothing else.
    pub referrers: BTreeSet<Digest>,
    /// What it says that it refers to.
    pub subject: Option<Digest>,
    /// The key that its labels hold.
    pub key: Option<Key>,
    /// The generation that its labels hold.
    pub generation: Option<Generation>,
    /// Whether it was made to stand under a tag that is being removed.
    pub is_throwaway: bool,
}

/// How a sweep waits.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// The least time between marking and deleting.
    pub grace: Span,
    /// The time that counts as now.
    pub now: Timestamp,
    /// The registry's true time, by which tombstones are forgotten however far ahead `now` looks.
    pub today: Timestamp,
}

/// What a sweep found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Clean {
    /// What stays, and why.
    pub kept: Vec<Kept>,
    /// What is marked now.
    pub condemn: Vec<Condemned>,
    /// What would be marked or deleted, had it been read: a sweep that applies has read it.
    pub unread: Vec<Held>,
    /// Promotions whose tags are announced to go.
    pub announce: Vec<UntagNotice>,
    /// What was marked long enough ago, in the order of deletion.
    pub delete: Vec<Doomed>,
    /// Tombstones whose images are gone: they are written anew without images, dated today.
    pub retire: Vec<Tombstone>,
    /// Tombstones that were retired long enough ago, to be forgotten.
    pub forget: Vec<Tombstone>,
    /// Announcements that no longer hold: written anew without tags, dated today.
    pub withdraw: Vec<UntagNotice>,
    /// Announcements that were withdrawn long enough ago, to be forgotten.
    pub settled: Vec<UntagNotice>,
    /// What in the ledger cannot be read.
    pub unreadable: BTreeSet<Unreadable>,
    /// Records that no sweep has seen before: from now on their age counts.
    pub sight: BTreeSet<(RecordTag, Digest)>,
}

impl Clean {
    /// Returns what stops every deletion, if there is anything.
    pub fn stops(&self) -> impl Iterator<Item = &Unreadable> {
        self.unreadable.iter().filter(|one| one.stops.is_some())
    }
}

/// A tag with what it points to, if that was read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Held {
    /// The repository's name, without host.
    pub repository: String,
    pub tag: Tag,
    pub digest: Option<Digest>,
}

impl From<TaggedDigest> for Held {
    fn from(TaggedDigest { repository, tag, digest }: TaggedDigest) -> Self {
        Self { repository, tag, digest: Some(digest) }
    }
}

/// Something that stays.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Kept {
    /// What.
    pub seen: Held,
    /// Why.
    pub reason: String,
}

/// Why a generation is condemned.
pub const UNKEPT: &str = "no policy, lease or tag keeps it";

/// A key's generation that is condemned, with all that stands under it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condemned {
    pub key: Key,
    pub generation: Generation,
    /// What stands there.
    pub images: Vec<TaggedDigest>,
    /// What has no tag and goes with them.
    pub parts: BTreeSet<Part>,
}

/// What of an image goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Goes {
    /// It, with its tag.
    Image,
    /// Its tag alone; it stays.
    Tag,
    /// It has no tag: it is a part of what stood under that tag, and goes after it.
    Part,
}

/// An image that may be deleted, or a tag that may be removed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Doomed {
    /// What.
    pub seen: TaggedDigest,
    /// When it was marked.
    pub marked: Timestamp,
    /// Why.
    pub reason: String,
    /// What of it goes.
    pub goes: Goes,
    /// The key whose image it is, or was a part of; nothing for a tag that goes alone.
    pub key: Option<Key>,
    /// What must not be deleted before it is gone.
    pub needs: BTreeSet<Digest>,
}

impl Doomed {
    /// Returns this as something to be planned.
    pub fn action(&self) -> Action {
        let TaggedDigest { repository, tag, digest } = self.seen.clone();
        let what = match self.goes {
            Goes::Image => What::Delete,
            Goes::Tag => What::Untag,
            Goes::Part => What::Part,
        };
        Action { what, repository, tag, digest }
    }
}

/// One thing that a sweep does, to be planned by one call and done by another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// What is done.
    pub what: What,
    /// The repository's name, without host.
    pub repository: String,
    pub tag: Tag,
    pub digest: Digest,
}

/// What is done about a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// It is marked, or its going is announced.
    Condemn,
    /// It is deleted with its image.
    Delete,
    /// It alone is removed.
    Untag,
    /// A part of what it held is deleted.
    Part,
}

impl Clean {
    /// Lists what is done.
    pub fn actions(&self) -> BTreeSet<Action> {
        let condemned = self.condemn.iter().flat_map(|one| &one.images);
        let announced = self.announce.iter().flat_map(|one| &one.images);
        let condemned = condemned.chain(announced).map(|image| Action {
            what: What::Condemn,
            repository: image.repository.clone(),
            tag: image.tag.clone(),
            digest: image.digest.clone(),
        });
        condemned.chain(self.delete.iter().map(Doomed::action)).collect()
    }

    /// Returns how many tags go now, by repository.
    pub fn deleting(&self) -> BTreeMap<&str, usize> {
        let mut deleting = BTreeMap::new();
        for doomed in self.delete.iter().filter(|doomed| doomed.goes != Goes::Part) {
            *deleting.entry(doomed.seen.repository.as_str()).or_default() += 1;
        }
        deleting
    }

    /// Returns how many tags go, or will go, by repository.
    pub fn going(&self) -> BTreeMap<&str, usize> {
        let condemned = self.condemn.iter().flat_map(|one| &one.images);
        let announced = self.announce.iter().flat_map(|one| &one.images);
        let marked = condemned.chain(announced).map(|image| image.repository.as_str());
        let unread = self.unread.iter().map(|held| held.repository.as_str());
        let deleted = self.delete.iter().filter(|doomed| doomed.goes != Goes::Part);
        let deleted = deleted.map(|doomed| doomed.seen.repository.as_str());
        let mut going = BTreeMap::new();
        for name in marked.chain(unread).chain(deleted) {
            *going.entry(name).or_default() += 1;
        }
        going
    }
}

/// A generation of a key: what is condemned and deleted as a whole, for a tombstone ends it in
/// every repository.
pub(super) type Group = (Key, Generation);

impl Observed {
    /// Returns the age of a record that is dated `marked`.
    pub(super) fn age<R: Record>(&self, record: &R, marked: Timestamp) -> Age {
        match &self.ages {
            None => Age { since: Some(marked), is_own: false },
            Some(ages) => ages.get(&record.place()).copied().unwrap_or_default(),
        }
    }
}
