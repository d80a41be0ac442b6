//! The build protocol: lease all keys, probe, build what is missing parents first, push,
//! read back, adopt what stands.
//!
//! A box that is there has every side effect of one that is built: its key is leased and it
//! enters the run's record. Nothing is reported as standing before it was read back.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use super::event::{Emit, Event};
use super::finish::finish;
use super::keys::Keyed;
use super::ledger::{Held, Leased, Ledger, LedgerError};
use super::make::{Made, Maker, Origin};
use super::probe::observe_all;
use super::schedule::{Finished, in_order};
use super::secrets::{self, NoSecret};
use super::stored;
use super::{Ports, Setting};
use crate::model::{Digest, Generation, Key, Span, Timestamp};
use crate::plan::{Seen, State};

/// How a build goes about it.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// How many boxes are built at once.
    pub jobs: usize,
    /// How long to wait for another run that builds the same box.
    pub wait: Span,
    /// Whether to ignore the engine's build cache.
    pub no_cache: bool,
}

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
    Failed(String),
    /// A box it stands on is not there.
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
    /// Whether it was stopped before its end.
    pub is_interrupted: bool,
}

/// Why a build did not begin, or could not be reported.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The ledger did not answer as needed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry did not say what stands; nothing was built.
    #[error("the registry did not say whether {name} is there: {why}")]
    Unknown {
        /// The box.
        name: String,
        /// The request that failed and how.
        why: String,
    },
    /// A box that is to be built cannot have a secret; nothing was built.
    #[error(transparent)]
    Secret(#[from] NoSecret),
}

/// How often a run starts over because what it had read was moved under it.
const ROUNDS: usize = 3;

