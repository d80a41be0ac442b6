//! How a sweep goes about it, what it found and did, and why it deleted nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::ledger::LedgerError;
use crate::model::{Digest, Repository, Share, Span, Tag, Timestamp};
use crate::port::RegistryError;
use crate::protocol::Deletion;
use crate::retention::{Action, Clean, Policies, Refs};

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
