//! How a promotion goes about it, what it did, and why it was not done.

use std::collections::BTreeMap;

use crate::exec::image::copy::CopyError;
use crate::exec::image::probe::Unanswered;
use crate::exec::ledger::LedgerError;
use crate::model::{Digest, ErrorKind, Explained, Explanation, Keep, Repository, Tag};
use crate::plan::{Promotion, Refusal, StepState};
use crate::port::RegistryError;

/// How a promotion goes about it.
#[derive(Debug, Clone)]
pub struct PromoteOptions {
    /// The tag to promote to.
    pub tag: Tag,
    /// The channel it belongs to.
    pub channel: String,
    /// Whether the tag may never move once it is set.
    pub immutable: bool,
    /// Whether a set from an older revision may replace a newer one.
    pub allow_older: bool,
    /// What the channel keeps of its promotions; nothing where another configuration says that.
    pub keep: Option<Keep>,
    /// The plan that somebody agreed to: this one is carried out, or none.
    pub shown: Option<Promotion>,
    /// Whether to do it; else only the plan is returned.
    pub apply: bool,
}

/// What a promotion did, or would do.
#[derive(Debug, Clone)]
pub struct PromoteReport {
    /// The count of this promotion of the tag.
    pub seq: u32,
    /// The steps in their order, as planned.
    pub promotion: Promotion,
    /// The names of the boxes whose tags were moved now.
    pub moved: Vec<String>,
    /// Whether everything was done when it began.
    pub was_done: bool,
}

