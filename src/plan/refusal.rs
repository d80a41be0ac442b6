//! Why a promotion is refused.

use crate::model::{Digest, ErrorKind, Explained, Explanation, PromotionId, Repository, Tag};

/// Why a promotion is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A tag that may not move holds something else.
    #[error("tag {tag} of {repository} is immutable and holds {now}, not {wanted}")]
    Immutable {
        tag: Tag,
        repository: Repository,
        now: Digest,
        /// What it was to hold.
        wanted: Digest,
    },
    /// The tag's last set was built from a newer revision.
    #[error("{tag} was promoted from {theirs}, which is newer than {ours}")]
    Older {
        tag: Tag,
        /// The revision and time that stand.
        theirs: String,
        /// The revision and time that were to be promoted.
        ours: String,
    },
    /// It was taken back by a rollback, and nothing newer has been promoted since.
    #[error("{tag} was rolled back from {theirs}, which {ours} does not go beyond")]
    Withdrawn {
        tag: Tag,
        /// The revision and time that were taken back.
        theirs: String,
        /// The revision and time that were to be promoted.
        ours: String,
    },
    /// The tag's last set was taken from a later promotion of the same tag.
    #[error("{tag} holds what was taken from {theirs}, which is later than {ours}")]
    Behind {
        tag: Tag,
        /// The promotion that it was taken from.
        theirs: PromotionId,
        /// The promotion that was to replace it.
        ours: PromotionId,
    },
    /// The tag's promotions in this ledger are of other boxes altogether.
    #[error("{theirs} is of other boxes than these: {}; is this ledger another project's as well?", names.join(", "))]
    Stranger {
        /// The promotion that stands in the ledger.
        theirs: PromotionId,
        names: Vec<String>,
    },
    /// Clean is about to remove the tag; promoted to now, it might be lost afterwards.
    #[error("{tag} is being removed by clean, since {since}: {why}")]
    UntagNotice { tag: Tag, since: String, why: String },
    /// The inputs differed from the commit they are said to come from.
    #[error(
        "{tag} is immutable, and the boxes' inputs differ from their commit: modified or untracked files"
    )]
    Dirty { tag: Tag },
    /// Boxes were built from working copies.
    #[error("{tag} is immutable, and boxes of the set are built from working copies: {}", names.join(", "))]
    Local {
        tag: Tag,
        /// What the copies stand in for.
        names: Vec<String>,
    },
    /// The inputs may differ from the commit that they are said to come from, or from any.
    #[error("{tag} is immutable, and whether the boxes' inputs are as committed is unknown: {why}")]
    UnknownState { tag: Tag, why: String },
    /// There is nothing to tell whether it is older than what the tag holds.
    #[error("{tag} follows revisions, and which one this is, is unknown: {why}")]
    UnknownRevision { tag: Tag, why: String },
}

impl Explained for Refusal {
    fn explain(&self) -> Explanation<'_> {
        let hint = match self {
            Self::Older { .. } | Self::Withdrawn { .. } | Self::Behind { .. } => {
                "--allow-older promotes it nevertheless"
            }
            Self::UnknownState { .. } => {
                "where git can read the repository, it says what differs; `--from` promotes what stands, and needs no checkout"
            }
            Self::UnknownRevision { .. } => {
                "mend that; or --allow-older promotes it nevertheless, in whatever order"
            }
            Self::Stranger { .. } => {
                "`ledger` in boxwright.toml names another one: each project needs its own. If nobody promoted that, delete its tag from the ledger"
            }
            Self::Immutable { .. } => {
                "such a tag takes one set for ever, by the first record of it; if that is not yours, as `boxwright log TAG` tells, delete its tag from the ledger"
            }
            Self::Local { .. } => "run it without --source, on boxes that were built without",
            Self::UntagNotice { .. } => {
                "if it is to stay, change the channel's `keep`; the sweeps after that let it be promoted again. If no clean announced that, delete the tag's `ends.` record from the ledger"
            }
            Self::Dirty { .. } => return ErrorKind::Refused.into(),
        };
        ErrorKind::Refused.hint(hint)
    }
}
