//! The sweep protocol: read leases, wait, read everything else; condemn in one run, delete
//! in a later one. Any read that fails ends it before the first delete.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::TryStreamExt;

use super::event::{Emit, Event};
use super::ledger::{Ledger, LedgerError};
use super::probe::{self, Unread};
use super::{Ports, Setting};
use crate::model::{
    ContentTag, Descriptor, Digest, Document, Lease, Marker, RecordTag, Repository, SetRecord, Span, Tag,
    Timestamp,
};
use crate::port::{Deleted, Reference, RegistryError};
use crate::retention::{Clean, Node, Observed, Policy, Seen, decide, is_live};

/// How a sweep goes about it.
#[derive(Debug, Clone)]
pub struct CleanOptions {
    /// The repositories to clean.
    pub repositories: Vec<Repository>,
    /// What the past of each channel keeps, by the channel's name: how many promotions, and
    /// for how long replaced ones stay. Nothing means all of it.
    pub keep: BTreeMap<String, Option<(u32, Span)>>,
    /// The least time between condemning and deleting.
    pub grace: Span,
    /// The time after which a write is seen by every reader.
    pub settle: Span,
    /// How far ahead to look.
    pub ahead: Span,
    /// Whether to do it; else only the decision is returned.
    pub apply: bool,
}

/// What a sweep found and did.
#[derive(Debug, Clone)]
pub struct CleanReport {
    /// The decision.
    pub clean: Clean,
    /// The time it was taken for.
    pub now: Timestamp,
    /// What became of each deletion, in their order.
    pub deletions: Vec<Deletion>,
    /// How many expired leases were removed.
    pub expired: usize,
    /// Whether anything was written or deleted.
    pub is_applied: bool,
}

/// What became of one deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deletion {
    /// It is gone.
    Done,
    /// It changed since it was decided on, and was left alone.
    Changed,
    /// The registry does not delete.
    Unsupported,
    /// It did not work.
    Failed(String),
}

/// Why a sweep deleted nothing.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry did not answer as needed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// A manifest could not be understood, so what it needs is unknown.
    #[error("{repository}@{digest} cannot be understood: {why}")]
    Unreadable {
        /// Its repository.
        repository: Repository,
        /// Its digest.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// A repository lists a name that cannot be asked for.
    #[error("{repository} lists `{name}`, which is no valid tag; what it keeps is unknown")]
    InvalidTag {
        /// The repository.
        repository: Repository,
        /// The name.
        name: String,
    },
    /// A tag was listed but does not resolve.
    #[error("{repository}:{tag} is listed but does not resolve; what it keeps is unknown")]
    Dangling {
        /// The repository.
        repository: Repository,
        /// The tag.
        tag: Tag,
    },
}

const AT_ONCE: usize = 32;

/// Finds out what nothing keeps; condemns it, and deletes what was condemned long enough ago.
pub async fn clean(
    ports: Ports<'_>,
    setting: &Setting,
    options: &CleanOptions,
    emit: Emit<'_>,
) -> Result<CleanReport, CleanError> {
    let sweep = Sweep { ports, ledger: Ledger::new(ports.registry, &setting.ledger), options };
    let (mut clean, mut now) = sweep.decide(false).await?;
    if options.apply && !clean.delete.is_empty() {
        // Before anything is deleted everything is read again, leases first.
        (clean, now) = sweep.decide(true).await?;
    }
    let mut report = CleanReport { clean, now, deletions: Vec::new(), expired: 0, is_applied: options.apply };
    if !options.apply {
        return Ok(report);
    }
    sweep.condemn(&report.clean, emit).await?;
    for doomed in &report.clean.delete {
        let outcome = sweep.delete(&doomed.seen, emit).await;
        report.deletions.push(outcome);
    }
    report.expired = sweep.forget(&report.clean).await?;
    Ok(report)
}

struct Sweep<'a> {
    ports: Ports<'a>,
    ledger: Ledger<'a>,
    options: &'a CleanOptions,
}

