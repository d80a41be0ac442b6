//! What a sweep reads before it decides: leases first, then everything else, completely or
//! not at all.
//!
//! Listing tells most of it: a tag that a lease covers stays whatever it holds, and without
//! anything that may go nothing else need be known. Only then are the roots resolved and read,
//! and then what may go.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};

use crate::exec::clean::closure::{Reader, Wanted};
use crate::exec::clean::error::CleanError;
use crate::exec::clean::sightings;
use crate::exec::event::{Emit, Event};
use crate::exec::ledger::{Ledger, Records};
use crate::exec::pace;
use crate::model::{ContentTag, Digest, Key, Part, RecordTag, Repository, Sighting, Tag, Timestamp};
use crate::port::RegistryReader;
use crate::protocol::is_live;
use crate::retention::{Observed, Policies, Refs, Unreadable, candidates, leftovers};

/// How many candidates are read for whoever only wants to know: beyond that their names must do.
pub const READ_AT_MOST: usize = 256;

/// Reads the ledger and the repositories.
pub(crate) struct Survey<'a> {
    pub registry: &'a dyn RegistryReader,
    pub ledger: Ledger<'a>,
    pub repositories: &'a [Repository],
    pub policies: &'a Policies,
    pub refs: &'a Refs,
    /// Digests that are protected, with the reason.
    pub protected: &'a BTreeMap<Digest, String>,
    /// Repositories whose tags protect what they hold.
    pub protectors: &'a [Repository],
    /// Where it is noted when records were first seen.
    pub sightings: Option<Ledger<'a>>,
    /// The time that counts as now.
    pub now: Timestamp,
    /// Whether every candidate is read, however many there are.
    pub is_thorough: bool,
    pub emit: Emit<'a>,
}

/// The leases that were read.
pub(crate) struct Leases {
    /// The keys that they cover.
    keys: BTreeSet<Key>,
    /// Their tags.
    read: BTreeSet<Tag>,
    /// Those that cannot be read.
    unreadable: BTreeSet<Unreadable>,
}

