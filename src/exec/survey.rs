//! What a sweep reads before it decides: leases first, then everything else, completely or
//! not at all.
//!
//! What cannot be read or understood is an error, for nobody knows what it keeps. What is
//! needed by something that stands but is itself gone keeps nothing.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};

use super::clean::CleanError;
use super::ledger::Ledger;
use super::probe::{Unread, labels};
use crate::model::{
    Descriptor, Digest, Document, Key, Lease, Marker, MediaType, RawManifest, RecordTag, Repository,
    SetRecord, Tag, Timestamp,
};
use crate::port::Registry;
use crate::retention::{Keep, Node, Observed, is_live, kept};

const AT_ONCE: usize = 32;

/// Reads the ledger and the repositories.
pub(super) struct Survey<'a> {
    pub registry: &'a dyn Registry,
    pub ledger: Ledger<'a>,
    pub repositories: &'a [Repository],
    pub keep: &'a Keep,
    /// The time that counts as now.
    pub now: Timestamp,
}

/// The leases that were read.
pub(super) struct Leases {
    /// The keys that they cover.
    keys: BTreeSet<Key>,
    /// Their tags.
    read: BTreeSet<Tag>,
}

/// A digest to be read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Wanted {
    digest: Digest,
    /// The repository it stands in; any of them if that is not known.
    home: Option<Repository>,
    /// Whether a tag was just seen on it, so that it must be there.
    is_tagged: bool,
}

/// A digest that was read.
struct Read {
    digest: Digest,
    node: Node,
    /// The manifests of an index, which say what its key is.
    children: Vec<Digest>,
    waiting: Vec<Wanted>,
}

