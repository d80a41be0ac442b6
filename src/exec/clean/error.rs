//! How a sweep goes about it, what it found and did, and why it deleted nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::ledger::LedgerError;
use crate::model::{Digest, ErrorKind, Explained, Explanation, Repository, Share, Span, Tag, Timestamp};
use crate::port::RegistryError;
use crate::protocol::Deletion;
use crate::retention::{Action, Clean, Goes, Policies, Refs};

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
    /// How long what is deleted is kept so that it can be put back; not at all if this is nothing.
    pub undo: Span,
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

    /// Tells whether more than tags is gone.
    pub fn has_deleted(&self) -> bool {
        let mut all = self.clean.delete.iter().zip(&self.deletions);
        all.any(|(one, deletion)| *deletion == Deletion::Done && one.goes != Goes::Tag)
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
    Unreadable { repository: Repository, digest: Digest, why: String },
    /// A repository lists a name that cannot be asked for.
    #[error("{repository} lists `{name}`, which is no valid tag; what it keeps is unknown")]
    InvalidTag { repository: Repository, name: String },
    /// A tag was listed but does not resolve.
    #[error("{repository}:{tag} is listed but does not resolve; what it keeps is unknown")]
    Dangling { repository: Repository, tag: Tag },
    /// A repository that is to protect digests holds none, so it is probably not the one meant.
    #[error("{repository} holds no tags; what it was to protect is unknown")]
    NoProtector { repository: Repository },
    /// More would go than is allowed.
    #[error("{going} of {all} tags would go, which is more than {share}")]
    TooMany {
        going: usize,
        all: usize,
        /// The share that may go.
        share: Share,
    },
    /// More would go of one repository than goes by itself.
    #[error("{going} of {all} tags of {repository} would be deleted: more than half, and more than is usual")]
    TooMuch { repository: String, going: usize, all: usize },
    /// Less would be left than is allowed.
    #[error("{left} of {all} tags of {repository} would be left, which is less than {min}")]
    TooFew { repository: String, left: usize, all: usize, min: u32 },
    /// What was planned is no longer what would be done.
    #[error("the registry has moved since the plan was made: {what}")]
    Moved {
        /// The first difference.
        what: String,
    },
    /// It was suspended, so that what it had read is no longer true.
    #[error("the machine was suspended or too slow: what was read of the registry is out of date")]
    Late,
}

impl Explained for CleanError {
    fn explain(&self) -> Explanation<'_> {
        let meaning = match self {
            Self::Ledger(error) => error.explain(),
            Self::Registry(error) => error.explain(),
            Self::TooMuch { .. } => ErrorKind::Refused.hint(
                "look at what `boxwright clean --max-delete 100%` would do, and add --yes if it is meant",
            ),
            Self::TooMany { .. } => ErrorKind::Refused.hint("if this is meant, --max-delete allows more"),
            Self::TooFew { .. } => {
                ErrorKind::Refused.hint("`min` of [clean] in boxwright.toml says how many must be left")
            }
            Self::Moved { .. } => ErrorKind::Refused.hint("make a new plan"),
            Self::NoProtector { .. } => ErrorKind::Refused.into(),
            Self::Unreadable { .. } | Self::InvalidTag { .. } | Self::Dangling { .. } => {
                return ErrorKind::Unreachable.hint(
                    "nothing was deleted, for what it keeps is not known; push something readable over its tag, or remove that with your registry's own tools",
                );
            }
            Self::Late => ErrorKind::Unreachable.into(),
        };
        meaning.undone("nothing was deleted")
    }
}