impl PromoteReport {
    /// Returns the boxes whose tags have still to move.
    pub fn to_move(&self) -> BTreeMap<&str, &Digest> {
        let left = self.promotion.steps.iter().filter(|step| step.state == StepState::Move);
        left.map(|step| (step.member.name.as_str(), &step.member.digest)).collect()
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn how_far(moved: &[String], left: &[String]) -> String {
    match (moved.is_empty(), left.is_empty()) {
        (true, _) => "no tag is known to have moved".to_owned(),
        (false, true) => format!("moved: {}; left: the set record", list(moved)),
        (false, false) => format!("moved: {}; left: {}", list(moved), list(left)),
    }
}

/// Why a promotion was not done.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// The registry did not say what stands; nothing was moved.
    #[error(transparent)]
    Unknown(#[from] Unanswered),
    /// The ledger did not answer as needed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry did not answer as needed; nothing was moved.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Boxes of the set are not there.
    #[error("{why}: {}", names.join(", "))]
    Missing {
        names: Vec<String>,
        /// Why the first of them is not there.
        why: String,
        /// The channel for which they have to be built, if they are reserved for it.
        channel: Option<String>,
    },
    /// An image of an earlier promotion is not there any more.
    #[error("{name} cannot be promoted: {digest} is gone from {repository}")]
    Gone { name: String, repository: Repository, digest: Digest },
    /// A promotion's record names what it cannot have promoted.
    #[error("{record} in the ledger is not believed: {name}: {why}")]
    Doubtful { record: String, name: String, why: String },
    /// A sweep is about to delete an image of the set.
    #[error("{name} cannot be promoted: clean is about to delete {digest}, and may be until {until}")]
    Going {
        name: String,
        digest: Digest,
        /// When it must have ended.
        until: String,
    },
    /// There is no promotion to take.
    #[error("{name}: {why}")]
    NoSet {
        /// The tag, or one of its promotions.
        name: String,
        why: &'static str,
    },
    /// An image could not be copied; no tag was moved.
    #[error("failed to copy {name}")]
    Copy { name: String, source: CopyError },
    /// The rules of the channel forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It is no longer what was agreed to; nothing was moved.
    #[error("what promotion to {tag} does has changed since its plan was shown")]
    Outdated { tag: Tag },
    /// The registry takes no writes from us.
    #[error("this registry takes no writes from here")]
    ReadOnly,
    /// It stopped after some tags had moved.
    #[error("promotion to {tag} stopped at {name}: {error}; moved: {}; left: {}", list(moved), list(left))]
    Partly {
        tag: Tag,
        /// The box at which it stopped.
        name: String,
        error: Box<PromoteError>,
        /// The boxes whose tags point to their wanted digest.
        moved: Vec<String>,
        /// The boxes whose tags do not.
        left: Vec<String>,
    },
    /// It was stopped; what had begun was waited for, for a moment.
    #[error("promotion to {tag} was interrupted; {}", how_far(moved, left))]
    Interrupted {
        tag: Tag,
        /// The boxes whose tags point to their wanted digest.
        moved: Vec<String>,
        /// The boxes whose tags do not, or are not known to.
        left: Vec<String>,
    },
    /// The lease ended again and again before the next write.
    #[error("the lease ended again and again before promotion to {tag} was done")]
    Lapsed { tag: Tag },
    /// A tag holds neither the wanted digest nor the one that was planned from.
    #[error("tag {tag} of {name} was moved by somebody else: it holds {found}, not {expected}")]
    Conflict {
        tag: Tag,
        name: String,
        found: String,
        /// What it held when the promotion was planned.
        expected: String,
    },
}

impl PromoteError {
    pub(crate) fn missing(names: Vec<String>, why: String) -> Self {
        Self::Missing { names, why, channel: None }
    }

    /// It was stopped before any tag moved.
    pub(crate) fn stopped(tag: &Tag) -> Self {
        Self::Interrupted { tag: tag.clone(), moved: Vec::new(), left: Vec::new() }
    }
}

impl Explained for PromoteError {
    fn explain(&self) -> Explanation<'_> {
        let again = "run the same command again: it goes on where it stopped";
        match self {
            Self::Ledger(LedgerError::Drowned { .. }) => ErrorKind::Unreachable.hint(
                "nothing was moved; `boxwright clean --forget TAG` takes away a record that no promotion wrote",
            ),
            Self::Ledger(error) => error.explain(),
            Self::Unknown(error) => error.explain(),
            Self::Registry(error) => error.explain(),
            Self::Refused(error) => error.explain(),
            Self::Copy { source, .. } => {
                let meaning = source.explain();
                let hint = meaning.hint.as_ref().map_or_else(|| again.to_owned(), |hint| format!("{hint}; {again}"));
                Explanation { hint: Some(hint), ..meaning }
            }
            Self::Missing { channel: Some(channel), .. } => ErrorKind::Missing
                .hint(format!("run `boxwright build --channel {channel}` on this revision first")),
            Self::Missing { .. } => ErrorKind::Missing.hint("run `boxwright build` on this revision first"),
            Self::Gone { .. } => ErrorKind::Missing.hint(
                "`boxwright log TAG` names the promotions before, and --from TAG@N promotes one of them",
            ),
            Self::NoSet { .. } => ErrorKind::Missing.into(),
            Self::Doubtful { .. } => ErrorKind::Refused.hint(
                "nothing was moved; whoever may push can write such a record. `boxwright log TAG` names the others; delete its tag from the ledger if it is not yours",
            ),
            Self::Going { .. } => ErrorKind::Refused
                .hint("run the command again when clean has ended: what it left can be promoted"),
            Self::ReadOnly => ErrorKind::Refused
                .hint("nothing was moved; the credentials need the right to push there"),
            Self::Conflict { .. } | Self::Outdated { .. } => {
                ErrorKind::Refused.hint("run the command again to plan from what stands now")
            }
            Self::Partly { error, .. } => {
                Explanation { kind: ErrorKind::Partly, hint: Some(again.to_owned()), ..error.explain() }
            }
            Self::Interrupted { .. } => ErrorKind::Interrupted.hint(again),
            Self::Lapsed { .. } => ErrorKind::Unreachable.into(),
        }
    }
}
