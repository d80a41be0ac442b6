//! The sweep protocol: read leases, wait, read everything else; condemn in one run, delete
//! in a later one. Any read that fails ends it before the first delete.

use std::collections::BTreeSet;
use std::time::Duration;

use super::event::{Emit, Event};
use super::ledger::{Ledger, LedgerError};
use super::survey::Survey;
use super::{Ports, Setting};
use crate::model::{Digest, Marker, RecordTag, Repository, Span, Tag, Timestamp};
use crate::port::{Deleted, Reference, RegistryError};
use crate::retention::{Clean, Doomed, Keep, Policy, Seen, decide};

/// How a sweep goes about it.
#[derive(Debug, Clone)]
pub struct CleanOptions {
    /// The repositories to clean.
    pub repositories: Vec<Repository>,
    /// What the past of each channel keeps.
    pub keep: Keep,
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

/// How often everything is read anew because something was deleted while it was read.
const TRIES: usize = 3;
/// How long after its last look a sweep may delete. Markers are forgotten much later, so no
/// sweep that was suspended meets an image that was built after its marker was forgotten.
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// Finds out what nothing keeps; condemns it, and deletes what was condemned long enough ago.
pub async fn clean(
    ports: Ports<'_>,
    setting: &Setting,
    options: &CleanOptions,
    emit: Emit<'_>,
) -> Result<CleanReport, CleanError> {
    let sweep = Sweep { ports, ledger: Ledger::new(ports.registry, &setting.ledger), options };
    let (mut clean, mut now) = sweep.decide(Duration::ZERO).await?;
    let mut looked = ports.clock.elapsed();
    if options.apply && !clean.delete.is_empty() {
        // Before anything is deleted everything is read again, leases first.
        looked = ports.clock.elapsed();
        (clean, now) = sweep.decide(options.settle.duration()).await?;
    }
    let mut report = CleanReport { clean, now, deletions: Vec::new(), expired: 0, is_applied: options.apply };
    if !options.apply {
        return Ok(report);
    }
    sweep.condemn(&report.clean, emit).await?;
    // What may still fail as a whole goes before the first image.
    report.expired = sweep.forget(&report.clean).await?;
    let mut needed: BTreeSet<&Digest> = BTreeSet::new();
    for doomed in &report.clean.delete {
        let outcome = sweep.delete(doomed, &needed, looked, emit).await;
        if outcome != Deletion::Done {
            needed.extend(&doomed.needs);
        }
        report.deletions.push(outcome);
    }
    Ok(report)
}

struct Sweep<'a> {
    ports: Ports<'a>,
    ledger: Ledger<'a>,
    options: &'a CleanOptions,
}

impl Sweep<'_> {
    async fn decide(&self, settle: Duration) -> Result<(Clean, Timestamp), CleanError> {
        let mut tries = 1;
        loop {
            let today = self.ledger.now().await?;
            let now = today.after(self.options.ahead);
            let CleanOptions { repositories, keep, grace, .. } = self.options;
            let survey = Survey {
                registry: self.ports.registry,
                ledger: self.ledger,
                repositories,
                keep,
                now,
                settle,
            };
            match survey.read().await {
                Ok(observed) => return Ok((decide(&observed, Policy { grace: *grace, now, today }), now)),
                // Another sweep may have deleted it, or a run given up its lease.
                Err(CleanError::Dangling { .. } | CleanError::Unreadable { .. }) if tries < TRIES => {
                    tries += 1
                }
                Err(error) => return Err(error),
            }
        }
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
            match self.ledger.write(&tag, &marker).await {
                // Another sweep's marker ends the generation as well as ours.
                Err(LedgerError::NotOurs { .. }) if self.ledger.read::<Marker>(&tag).await?.is_some() => {}
                written => drop(written?),
            }
            for image in &condemned.images {
                emit(Event::Condemned { reference: format!("{}:{}", image.repository, image.tag) });
            }
        }
        Ok(())
    }

    async fn delete(
        &self,
        doomed: &Doomed,
        needed: &BTreeSet<&Digest>,
        looked: Duration,
        emit: Emit<'_>,
    ) -> Deletion {
        let Seen { repository: name, tag, digest } = &doomed.seen;
        let Some(repository) = self.options.repositories.iter().find(|repository| repository.name() == name)
        else {
            return Deletion::Changed;
        };
        if needed.contains(digest) {
            return Deletion::Failed("an image that needs it could not be deleted".to_owned());
        }
        if self.ports.clock.elapsed().saturating_sub(looked) >= DEADLINE {
            return Deletion::Failed("it is too long since everything was read".to_owned());
        }
        let (at_tag, at_digest) = (Reference::Tag(tag.clone()), Reference::Digest(digest.clone()));
        let registry = self.ports.registry;
        match registry.head(repository, &at_tag).await {
            Ok(Some(now)) if now == *digest => {}
            Ok(Some(_)) => return Deletion::Changed,
            Ok(None) => {
                return match registry.head(repository, &at_digest).await {
                    Ok(None) => Deletion::Done,
                    Ok(Some(_)) => Deletion::Changed,
                    Err(error) => Deletion::Failed(error.to_string()),
                };
            }
            Err(error) => return Deletion::Failed(error.to_string()),
        }
        let answer = registry.delete(repository, digest).await;
        if matches!(answer, Ok(Deleted::Unsupported)) {
            return Deletion::Unsupported;
        }
        // Whatever it answered: gone is what can no longer be found.
        match (registry.head(repository, &at_digest).await, answer) {
            (Ok(None), _) => {
                emit(Event::Deleted { reference: format!("{repository}:{tag}") });
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
