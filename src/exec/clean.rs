//! Sweeps: carries out what [`Sweeper`] asks for. Any read that fails ends one before its first
//! delete.

use std::collections::{BTreeMap, BTreeSet};

use super::event::{Emit, Event};
use super::ledger::{Ledger, LedgerError};
use super::old;
use super::promote::record_tag;
use super::survey::{Leases, Survey};
use super::{Ports, Setting};
use crate::model::{
    Digest, Ending, Marker, Record, RecordTag, Repository, SetName, Share, Span, Tag, Timestamp,
};
use crate::port::{Deleted, Registry, RegistryError};
use crate::retention::{
    Action, Answer, Clean, Condemned, Deletion, Doomed, Observed, Policies, Policy, Refs, SweepAction,
    SweepEnd, SweepSaw, Sweeper, decide, has_ended,
};

/// How a sweep goes about it. By default it does nothing, to no repository.
#[derive(Debug, Clone, Default)]
pub struct CleanOptions {
    /// The repositories to clean.
    pub repositories: Vec<Repository>,
    /// What is kept of each channel's promotions.
    pub policies: Policies,
    /// The refs of the git remotes that policies name.
    pub refs: Refs,
    /// Digests that stay whatever the policies say, with the reason.
    pub protected: BTreeMap<Digest, String>,
    /// Repositories whose tags protect what they hold.
    pub protectors: Vec<Repository>,
    /// The least time between condemning and deleting.
    pub grace: Span,
    /// The time after which a write is seen by every reader.
    pub settle: Span,
    /// How far ahead to look.
    pub ahead: Span,
    /// How long records of runs, and of promotions that were begun, stay.
    pub records: Span,
    /// The share of all tags that may go in one call.
    pub max_delete: Option<Share>,
    /// The number of tags that a repository which loses some must have left.
    pub min: u32,
    /// What may be done, if it was planned before: all of it, or nothing is.
    pub planned: Option<BTreeSet<Action>>,
    /// Whether to read everything that may go, where only the decision is returned.
    pub is_thorough: bool,
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
    /// How many other old records were removed.
    pub records: usize,
    /// Whether anything was written or deleted.
    pub is_applied: bool,
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
    /// A repository that is to protect digests holds none, so it is probably not the one meant.
    #[error("{repository} holds no tags; what it was to protect is unknown")]
    NoProtector {
        /// The repository.
        repository: Repository,
    },
    /// More would go than is allowed.
    #[error("{going} of {all} tags would go, which is more than {share}")]
    TooMany {
        /// How many would go.
        going: usize,
        /// How many there are.
        all: usize,
        /// The share that may go.
        share: Share,
    },
    /// Less would be left than is allowed.
    #[error("{left} of {all} tags of {repository} would be left, which is less than {min}")]
    TooFew {
        /// The repository's name.
        repository: String,
        /// How many would be left.
        left: usize,
        /// How many there are.
        all: usize,
        /// How many must be left.
        min: u32,
    },
    /// What was planned is no longer what would be done.
    #[error("the registry has moved since the plan was made: {what}")]
    Moved {
        /// The first difference.
        what: String,
    },
    /// It was suspended, so that what it had read is no longer true.
    #[error("it is too long since everything was read")]
    Late,
}

/// Finds out what nothing keeps; condemns it, and deletes what was condemned long enough ago.
pub async fn clean(
    ports: Ports<'_>,
    setting: &Setting,
    options: &CleanOptions,
    emit: Emit<'_>,
) -> Result<CleanReport, CleanError> {
    let ledger = Ledger::new(ports.registry, &setting.ledger);
    let mut sweep =
        Sweep { ports, ledger, options, emit, look: None, expired: 0, records: 0, sent: None, error: None };
    let mut sweeper = Sweeper::new(options.apply);
    let end = loop {
        let action = sweeper.next();
        if let SweepAction::End(end) = action {
            break end;
        }
        let saw = sweep.act(&action, sweeper.clean()).await;
        sweeper = sweeper.observe(saw);
    };
    match (end, sweep.error) {
        (SweepEnd::Done, _) => Ok(CleanReport {
            clean: sweeper.clean().clone(),
            now: sweep.look.map(|look| look.now).unwrap_or_default(),
            deletions: sweeper.deletions().to_vec(),
            expired: sweep.expired,
            records: sweep.records,
            is_applied: options.apply,
        }),
        (SweepEnd::Failed, Some(error)) => Err(error),
        (SweepEnd::Failed | SweepEnd::Late, _) => Err(CleanError::Late),
    }
}

/// Carries out a sweep's actions.
struct Sweep<'a> {
    ports: Ports<'a>,
    ledger: Ledger<'a>,
    options: &'a CleanOptions,
    emit: Emit<'a>,
    /// The look that is under way, or was the last.
    look: Option<Look>,
    expired: usize,
    records: usize,
    /// The image whose deletion was sent last.
    sent: Option<usize>,
    error: Option<CleanError>,
}

struct Look {
    /// The registry's time when it began.
    today: Timestamp,
    /// The time that counts as now.
    now: Timestamp,
    leases: Leases,
}