impl Survey<'_> {
    /// Reads the leases, before everything else.
    pub async fn leases(&self) -> Result<Leases, CleanError> {
        let records = self.ledger.list().await?;
        let tags = tags_of(&records, |record| self.is_live(record));
        let read = tags.iter().cloned().collect();
        let mut unreadable = BTreeSet::new();
        Ok(Leases { keys: self.leased(tags, &mut unreadable).await?, read, unreadable })
    }

    /// Reads everything else, and the ledger once more: a list is not read at one moment, so a
    /// lease that took another's place meanwhile may stand in neither place of the first one.
    ///
    /// Returns the sightings of what is gone as well.
    pub async fn rest(&self, leases: &Leases) -> Result<(Observed, Vec<Sighting>), CleanError> {
        // Before the ledger: what was noted by now had been written, and is in its list.
        let sightings = match self.sightings {
            Some(at) => Some(sightings::list(at).await?),
            None => None,
        };
        let (records, others) = self.ledger.listing().await?;
        let mut tags = tags_of(&records, |record| self.is_live(record));
        tags.retain(|tag| !leases.read.contains(tag));
        let mut observed = Observed { unreadable: leases.unreadable.clone(), ..Observed::default() };
        observed.unreadable.extend(others.iter().map(|name| unknown(name)));
        observed.leased = self.leased(tags, &mut observed.unreadable).await?;
        observed.leased.extend(leases.keys.iter().cloned());
        let is_tombstone = |record: &RecordTag| matches!(record, RecordTag::Over { .. });
        observed.tombstones = self.judging(tags_of(&records, is_tombstone), &mut observed.unreadable).await?;
        let is_ending = |record: &RecordTag| matches!(record, RecordTag::Ends { .. });
        observed.endings = self.judging(tags_of(&records, is_ending), &mut observed.unreadable).await?;
        observed.ages = sightings.as_ref().map(|known| sightings::ages(known, &observed));
        let stale = sightings.as_ref().map(|known| sightings::stale(known, &observed, records.keys()));
        let stale = stale.unwrap_or_default();
        for repository in self.repositories {
            let tags = self.tags(repository).await?;
            observed.unread.insert(repository.name().to_owned(), tags);
            observed.repositories.insert(repository.name().to_owned(), BTreeMap::new());
        }
        observed.judged = self.judged(&records, sightings.as_ref(), &mut observed).await?;
        let may_end = observed.judged.iter().any(|judged| judged.stands && !judged.is_kept);
        let is_left = self.leftovers(&mut observed).await?;
        if candidates(&observed).is_empty() && !may_end && !is_left && observed.endings.is_empty() {
            return Ok((observed, stale));
        }
        self.roots(&mut observed).await?;
        let found = candidates(&observed);
        if self.is_thorough || found.len() <= READ_AT_MOST {
            self.candidates(&mut observed, found).await?;
        }
        Ok((observed, stale))
    }

    /// Reads what has no tag and was to go with images that are gone; tells whether any is there.
    async fn leftovers(&self, observed: &mut Observed) -> Result<bool, CleanError> {
        let parts: BTreeSet<Part> =
            leftovers(observed).into_iter().flat_map(|tombstone| tombstone.parts.iter().cloned()).collect();
        let home = |name: &str| self.repositories.iter().find(|one| one.name() == name).cloned();
        let wanted = |part: &Part| {
            Some(Wanted {
                digest: part.digest.clone(),
                home: Some(home(&part.repository)?),
                is_tagged: false,
            })
        };
        self.reader().nodes(&mut observed.nodes, parts.iter().filter_map(wanted).collect()).await?;
        Ok(parts.iter().any(|part| observed.nodes.contains_key(&part.digest)))
    }

    /// Resolves and reads everything that keeps something.
    async fn roots(&self, observed: &mut Observed) -> Result<(), CleanError> {
        let is_root = |tag: &Tag| match ContentTag::read(tag) {
            Some(content) => observed.leased.contains(content.key()),
            None => tag.subject().is_none(),
        };
        let roots: Vec<(String, Tag)> = pairs(&observed.unread).filter(|(_, tag)| is_root(tag)).collect();
        let mut waiting = self.resolve(observed, roots).await?;
        for judged in observed.judged.iter().filter(|judged| judged.is_kept) {
            for member in &judged.set.boxes {
                let home = self.repositories.iter().find(|one| one.name() == member.repository).cloned();
                waiting.insert(Wanted { digest: member.digest.clone(), home, is_tagged: false });
                observed.promoted.entry(member.digest.clone()).or_insert_with(|| judged.reason.clone());
            }
        }
        for (digest, reason) in self.protected {
            waiting.insert(Wanted { digest: digest.clone(), home: None, is_tagged: false });
            observed.promoted.insert(digest.clone(), reason.clone());
        }
        self.reader().nodes(&mut observed.nodes, waiting).await?;
        for repository in self.protectors {
            self.protector(repository, observed).await?;
        }
        Ok(())
    }

    /// Reads what the tags of another repository hold: as long as it is there, so is ours.
    async fn protector(&self, repository: &Repository, observed: &mut Observed) -> Result<(), CleanError> {
        let tags = self.tags(repository).await?;
        if tags.is_empty() {
            return Err(CleanError::NoProtector { repository: repository.clone() });
        }
        let held = self.heads(repository, tags).await?;
        let waiting = held.iter().map(|(_, digest)| Wanted {
            digest: digest.clone(),
            home: Some(repository.clone()),
            is_tagged: true,
        });
        let reader = Reader { repositories: std::slice::from_ref(repository), ..self.reader() };
        reader.nodes(&mut observed.nodes, waiting.collect()).await?;
        for (tag, digest) in held {
            observed.promoted.insert(digest, format!("{repository}:{tag} holds it"));
        }
        Ok(())
    }

    /// Resolves and reads what may go, and what is attached to it.
    async fn candidates(&self, observed: &mut Observed, found: Vec<(String, Tag)>) -> Result<(), CleanError> {
        let mut held: BTreeSet<(String, Digest)> = BTreeSet::new();
        for (number, some) in found.chunks(READ_AT_MOST).enumerate() {
            let done = number * READ_AT_MOST;
            (self.emit)(Event::Sweeping { what: "reading", done, all: found.len() });
            let waiting = self.resolve(observed, some.to_vec()).await?;
            let at = |one: &Wanted| Some((one.home.as_ref()?.name().to_owned(), one.digest.clone()));
            held.extend(waiting.iter().filter_map(at));
            self.reader().nodes(&mut observed.nodes, waiting).await?;
        }
        self.referrers(observed, held.clone()).await?;
        // Only where everything was read is it known what else needs a part of an image.
        let has_parts = |(_, digest): &&(String, Digest)| {
            let node = observed.nodes.get(digest);
            node.is_some_and(|node| !node.children.is_empty() || !node.referrers.is_empty())
        };
        let mut whole: BTreeSet<String> =
            held.iter().filter(has_parts).map(|(name, _)| name.clone()).collect();
        let left = leftovers(observed).into_iter().flat_map(|tombstone| &tombstone.parts);
        let left = left.filter(|part| observed.nodes.contains_key(&part.digest));
        whole.extend(left.map(|part| part.repository.clone()));
        let marked = observed.tombstones.iter().flat_map(|tombstone| &tombstone.images);
        held.extend(marked.map(|image| (image.repository.clone(), image.digest.clone())));
        let attached: BTreeSet<String> = pairs(&observed.unread)
            .filter_map(|(name, tag)| Some((name, tag.subject()?)))
            .filter(|at| held.contains(at))
            .map(|(name, _)| name)
            .collect();
        let more = pairs(&observed.unread).filter(|(name, tag)| {
            whole.contains(name) || (attached.contains(name) && tag.subject().is_some())
        });
        let more: Vec<(String, Tag)> = more.collect();
        let waiting = self.resolve(observed, more).await?;
        self.reader().nodes(&mut observed.nodes, waiting).await
    }

    /// Asks the registry what refers to these and to what goes with them, to the end.
    async fn referrers(
        &self,
        observed: &mut Observed,
        mut asking: BTreeSet<(String, Digest)>,
    ) -> Result<(), CleanError> {
        let mut tags: BTreeMap<String, BTreeSet<Digest>> = BTreeMap::new();
        for name in observed.counts().into_keys() {
            let subjects = observed.tags(name).filter_map(Tag::subject).collect();
            tags.insert(name.to_owned(), subjects);
        }
        let tags = &tags;
        let mut asked = asking.clone();
        while !asking.is_empty() {
            let found: Vec<(String, Digest, BTreeSet<Digest>)> =
                futures_util::stream::iter(std::mem::take(&mut asking))
                    .map(|(name, subject)| async move {
                        let home = self.repositories.iter().find(|one| one.name() == name);
                        let is_named = tags.get(&name).is_some_and(|tags| tags.contains(&subject));
                        let listed = match home {
                            Some(repository) if is_named || self.registry.lists_referrers(repository) => {
                                self.registry.referrers(repository, &subject).await?
                            }
                            Some(_) | None => Vec::new(),
                        };
                        let digests = listed.into_iter().map(|one| one.digest).collect();
                        Ok::<_, CleanError>((name, subject, digests))
                    })
                    .buffer_unordered(pace::REQUESTS)
                    .try_collect()
                    .await?;
            let mut waiting = BTreeSet::new();
            for (name, subject, digests) in found {
                let Some(node) = observed.nodes.get_mut(&subject) else { continue };
                let home = self.repositories.iter().find(|one| one.name() == name);
                waiting.extend(digests.iter().map(|digest| Wanted {
                    digest: digest.clone(),
                    home: home.cloned(),
                    is_tagged: false,
                }));
                let below = node.children.iter().chain(&digests).map(|digest| (name.clone(), digest.clone()));
                asking.extend(below.filter(|at| asked.insert(at.clone())));
                node.referrers.extend(digests);
            }
            self.reader().nodes(&mut observed.nodes, waiting).await?;
        }
        Ok(())
    }

    fn reader(&self) -> Reader<'_> {
        Reader { registry: self.registry, repositories: self.repositories }
    }

    /// Asks what these tags hold and notes it; returns the digests to be read.
    async fn resolve(
        &self,
        observed: &mut Observed,
        tags: Vec<(String, Tag)>,
    ) -> Result<BTreeSet<Wanted>, CleanError> {
        let mut waiting = BTreeSet::new();
        for repository in self.repositories {
            let name = repository.name();
            let of_this = tags.iter().filter(|(at, _)| at == name).map(|(_, tag)| tag.clone()).collect();
            for (tag, digest) in self.heads(repository, of_this).await? {
                observed.unread.entry(name.to_owned()).or_default().remove(&tag);
                waiting.insert(Wanted {
                    digest: digest.clone(),
                    home: Some(repository.clone()),
                    is_tagged: true,
                });
                observed.repositories.entry(name.to_owned()).or_default().insert(tag, digest);
            }
        }
        Ok(waiting)
    }

    fn is_live(&self, record: &RecordTag) -> bool {
        matches!(record, RecordTag::Lease { expiry, .. } if is_live(*expiry, self.now))
    }

    async fn tags(&self, repository: &Repository) -> Result<BTreeSet<Tag>, CleanError> {
        let list = self.registry.tags(repository).await?;
        match list.invalid.first() {
            Some(name) => {
                let name = crate::model::printable(name, 80);
                Err(CleanError::InvalidTag { repository: repository.clone(), name })
            }
            None => Ok(list.tags),
        }
    }

    async fn heads(
        &self,
        repository: &Repository,
        tags: BTreeSet<Tag>,
    ) -> Result<Vec<(Tag, Digest)>, CleanError> {
        futures_util::stream::iter(tags)
            .map(|tag| async move {
                match self.registry.head(repository, &tag.clone().into()).await? {
                    Some(digest) => Ok((tag, digest)),
                    None => Err(CleanError::Dangling { repository: repository.clone(), tag }),
                }
            })
            .buffer_unordered(pace::REQUESTS)
            .try_collect()
            .await
    }
}

/// Lists tags with their repositories' names.
fn pairs(tags: &BTreeMap<String, BTreeSet<Tag>>) -> impl Iterator<Item = (String, Tag)> {
    tags.iter().flat_map(|(name, tags)| tags.iter().map(move |tag| (name.clone(), tag.clone())))
}

pub(crate) fn tags_of(records: &Records, is_wanted: impl Fn(&RecordTag) -> bool) -> Vec<Tag> {
    records.iter().filter(|(record, _)| is_wanted(record)).map(|(_, tag)| tag.clone()).collect()
}

/// A name in the ledger that is of no kind that we know.
pub(crate) fn unknown(name: &str) -> Unreadable {
    let why = "it is no record of a kind that this boxwright knows".to_owned();
    Unreadable { tag: crate::model::printable(name, 128), why, stops: None }
}
