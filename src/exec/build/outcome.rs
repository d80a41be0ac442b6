//! What became of the boxes of a run: of each what was seen, how it ended, and why.

use std::collections::BTreeMap;

use crate::exec::build::error::BoxError;
use crate::exec::build::schedule::Finished;
use crate::exec::failure::Failure;
use crate::exec::keys::ResolvedBox;
use crate::model::{AnyError, Digest, ErrorKind, Generation, Repository, Timestamp};
use crate::plan::{Seen, State};

/// What became of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was there.
    Used,
    /// It was built and pushed, or another run's image got there first.
    Built,
    /// It is missing, and may not be pushed from here.
    Forbidden(String),
    /// It could not be built.
    Failed(Failure),
    /// A box it stands on is not there, or another one's failure ended all.
    Skipped(String),
}

/// One box of a report.
#[derive(Debug, Clone)]
pub struct BoxReport {
    /// What the first probe saw.
    pub seen: Seen,
    /// What became of it.
    pub outcome: Outcome,
    /// The digest that stands now.
    pub digest: Option<Digest>,
    /// The generation it stands under.
    pub generation: Generation,
    /// Why it was built, or why not.
    pub reason: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What a build did.
#[derive(Debug, Clone)]
pub struct BuildReport {
    /// The boxes by name.
    pub boxes: BTreeMap<String, BoxReport>,
    /// Until when the keys are leased; nothing where no lease could be taken.
    pub lease_until: Option<Timestamp>,
    /// Whether the registry took a lease from this run, and so takes its pushes.
    pub can_push: bool,
    /// The sizes of the boxes' layers as they are stored, in bytes, as far as they were seen.
    pub sizes: BTreeMap<String, u64>,
    /// The images that were built for this machine alone, as its engine names them.
    pub local: BTreeMap<String, String>,
    /// Whether it was stopped before its end.
    pub is_interrupted: bool,
}

/// A box that stands.
#[derive(Debug, Clone)]
pub(crate) struct BuiltBox {
    pub repository: Repository,
    pub digest: Digest,
    pub generation: Generation,
    /// Its name in this machine's engine, if it is in no registry.
    pub local: Option<String>,
    pub outcome: Outcome,
    /// Whether the image is another run's.
    pub adopted: bool,
    pub reason: String,
    pub seconds: f64,
}

impl BuiltBox {
    /// What a `FROM` line calls it.
    pub fn reference(&self) -> String {
        let pushed = || format!("{}@{}", self.repository, self.digest);
        self.local.clone().unwrap_or_else(pushed)
    }
}

/// The boxes that one stands on, by name.
pub(crate) type Parents = BTreeMap<String, BuiltBox>;

/// How one box of a round ended; what failed did so after so many seconds.
pub(crate) type Ended = Finished<BuiltBox, (Outcome, f64)>;

/// What is known of the boxes when the run is stopped before they were probed.
pub(crate) fn interrupted(boxes: &[ResolvedBox]) -> BTreeMap<String, Seen> {
    let state = State::Unknown(BoxError::Interrupted.into());
    let seen = Seen { generation: Generation(0), state };
    boxes.iter().map(|keyed| (keyed.wanted.name.clone(), seen.clone())).collect()
}

/// Takes what a round of a run came to into the report of the rounds before.
pub(crate) fn merge(
    reports: &mut BTreeMap<String, BoxReport>,
    boxes: &[ResolvedBox],
    seen: &BTreeMap<String, Seen>,
    finished: BTreeMap<String, Ended>,
    is_cancelled: bool,
) {
    for keyed in boxes {
        let name = &keyed.wanted.name;
        let Some(first) = seen.get(name) else { continue };
        let mut report = BoxReport {
            seen: first.clone(),
            outcome: Outcome::Skipped("interrupted".to_owned()),
            digest: None,
            generation: first.generation,
            reason: String::new(),
            seconds: 0.0,
        };
        match finished.get(name).cloned() {
            Some(Finished::Done(made)) => {
                // A box that an earlier round built stays built, though this round only saw it.
                let was_built = reports.get(name).is_some_and(|before| before.outcome == Outcome::Built);
                let earlier = reports.get(name).map_or(0.0, |before| before.seconds);
                report.outcome = if was_built { Outcome::Built } else { made.outcome };
                report.reason = match reports.get(name) {
                    Some(before) if was_built => before.reason.clone(),
                    _ => made.reason,
                };
                report.digest = Some(made.digest);
                report.generation = made.generation;
                report.seconds = earlier + made.seconds;
            }
            Some(Finished::Failed((outcome, seconds))) => {
                report.reason = match &outcome {
                    Outcome::Failed(failure) => failure.why(),
                    Outcome::Forbidden(why) | Outcome::Skipped(why) => why.clone(),
                    Outcome::Used | Outcome::Built => String::new(),
                };
                report.outcome = outcome;
                report.seconds = seconds;
            }
            Some(ref end @ (Finished::Blocked(ref other) | Finished::Stopped(ref other))) => {
                report.reason = format!("not built: {}", end.skipped(&finished).unwrap_or_default());
                report.outcome = Outcome::Skipped(other.clone());
            }
            None => {
                debug_assert!(is_cancelled, "every box ends, unless the run is stopped");
                if reports.contains_key(name) {
                    // It stood when an earlier round ended.
                    continue;
                }
            }
        }
        reports.insert(name.clone(), report);
    }
}

impl Ended {
    /// Says because of what a box was not built, if another one is to blame.
    pub(crate) fn skipped(&self, all: &BTreeMap<String, Self>) -> Option<String> {
        let is_missing = |name| matches!(all.get(name), Some(Self::Failed((Outcome::Forbidden(_), _))));
        match self {
            Self::Blocked(first) if is_missing(first) => Some(format!("{first} is missing")),
            Self::Blocked(first) => Some(format!("{first} failed")),
            Self::Stopped(failed) => Some(format!("stopped, for {failed} failed")),
            Self::Done(_) | Self::Failed(_) => None,
        }
    }
}

impl Outcome {
    /// Returns the word for it in reports.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Used => "use",
            Self::Built => "built",
            Self::Failed(_) | Self::Forbidden(_) => "failed",
            Self::Skipped(_) => "skipped",
        }
    }
}

impl BuildReport {
    /// Returns what did not answer, if no box failed for another reason.
    pub fn unreachable(&self) -> Option<&AnyError> {
        let mut failed = self.boxes.values().filter_map(|one| match &one.outcome {
            Outcome::Failed(failure) => Some(&failure.error),
            _ => None,
        });
        let first = failed.next()?;
        let is_silent = |error: &AnyError| error.explain().kind == ErrorKind::Unreachable;
        (is_silent(first) && failed.all(is_silent)).then_some(first)
    }

    /// Returns the boxes that could not be built and are not there.
    pub fn missing(&self) -> impl Iterator<Item = (&String, &BoxReport)> {
        self.boxes.iter().filter(|(name, one)| one.digest.is_none() && !self.local.contains_key(*name))
    }
}
