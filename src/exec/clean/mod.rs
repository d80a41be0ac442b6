//! Sweeps: what decides, what came of it, and how one ends. [`Sweep`] carries out what
//! [`Sweeper`] asks for. Any read that fails ends one before its first delete.

pub(super) mod closure;
pub(super) mod limits;
pub(super) mod protect;
pub(super) mod recorded;
pub(super) mod sightings;
pub(super) mod survey;
pub(super) mod sweep;
pub(super) mod undo;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::exec::build::release;
use crate::exec::clean::sweep::Sweep;
use crate::exec::clean::undo::undo;
use crate::exec::event::Emit;
use crate::exec::ledger::{Ledger, LedgerError};
use crate::exec::{Ports, Setting};
use crate::model::{Digest, Repository, Share, Span, Tag, Timestamp};
use crate::port::RegistryError;
use crate::protocol::{Deletion, SweepAction, SweepEnd, SweepSaw, Sweeper};
use crate::retention::{Action, Clean, Policies, Refs};

/// How long the answer to a write is waited for once a sweep is to stop.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

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
    /// Where it is noted when records were first seen; nowhere, and their own dates count.
    pub sightings: Option<Repository>,
    /// How long records of runs, and of promotions that were begun, stay.
    pub records: Span,
    /// The share of all tags that may go in one call; without it, of a repository as much as is usual.
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
    /// Whether it was stopped before it was through.
    pub is_interrupted: bool,
}

impl CleanReport {
    /// Returns how much is gone: images, parts of images, and tags.
    pub fn done(&self) -> usize {
        self.deletions.iter().filter(|one| **one == Deletion::Done).count()
    }
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
    /// More would go of one repository than goes by itself.
    #[error("{going} of {all} tags of {repository} would be deleted: more than half, and more than is usual")]
    TooMuch {
        /// The repository's name.
        repository: String,
        /// How many would go.
        going: usize,
        /// How many there are.
        all: usize,
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
///
/// When `cancel` is cancelled what was sent is waited for, for a moment, and nothing new begins.
pub async fn clean(
    ports: Ports<'_>,
    setting: &Setting,
    options: &CleanOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<CleanReport, CleanError> {
    let mut sweep = Sweep::new(ports, setting, options, emit);
    let mut sweeper = Sweeper::new(options.apply);
    let end = loop {
        let action = sweeper.next();
        if let SweepAction::End(end) = action {
            break end;
        }
        let saw = tokio::select! {
            biased;
            () = stopped(cancel, &action) => SweepSaw::Interrupted,
            saw = sweep.act(&action, sweeper.clean()) => saw,
        };
        sweeper = sweeper.observe(saw);
    };
    let ledger = Ledger::new(ports.registry, &setting.ledger);
    tokio::select! {
        biased;
        () = release(ledger, &sweep.claims, emit) => {}
        // A claim that stays keeps promotions back, but only for as long as it lasts.
        () = async { cancel.cancelled().await; tokio::time::sleep(PATIENCE / 3).await } => {}
    }
    let mut deletions = sweeper.deletions().to_vec();
    for image in undo(ports.registry, &sweep.gone, &sweep.stays, emit).await {
        if let Some(deletion) = deletions.get_mut(image) {
            *deletion = Deletion::Changed;
        }
    }
    let is_interrupted = end == SweepEnd::Interrupted;
    match (end, sweep.error) {
        (SweepEnd::Done | SweepEnd::Interrupted, _) => Ok(CleanReport {
            clean: sweeper.clean().clone(),
            now: sweep.look.map(|look| look.now).unwrap_or_default(),
            deletions,
            expired: sweep.expired,
            records: sweep.records,
            is_applied: options.apply,
            is_interrupted,
        }),
        (SweepEnd::Failed, Some(error)) => Err(error),
        (SweepEnd::Failed | SweepEnd::Late, _) => Err(CleanError::Late),
    }
}

/// Ends when a sweep has to stop at this action. Of what changes something one wants to know what
/// came of it.
async fn stopped(cancel: &CancellationToken, action: &SweepAction) {
    let is_read = matches!(
        action,
        SweepAction::Clock
            | SweepAction::Leases
            | SweepAction::Wait
            | SweepAction::Rest
            | SweepAction::Head(_)
            | SweepAction::End(_)
    );
    if cancel.is_cancelled() && !matches!(action, SweepAction::Find(_)) {
        return;
    }
    cancel.cancelled().await;
    if !is_read {
        tokio::time::sleep(PATIENCE).await;
    }
}