impl Sweep<'_> {
    async fn act(&mut self, action: &SweepAction, clean: &Clean) -> SweepSaw {
        let done = match *action {
            SweepAction::Clock => return SweepSaw::Clock(self.ports.clock.elapsed()),
            SweepAction::Leases => self.leases().await.map(|()| SweepSaw::Done),
            SweepAction::Wait => {
                tokio::time::sleep(self.options.settle.duration()).await;
                Ok(SweepSaw::Done)
            }
            SweepAction::Rest => self.rest().await,
            SweepAction::Condemn(at) => match clean.condemn.get(at) {
                Some(condemned) => self.condemn(condemned).await.map(|()| SweepSaw::Done),
                None => Ok(SweepSaw::Done),
            },
            SweepAction::Retire(at) => match clean.retire.get(at) {
                Some(marker) => self.mark(marker).await.map(|()| SweepSaw::Done),
                None => Ok(SweepSaw::Done),
            },
            SweepAction::EndedLeases => self.records(clean).await.map(|()| SweepSaw::Done),
            SweepAction::Forget(at) => match clean.forget.get(at) {
                Some(marker) => self.forget(marker).await.map(|()| SweepSaw::Done),
                None => Ok(SweepSaw::Done),
            },
            SweepAction::Head(at) => return self.image(clean, at, Asked::Tag).await,
            SweepAction::Delete(at) => return self.image(clean, at, Asked::Deletion).await,
            SweepAction::Find(at) => return self.image(clean, at, Asked::Digest).await,
            SweepAction::End(_) => Ok(SweepSaw::Done),
        };
        done.unwrap_or_else(|error| {
            let saw = match &error {
                // Another sweep may have deleted it, or a run given up its lease.
                CleanError::Dangling { .. } | CleanError::Unreadable { .. } => SweepSaw::Unsettled,
                _ => SweepSaw::Failed(error.to_string()),
            };
            self.error = Some(error);
            saw
        })
    }

    async fn leases(&mut self) -> Result<(), CleanError> {
        let today = self.ledger.now().await?;
        let now = today.after(self.options.ahead);
        let leases = self.survey(now).leases().await?;
        self.look = Some(Look { today, now, leases });
        Ok(())
    }

    async fn rest(&mut self) -> Result<SweepSaw, CleanError> {
        let Some(look) = &self.look else { return Ok(SweepSaw::Unsettled) };
        let mut observed = self.survey(look.now).rest(&look.leases).await?;
        let policy = Policy { grace: self.options.grace, now: look.now, today: look.today };
        observed.only = self.options.planned.clone();
        let clean = decide(&observed, policy);
        if let Some(planned) = &self.options.planned
            && let Some(gone) = planned.difference(&clean.actions()).next()
        {
            return Err(CleanError::Moved { what: moved(gone, &clean) });
        }
        within(&clean, &observed, self.options)?;
        Ok(SweepSaw::Observed(Box::new(observed), policy))
    }

    fn survey(&self, now: Timestamp) -> Survey<'_> {
        let CleanOptions { repositories, policies, refs, protected, protectors, .. } = self.options;
        let is_thorough = self.options.apply || self.options.is_thorough;
        let (registry, ledger) = (self.ports.registry, self.ledger);
        Survey { registry, ledger, repositories, policies, refs, protected, protectors, now, is_thorough }
    }

    async fn condemn(&self, condemned: &Condemned) -> Result<(), CleanError> {
        let marker = Marker {
            key: condemned.key.clone(),
            generation: condemned.generation,
            // The registry's true time, however far ahead this sweep looks.
            marked: self.ledger.now().await?,
            reason: "no policy, lease or tag keeps it".to_owned(),
            images: condemned.images.clone(),
        };
        self.mark(&marker).await?;
        for image in &condemned.images {
            (self.emit)(Event::Condemned { reference: format!("{}:{}", image.repository, image.tag) });
        }
        Ok(())
    }

    async fn mark(&self, marker: &Marker) -> Result<(), CleanError> {
        let record = RecordTag::Over { key: marker.key.clone(), generation: marker.generation };
        let tag = record.tag().map_err(|error| self.ledger.bad_tag(&record.to_string(), error))?;
        match self.ledger.write(&tag, marker).await {
            // Another sweep's marker ends the generation as well as ours.
            Err(LedgerError::NotOurs { .. }) if self.ledger.read::<Marker>(&tag).await?.is_some() => Ok(()),
            written => Ok(written.map(drop)?),
        }
    }

    /// Announces and withdraws, and removes records whose time is over, by the registry's true time.
    async fn records(&mut self, clean: &Clean) -> Result<(), CleanError> {
        let now = self.ledger.now().await?;
        for ending in clean.announce.iter().chain(&clean.withdraw) {
            let ending = Ending { marked: now, ..ending.clone() };
            let tag = RecordTag::Ends { tag: ending.tag.clone(), seq: ending.seq };
            self.ledger.write(&record_tag(self.ledger, tag)?, &ending).await?;
            for image in &ending.images {
                (self.emit)(Event::Condemned { reference: format!("{}:{}", image.repository, image.tag) });
            }
        }
        let records = self.ledger.list().await?;
        let is_over = |record: &RecordTag| match record {
            RecordTag::Lease { expiry, .. } => has_ended(*expiry, now),
            RecordTag::Ends { tag, seq } => clean.settled.contains(&SetName { tag: tag.clone(), seq: *seq }),
            _ => false,
        };
        let over: Vec<(RecordTag, Tag)> = records
            .iter()
            .filter(|(record, _)| is_over(record))
            .map(|(record, tag)| (record.clone(), tag.clone()))
            .collect();
        for (record, tag) in over {
            let Some(digest) = self.ledger.digest(&tag).await? else { continue };
            match self.ledger.delete(&digest).await? {
                Deleted::Gone | Deleted::WasGone if matches!(record, RecordTag::Lease { .. }) => {
                    self.expired += 1
                }
                Deleted::Gone | Deleted::WasGone => {}
                Deleted::Unsupported => return Ok(()),
            }
        }
        self.records += old::remove(self.ledger, &records, self.options.records, now).await?;
        Ok(())
    }

    /// Deletes the marker that was read, not one that was written over it since.
    async fn forget(&self, marker: &Marker) -> Result<(), CleanError> {
        self.ledger.delete(marker.to_manifest().digest()).await?;
        Ok(())
    }

    async fn image(&mut self, clean: &Clean, at: usize, asked: Asked) -> SweepSaw {
        let Some(Doomed { seen, only_tag, parts, .. }) = clean.delete.get(at) else {
            return SweepSaw::Holds(None);
        };
        let mut all = self.options.repositories.iter();
        let Some(repository) = all.find(|repository| repository.name() == seen.repository) else {
            return SweepSaw::Failed("its repository is none of ours".to_owned());
        };
        let registry: &dyn Registry = self.ports.registry;
        let found = match asked {
            Asked::Tag => registry.head(repository, &seen.tag.clone().into()).await,
            // A tag that was removed alone, or that somebody gave to something else.
            Asked::Digest if *only_tag => registry
                .head(repository, &seen.tag.clone().into())
                .await
                .map(|found| found.filter(|found| *found == seen.digest)),
            Asked::Digest => registry.head(repository, &seen.digest.clone().into()).await,
            Asked::Deletion => {
                self.sent = Some(at);
                let answer = if *only_tag {
                    registry.untag(repository, &seen.tag).await
                } else {
                    registry.delete(repository, &seen.digest).await
                };
                return SweepSaw::Answered(match answer {
                    Ok(Deleted::Gone | Deleted::WasGone) => Answer::Taken,
                    Ok(Deleted::Unsupported) => Answer::Unsupported,
                    Err(error) => Answer::Failed(error.to_string()),
                });
            }
        };
        if self.sent == Some(at) && matches!((asked, &found), (Asked::Digest, Ok(None))) {
            (self.emit)(Event::Deleted { reference: format!("{repository}:{}", seen.tag) });
            self.parts(repository, parts).await;
        }
        found.map_or_else(|error| SweepSaw::Failed(error.to_string()), SweepSaw::Holds)
    }
}