impl Survey<'_> {
    /// Reads the leases, before everything else.
    pub async fn leases(&self) -> Result<Leases, CleanError> {
        let records = self.ledger.list_strictly().await?;
        let tags = tags_of(&records, |record| self.is_live(record));
        let read = tags.iter().cloned().collect();
        Ok(Leases { keys: self.leased(tags).await?, read })
    }

    /// Reads everything else, and the ledger once more: a list is not read at one moment, so a
    /// lease that took another's place meanwhile may stand in neither place of the first one.
    pub async fn rest(&self, leases: &Leases) -> Result<Observed, CleanError> {
        let records = self.ledger.list_strictly().await?;
        let mut tags = tags_of(&records, |record| self.is_live(record));
        tags.retain(|tag| !leases.read.contains(tag));
        let mut observed = Observed { leased: self.leased(tags).await?, ..Observed::default() };
        observed.leased.extend(leases.keys.iter().cloned());
        observed.markers = self.markers(&records).await?;
        let sets = self.kept_sets(&records).await?;
        for repository in self.repositories {
            observed.repositories.insert(repository.name().to_owned(), self.tags(repository).await?);
        }
        let mut waiting: BTreeSet<Wanted> = BTreeSet::new();
        for repository in self.repositories {
            let tags = observed.repositories.get(repository.name()).into_iter().flatten();
            waiting.extend(tags.map(|(_, digest)| Wanted {
                digest: digest.clone(),
                home: Some(repository.clone()),
                is_tagged: true,
            }));
        }
        for set in sets {
            for member in set.boxes {
                let reason = format!("{}, promotion {}", set.tag, set.seq);
                let home = self.repositories.iter().find(|one| one.name() == member.repository);
                let is_tagged = false;
                waiting.insert(Wanted { digest: member.digest.clone(), home: home.cloned(), is_tagged });
                observed.promoted.entry(member.digest).or_insert(reason);
            }
        }
        observed.nodes = self.nodes(waiting).await?;
        Ok(observed)
    }

    fn is_live(&self, record: &RecordTag) -> bool {
        matches!(record, RecordTag::Lease { expiry, .. } if is_live(*expiry, self.now))
    }

    /// Returns the keys of these leases.
    async fn leased(&self, tags: Vec<Tag>) -> Result<BTreeSet<Key>, CleanError> {
        let (leases, vanished) = self.ledger.read_all::<Lease>(tags).await?;
        match vanished.into_iter().next() {
            // Given up, or replaced by one that the list does not hold yet.
            Some(tag) => Err(CleanError::Dangling { repository: self.ledger.repository().clone(), tag }),
            None => Ok(leases.into_iter().flat_map(|lease| lease.keys).collect()),
        }
    }

    async fn markers(&self, records: &BTreeMap<RecordTag, Tag>) -> Result<Vec<Marker>, CleanError> {
        let is_marker = |record: &RecordTag| matches!(record, RecordTag::Over { .. });
        // One that has vanished was forgotten by another sweep: nothing stands under its key.
        let (markers, _) = self.ledger.read_all(tags_of(records, is_marker)).await?;
        Ok(markers)
    }

    /// Returns the promotions that keep their images.
    async fn kept_sets(&self, records: &BTreeMap<RecordTag, Tag>) -> Result<Vec<SetRecord>, CleanError> {
        let is_set = |record: &RecordTag| matches!(record, RecordTag::Set { .. });
        let is_plan = |record: &RecordTag| matches!(record, RecordTag::Plan { .. });
        let (sets, vanished) = self.ledger.read_all::<SetRecord>(tags_of(records, is_set)).await?;
        let (plans, also_vanished) = self.ledger.read_all::<SetRecord>(tags_of(records, is_plan)).await?;
        if let Some(tag) = vanished.into_iter().chain(also_vanished).next() {
            return Err(CleanError::Dangling { repository: self.ledger.repository().clone(), tag });
        }
        let names: BTreeSet<Tag> = sets.iter().chain(&plans).map(|record| record.tag.clone()).collect();
        let of = |records: &[SetRecord], name: &Tag| -> Vec<SetRecord> {
            records.iter().filter(|record| record.tag == *name).cloned().collect()
        };
        let keeping =
            names.iter().flat_map(|name| kept(of(&sets, name), of(&plans, name), self.keep, self.now));
        Ok(keeping.collect())
    }

    async fn tags(&self, repository: &Repository) -> Result<BTreeMap<Tag, Digest>, CleanError> {
        let list = self.registry.tags(repository).await?;
        if let Some(name) = list.invalid.first() {
            let name = crate::model::printable(name, 80);
            return Err(CleanError::InvalidTag { repository: repository.clone(), name });
        }
        futures_util::stream::iter(list.tags)
            .map(|tag| async move {
                let found = self.registry.head(repository, &tag.clone().into()).await?;
                match found {
                    Some(digest) => Ok((tag, digest)),
                    None => Err(CleanError::Dangling { repository: repository.clone(), tag }),
                }
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Reads what stands and what that needs, to the end.
    async fn nodes(&self, mut waiting: BTreeSet<Wanted>) -> Result<BTreeMap<Digest, Node>, CleanError> {
        let mut nodes: BTreeMap<Digest, Node> = BTreeMap::new();
        let mut children: BTreeMap<Digest, Vec<Digest>> = BTreeMap::new();
        let mut asked: BTreeSet<Wanted> = BTreeSet::new();
        while !waiting.is_empty() {
            asked.extend(waiting.iter().cloned());
            let read: Vec<Option<Read>> = futures_util::stream::iter(std::mem::take(&mut waiting))
                .map(|wanted| self.node(wanted))
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            for Read { digest, node, children: listed, waiting: more } in read.into_iter().flatten() {
                waiting.extend(more);
                children.insert(digest.clone(), listed);
                nodes.insert(digest, node);
            }
            waiting.retain(|wanted| !nodes.contains_key(&wanted.digest) && !asked.contains(wanted));
        }
        for (index, listed) in children {
            let key = listed.iter().find_map(|child| nodes.get(child)?.key.clone());
            if let Some(node) = nodes.get_mut(&index)
                && node.key.is_none()
            {
                node.key = key;
            }
        }
        Ok(nodes)
    }

    /// Reads a digest; nothing if it is only needed, and gone.
    async fn node(&self, wanted: Wanted) -> Result<Option<Read>, CleanError> {
        let Wanted { digest, home, is_tagged } = wanted;
        let homes = home.as_ref().map_or(self.repositories, std::slice::from_ref);
        for repository in homes {
            if let Some(raw) = self.registry.get(repository, &digest.clone().into()).await? {
                return self.read_node(repository, &raw).await.map(Some);
            }
        }
        match home {
            Some(repository) if is_tagged => {
                Err(CleanError::Unreadable { repository, digest, why: "it is tagged, but gone".to_owned() })
            }
            _ => Ok(None),
        }
    }

    async fn read_node(&self, repository: &Repository, raw: &RawManifest) -> Result<Read, CleanError> {
        let digest = raw.digest().clone();
        let unreadable = |why: String| CleanError::Unreadable {
            repository: repository.clone(),
            digest: digest.clone(),
            why,
        };
        let beside = |digest: &Digest| Wanted {
            digest: digest.clone(),
            home: Some(repository.clone()),
            is_tagged: false,
        };
        let mut waiting: Vec<Wanted> = Vec::new();
        let mut children = Vec::new();
        let mut key = None;
        let subject = match raw.document().map_err(|error| unreadable(error.to_string()))? {
            Document::Image(image) => {
                let labels = match labels(self.registry, repository, &image).await {
                    Ok(labels) => labels,
                    Err(Unread::Registry(error)) => return Err(error.into()),
                    Err(Unread::Broken(why)) => return Err(unreadable(why)),
                };
                key = labels.key;
                // A base may stand in any repository.
                let bases = labels.parents.into_values();
                waiting.extend(bases.map(|digest| Wanted { digest, home: None, is_tagged: false }));
                image.subject
            }
            Document::Index(index) => {
                // What is no manifest, as in a build cache, has nothing below it.
                let is_manifest = |child: &&Descriptor| child.media_type.parse::<MediaType>().is_ok();
                children.extend(index.manifests.iter().filter(is_manifest).map(|child| child.digest.clone()));
                waiting.extend(children.iter().map(beside));
                index.subject
            }
        };
        waiting.extend(subject.map(|subject| beside(&subject.digest)));
        let needs = waiting.iter().map(|wanted| wanted.digest.clone()).collect();
        Ok(Read { digest, node: Node { needs, key }, children, waiting })
    }
}

fn tags_of(records: &BTreeMap<RecordTag, Tag>, is_wanted: impl Fn(&RecordTag) -> bool) -> Vec<Tag> {
    records.iter().filter(|(record, _)| is_wanted(record)).map(|(_, tag)| tag.clone()).collect()
}