impl Sweep<'_> {
    async fn decide(&self, wait: bool) -> Result<(Clean, Timestamp), CleanError> {
        let now = self.ledger.now().await?.after(self.options.ahead);
        let records = self.ledger.list().await?;
        let mut observed = Observed::default();
        for (record, tag) in &records {
            if let RecordTag::Lease { expiry, .. } = record
                && is_live(*expiry, now)
                && let Some(lease) = self.ledger.read::<Lease>(tag).await?
            {
                observed.leased.extend(lease.keys);
            }
        }
        if wait {
            tokio::time::sleep(self.options.settle.duration()).await;
        }
        self.read_records(&records, now, &mut observed).await?;
        for repository in &self.options.repositories {
            let tags = self.read_tags(repository).await?;
            observed.repositories.insert(repository.name().to_owned(), tags);
        }
        self.read_nodes(&mut observed).await?;
        Ok((decide(&observed, Policy { grace: self.options.grace, now }), now))
    }

    async fn read_records(
        &self,
        records: &BTreeMap<RecordTag, Tag>,
        now: Timestamp,
        observed: &mut Observed,
    ) -> Result<(), CleanError> {
        let mut sets: BTreeMap<Tag, Vec<SetRecord>> = BTreeMap::new();
        for (record, tag) in records {
            match record {
                RecordTag::Over { .. } => observed.markers.extend(self.ledger.read::<Marker>(tag).await?),
                // A promotion that was begun keeps its boxes as a finished one does.
                RecordTag::Set { tag: name, .. } | RecordTag::Plan { tag: name, .. } => {
                    sets.entry(name.clone()).or_default().extend(self.ledger.read::<SetRecord>(tag).await?);
                }
                _ => {}
            }
        }
        for (tag, records) in sets {
            observed.promoted.extend(self.kept_by_sets(&tag, records, now));
        }
        Ok(())
    }

    /// Returns the digests that a tag's promotions keep.
    fn kept_by_sets(
        &self,
        tag: &Tag,
        mut records: Vec<SetRecord>,
        now: Timestamp,
    ) -> BTreeMap<Digest, String> {
        records.sort_by_key(|record| std::cmp::Reverse(record.seq));
        let mut kept = BTreeMap::new();
        let mut replaced: Option<Timestamp> = None;
        let newest = records.first().map_or(0, |record| record.seq);
        for record in records {
            // A channel that is no longer declared keeps everything.
            let keeps = match self.options.keep.get(&record.channel) {
                Some(Some((count, grace))) => {
                    newest - record.seq < *count
                        || replaced.is_none_or(|replaced| now.since(replaced) < *grace)
                }
                Some(None) | None => true,
            };
            replaced = Some(record.promoted);
            if keeps {
                for set_box in record.boxes {
                    kept.entry(set_box.digest).or_insert_with(|| format!("{tag}, promotion {}", record.seq));
                }
            }
        }
        kept
    }

    async fn read_tags(&self, repository: &Repository) -> Result<BTreeMap<Tag, Digest>, CleanError> {
        let list = self.ports.registry.tags(repository).await?;
        if let Some(name) = list.invalid.first() {
            let name = crate::model::printable(name, 80);
            return Err(CleanError::InvalidTag { repository: repository.clone(), name });
        }
        futures_util::stream::iter(list.tags)
            .map(|tag| async move {
                let found = self.ports.registry.head(repository, &tag.clone().into()).await?;
                let digest = found.ok_or_else(|| CleanError::Dangling {
                    repository: repository.clone(),
                    tag: tag.clone(),
                })?;
                Ok((tag, digest))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// Reads what every root needs, to the end, and what every candidate says of itself.
    async fn read_nodes(&self, observed: &mut Observed) -> Result<(), CleanError> {
        let mut waiting: BTreeSet<(String, Digest)> = BTreeSet::new();
        for (name, tags) in &observed.repositories {
            let to_read = tags.iter().filter(|(tag, _)| {
                ContentTag::read(tag).is_none_or(|content| !observed.leased.contains(content.key()))
            });
            waiting.extend(to_read.map(|(_, digest)| (name.clone(), digest.clone())));
        }
        while !waiting.is_empty() {
            let read: Vec<(String, Digest, Node)> = futures_util::stream::iter(std::mem::take(&mut waiting))
                .map(|(name, digest)| async move {
                    let node = self.read_node(&name, &digest).await?;
                    Ok::<_, CleanError>((name, digest, node))
                })
                .buffer_unordered(AT_ONCE)
                .try_collect()
                .await?;
            for (name, digest, node) in read {
                for needed in &node.needs {
                    // Only an index's children and subjects stand in the same repository;
                    // bases are read where a tag of theirs is listed.
                    if !observed.nodes.contains_key(needed) {
                        waiting.extend(self.homes(observed, &name, needed));
                    }
                }
                observed.nodes.insert(digest, node);
            }
            waiting.retain(|(_, digest)| !observed.nodes.contains_key(digest));
        }
        Ok(())
    }

    /// Returns where a digest that is needed can be read: where a tag points to it.
    fn homes(&self, observed: &Observed, _name: &str, needed: &Digest) -> Option<(String, Digest)> {
        let holds =
            |(_, tags): &(&String, &BTreeMap<Tag, Digest>)| tags.values().any(|digest| digest == needed);
        observed.repositories.iter().find(holds).map(|(home, _)| (home.clone(), needed.clone()))
    }

    async fn read_node(&self, name: &str, digest: &Digest) -> Result<Node, CleanError> {
        let Some(repository) = self.options.repositories.iter().find(|repository| repository.name() == name)
        else {
            return Ok(Node::default());
        };
        let at = Reference::Digest(digest.clone());
        let unreadable = |why: String| CleanError::Unreadable {
            repository: repository.clone(),
            digest: digest.clone(),
            why,
        };
        let inspected = match probe::inspect(self.ports.registry, repository, &at, None).await {
            Ok(Some(inspected)) => inspected,
            Ok(None) => return Err(unreadable("it is listed, but gone".to_owned())),
            Err(Unread::Registry(error)) => return Err(error.into()),
            Err(Unread::Broken(why)) => return Err(unreadable(why)),
        };
        let mut needs: BTreeSet<Digest> = inspected.parents.into_values().collect();
        let subject = |subject: Option<Descriptor>| subject.map(|subject| subject.digest);
        match inspected.document {
            Document::Image(image) => needs.extend(subject(image.subject)),
            Document::Index(index) => {
                needs.extend(index.manifests.into_iter().map(|child| child.digest));
                needs.extend(subject(index.subject));
            }
        }
        Ok(Node { needs, key: inspected.key })
    }

    async fn condemn(&self, clean: &Clean, emit: Emit<'_>) -> Result<(), CleanError> {
        for condemned in &clean.condemn {
            let record = RecordTag::Over { key: condemned.key.clone(), generation: condemned.generation };
            let tag = record.tag().map_err(|error| self.ledger.bad_tag(&record.to_string(), error))?;
            let marker = Marker {
                key: condemned.key.clone(),
                generation: condemned.generation,
                // The registry's true time, however far ahead this sweep looks.
                marked: self.ledger.now().await?,
                reason: "no policy, lease or tag keeps it".to_owned(),
                images: condemned.images.clone(),
            };
            self.ledger.write(&tag, &marker).await?;
            for image in &condemned.images {
                emit(Event::Condemned { reference: format!("{}:{}", image.repository, image.tag) });
            }
        }
        Ok(())
    }

    async fn delete(&self, seen: &Seen, emit: Emit<'_>) -> Deletion {
        let name = &seen.repository;
        let Some(repository) = self.options.repositories.iter().find(|repository| repository.name() == name)
        else {
            return Deletion::Changed;
        };
        let tag = Reference::Tag(seen.tag.clone());
        let digest = Reference::Digest(seen.digest.clone());
        let registry = self.ports.registry;
        match registry.head(repository, &tag).await {
            Ok(Some(now)) if now == seen.digest => {}
            Ok(_) => return Deletion::Changed,
            Err(error) => return Deletion::Failed(error.to_string()),
        }
        let answer = registry.delete(repository, &seen.digest).await;
        if matches!(answer, Ok(Deleted::Unsupported)) {
            return Deletion::Unsupported;
        }
        // Whatever it answered: gone is what can no longer be found.
        match (registry.head(repository, &digest).await, answer) {
            (Ok(None), _) => {
                emit(Event::Deleted { reference: format!("{repository}:{}", seen.tag) });
                Deletion::Done
            }
            (Ok(Some(_)), Ok(_)) => {
                Deletion::Failed("the registry took the delete, but it is still there".to_owned())
            }
            (Ok(Some(_)) | Err(_), Err(error)) => Deletion::Failed(error.to_string()),
            (Err(error), Ok(_)) => Deletion::Failed(error.to_string()),
        }
    }

    /// Removes leases that have ended, by the registry's true time, and markers that every
    /// sweeper is past; returns how many leases.
    async fn forget(&self, clean: &Clean) -> Result<usize, CleanError> {
        let now = self.ledger.now().await?;
        let mut expired = 0;
        for (record, tag) in self.ledger.list().await? {
            let is_lease = matches!(&record, RecordTag::Lease { expiry, .. } if *expiry < now);
            let is_settled = matches!(&record, RecordTag::Over { key, generation }
                if clean.settled.contains(&(key.clone(), *generation)));
            if !is_lease && !is_settled {
                continue;
            }
            let Some(digest) = self.ledger.digest(&tag).await? else { continue };
            match self.ledger.delete(&digest).await? {
                Deleted::Gone | Deleted::WasGone => expired += usize::from(is_lease),
                Deleted::Unsupported => break,
            }
        }
        Ok(expired)
    }
}