impl Sweep<'_> {
    /// Deletes the children of an index that is gone. What stays is no more than untagged.
    async fn parts(&self, repository: &Repository, parts: &[Digest]) {
        for part in parts {
            if let Err(error) = self.ports.registry.delete(repository, part).await {
                let text = format!("{repository}@{part} has lost its index and its tag, and stays: {error}");
                (self.emit)(Event::Note { text });
            }
        }
    }
}

/// Tells what became of something that was planned.
fn moved(planned: &Action, clean: &Clean) -> String {
    let Action { repository, tag, .. } = planned;
    let kept = clean.kept.iter().find(|kept| kept.seen.repository == *repository && kept.seen.tag == *tag);
    match kept {
        Some(kept) => format!("{repository}:{tag} is kept, {}", kept.reason),
        None => format!("{repository}:{tag} is no longer what it was"),
    }
}

/// Refuses what a mistaken policy would let go.
fn within(clean: &Clean, observed: &Observed, options: &CleanOptions) -> Result<(), CleanError> {
    let (counts, going) = (observed.counts(), clean.going());
    let (all, sum) = (counts.values().sum(), going.values().sum());
    if let Some(share) = options.max_delete.filter(|share| share.is_exceeded(sum, all)) {
        return Err(CleanError::TooMany { going: sum, all, share });
    }
    for (repository, going) in going {
        let all = counts.get(repository).copied().unwrap_or_default();
        let left = all.saturating_sub(going);
        if usize::try_from(options.min).is_ok_and(|min| left < min) {
            return Err(CleanError::TooFew {
                repository: repository.to_owned(),
                left,
                all,
                min: options.min,
            });
        }
    }
    Ok(())
}

/// What is asked about an image.
#[derive(Clone, Copy)]
enum Asked {
    Tag,
    Digest,
    Deletion,
}