/// Builds what is missing of `boxes`, which are parents first and complete.
pub async fn build(
    ports: Ports<'_>,
    setting: &Setting,
    boxes: &[Keyed],
    options: &BuildOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<BuildReport, BuildError> {
    build_from(ports, setting, boxes, options, Origin::Engine, emit, cancel).await
}

/// Has what is missing of `boxes` made by the engine, or takes it from an archive.
pub(super) async fn build_from(
    ports: Ports<'_>,
    setting: &Setting,
    boxes: &[Keyed],
    options: &BuildOptions,
    origin: Origin<'_>,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<BuildReport, BuildError> {
    let ledger = Ledger::new(ports.registry, &setting.ledger);
    let keys: Vec<Key> = boxes.iter().map(|keyed| keyed.wanted.key().clone()).collect();
    let held = take_lease(ports, setting, ledger, keys, emit).await?;
    let seen = tokio::select! {
        biased;
        () = cancel.cancelled() => interrupted(boxes),
        seen = probe(ports, setting, boxes) => match seen {
            Ok(seen) => seen,
            Err(error) => {
                release(ledger, held.as_slice(), emit).await;
                return Err(error);
            }
        },
    };
    if held.is_some()
        && matches!(origin, Origin::Engine)
        && let Err(error) = secrets::check(ports, boxes, &seen).await
    {
        release(ledger, held.as_slice(), emit).await;
        return Err(error.into());
    }
    let maker = Maker::new(ports, setting, ledger, options, origin, held, emit);
    let mut reports: BTreeMap<String, BoxReport> = BTreeMap::new();
    let mut current = seen.clone();
    for round in 1..=ROUNDS {
        let leases = maker.leases().len();
        let finished = run_all(&maker, boxes, &current, &reports, options, emit, cancel).await;
        merge(&mut reports, boxes, &seen, finished, cancel.is_cancelled());
        if cancel.is_cancelled() {
            break;
        }
        // Success is reported under a live lease; where it had lapsed all is looked at anew.
        maker.renew().await?;
        let was_renewed = maker.leases().len() > leases;
        let has_built = reports.values().any(|report| report.outcome == Outcome::Built);
        if !(has_built || was_renewed) || round == ROUNDS {
            break;
        }
        // Another run may have moved a tag after we read it back: adopt what stands now.
        let again = look(ports, setting, boxes).await;
        let stands = |(name, report): (&String, &BoxReport)| {
            let now = again.get(name).and_then(|seen| seen.state.digest());
            report.digest.is_none() || report.digest.as_ref() == now
        };
        if reports.iter().all(stands) {
            break;
        }
        current = again;
    }
    if !cancel.is_cancelled() {
        let is_built = |keyed: &&Keyed| {
            reports.get(&keyed.wanted.name).is_some_and(|report| report.outcome == Outcome::Built)
        };
        stored::remember(ledger, boxes.iter().filter(is_built).collect(), emit).await;
    }
    let mut report = BuildReport { boxes: reports, lease_until: None, is_interrupted: cancel.is_cancelled() };
    report.lease_until = finish(ports, setting, ledger, boxes, &report, &maker.leases(), emit).await?;
    Ok(report)
}

/// Takes a lease, or finds out that this registry takes no writes from us.
pub(super) async fn take_lease(
    ports: Ports<'_>,
    setting: &Setting,
    ledger: Ledger<'_>,
    keys: Vec<Key>,
    emit: Emit<'_>,
) -> Result<Option<Held>, LedgerError> {
    let count = keys.len();
    match ledger.lease(&setting.run, setting.attempt, keys, setting.lease, ports.clock).await? {
        Leased::Held(held) => {
            emit(Event::Leased { keys: count, until: held.lease.expiry });
            Ok(Some(held))
        }
        Leased::Refused(error) => {
            emit(Event::ReadOnly { why: error.to_string() });
            Ok(None)
        }
    }
}

/// Gives leases up, so that nobody waits for them. One that stays only costs others time.
pub(super) async fn release(ledger: Ledger<'_>, leases: &[Held], emit: Emit<'_>) {
    for held in leases {
        if let Err(error) = ledger.delete(&held.digest).await {
            emit(Event::Note { text: format!("the lease could not be given up: {error}") });
        }
    }
}

async fn look(ports: Ports<'_>, setting: &Setting, boxes: &[Keyed]) -> BTreeMap<String, Seen> {
    let wanted: Vec<_> =
        boxes.iter().map(|keyed| (keyed.wanted.clone(), keyed.spec.platform.clone())).collect();
    observe_all(ports.registry, &setting.ledger, &wanted).await
}

/// Probes all boxes; one that is unknown stops the run.
pub(super) async fn probe(
    ports: Ports<'_>,
    setting: &Setting,
    boxes: &[Keyed],
) -> Result<BTreeMap<String, Seen>, BuildError> {
    let seen = look(ports, setting, boxes).await;
    for (name, seen) in &seen {
        if let State::Unknown { why } = &seen.state {
            return Err(BuildError::Unknown { name: name.clone(), why: why.clone() });
        }
    }
    Ok(seen)
}

/// What is known of the boxes when the run is stopped before they were probed.
fn interrupted(boxes: &[Keyed]) -> BTreeMap<String, Seen> {
    let state = State::Unknown { why: "interrupted".to_owned() };
    let seen = Seen { generation: Generation(0), state };
    boxes.iter().map(|keyed| (keyed.wanted.name.clone(), seen.clone())).collect()
}

async fn run_all(
    maker: &Maker<'_>,
    boxes: &[Keyed],
    seen: &BTreeMap<String, Seen>,
    reports: &BTreeMap<String, BoxReport>,
    options: &BuildOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> BTreeMap<String, Finished<Made>> {
    let nodes: Vec<(&str, Vec<&str>)> = boxes
        .iter()
        .map(|keyed| (keyed.wanted.name.as_str(), keyed.wanted.parents.iter().map(String::as_str).collect()))
        .collect();
    let work = |name: String, parents: BTreeMap<String, Made>| async move {
        let keyed = boxes.iter().find(|keyed| keyed.wanted.name == name)?;
        let before = reports.get(&name);
        if let Some(BoxReport { outcome, seconds, .. }) = before
            && matches!(outcome, Outcome::Failed(_) | Outcome::Forbidden(_))
        {
            // What failed in an earlier round is not tried again, nor told again.
            return Some(Err((outcome.clone(), *seconds)));
        }
        let began = Instant::now();
        let made = maker.make(keyed, seen.get(&name)?, &parents).await;
        let seconds = began.elapsed().as_secs_f64();
        let digest = made.as_ref().ok().map(|made| made.digest.clone());
        if digest.is_none() || before.is_none_or(|before| before.digest != digest) {
            tell(emit, name, made.as_ref(), seconds);
        }
        Some(made.map(|made| Made { seconds, ..made }).map_err(|outcome| (outcome, seconds)))
    };
    let finished = in_order(&nodes, options.jobs, work, cancel).await;
    for (name, end) in &finished {
        if let Finished::Blocked(parent) = end
            && !reports.contains_key(name)
        {
            emit(Event::Skipped { name: name.clone(), because: parent.clone() });
        }
    }
    finished
}

fn tell(emit: Emit<'_>, name: String, made: Result<&Made, &Outcome>, seconds: f64) {
    match made {
        Ok(Made { outcome: Outcome::Used, digest, .. }) => emit(Event::Used { name, digest: digest.clone() }),
        Ok(Made { digest, adopted, .. }) => {
            emit(Event::Built { name, digest: digest.clone(), adopted: *adopted, seconds });
        }
        Err(Outcome::Failed(error) | Outcome::Forbidden(error)) => {
            emit(Event::Failed { name, error: error.clone() });
        }
        Err(Outcome::Used | Outcome::Built | Outcome::Skipped(_)) => {}
    }
}

fn merge(
    reports: &mut BTreeMap<String, BoxReport>,
    boxes: &[Keyed],
    seen: &BTreeMap<String, Seen>,
    mut finished: BTreeMap<String, Finished<Made>>,
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
        match finished.remove(name) {
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
                    Outcome::Failed(why) | Outcome::Forbidden(why) | Outcome::Skipped(why) => why.clone(),
                    Outcome::Used | Outcome::Built => String::new(),
                };
                report.outcome = outcome;
                report.seconds = seconds;
            }
            Some(Finished::Blocked(parent)) => {
                report.reason = format!("{parent} is not there");
                report.outcome = Outcome::Skipped(parent);
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
    /// Returns the boxes that could not be built and are not there.
    pub fn missing(&self) -> impl Iterator<Item = (&String, &BoxReport)> {
        self.boxes.iter().filter(|(_, report)| report.digest.is_none())
    }
}
