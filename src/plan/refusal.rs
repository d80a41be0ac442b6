//! Why a promotion is refused.

use crate::model::{Digest, Repository, SetName, Tag};

/// Why a promotion is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A tag that may not move holds something else.
    #[error("tag {tag} of {repository} is immutable and holds {now}, not {wanted}")]
    Immutable {
        /// The tag.
        tag: Tag,
        /// Its repository.
        repository: Repository,
        /// What it holds.
        now: Digest,
        /// What it was to hold.
        wanted: Digest,
    },
    /// The tag's last set was built from a newer revision.
    #[error("{tag} was promoted from {theirs}, which is newer than {ours}")]
    Older {
        /// The tag.
        tag: Tag,
        /// The revision and time that stand.
        theirs: String,
        /// The revision and time that were to be promoted.
        ours: String,
    },
    /// It was taken back by a rollback, and nothing newer has been promoted since.
    #[error("{tag} was rolled back from {theirs}, which {ours} does not go beyond")]
    Withdrawn {
        /// The tag.
        tag: Tag,
        /// The revision and time that were taken back.
        theirs: String,
        /// The revision and time that were to be promoted.
        ours: String,
    },
    /// The tag's last set was taken from a later promotion of the same tag.
    #[error("{tag} holds what was taken from {theirs}, which is later than {ours}")]
    Behind {
        /// The tag.
        tag: Tag,
        /// The promotion that it was taken from.
        theirs: SetName,
        /// The promotion that was to replace it.
        ours: SetName,
    },
    /// The tag's promotions in this ledger are of other boxes altogether.
    #[error("{theirs} is of other boxes than these: {}; is this ledger another project's as well?", names.join(", "))]
    Stranger {
        /// The promotion that stands in the ledger.
        theirs: SetName,
        /// Its boxes.
        names: Vec<String>,
    },
    /// Clean is about to remove the tag; promoted to now, it might be lost afterwards.
    #[error("{tag} is being removed by clean, since {since}: {why}")]
    Ending {
        /// The tag.
        tag: Tag,
        /// Since when.
        since: String,
        /// Why it is removed.
        why: String,
    },
    /// The inputs differed from the commit they are said to come from.
    #[error(
        "{tag} is immutable, and the boxes' inputs differ from their commit: modified or untracked files"
    )]
    Dirty {
        /// The tag.
        tag: Tag,
    },
    /// Boxes were built from working copies.
    #[error("{tag} is immutable, and boxes of the set are built from working copies: {}", names.join(", "))]
    Local {
        /// The tag.
        tag: Tag,
        /// What the copies stand in for.
        names: Vec<String>,
    },
    /// The inputs may differ from the commit that they are said to come from, or from any.
    #[error("{tag} is immutable, and whether the boxes' inputs are as committed is unknown: {why}")]
    UnknownState {
        /// The tag.
        tag: Tag,
        /// Why it is unknown.
        why: String,
    },
    /// There is nothing to tell whether it is older than what the tag holds.
    #[error("{tag} follows revisions, and which one this is, is unknown: {why}")]
    UnknownRevision {
        /// The tag.
        tag: Tag,
        /// Why it is unknown.
        why: String,
    },
}
