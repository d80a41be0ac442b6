//! A build: carries out what [`Run`] asks for, box by box what [`crate::exec::build::job`] does.
//!
//! A box that is there has every side effect of one that is built: its key is leased and it
//! enters the run's record. Nothing is reported as standing before it was read back.

pub(super) mod engine_needs;
pub(super) mod job;
pub(super) mod local;
pub(super) mod outcome;
pub(super) mod preflight;
pub(super) mod queue;
pub(super) mod rebuild;
pub(super) mod record;
pub(super) mod redact;
pub(super) mod schedule;
pub(super) mod secrets;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::exec::build::engine_needs::Beyond;
use crate::exec::build::job::{Made, Maker, Origin, decided};
use crate::exec::build::outcome::{BoxReport, BuildReport, Outcome, interrupted, merge};
use crate::exec::build::preflight::NoRoom;
use crate::exec::build::record::finish;
use crate::exec::build::schedule::{Finished, in_order};
use crate::exec::build::secrets::NoSecret;
use crate::exec::event::{Emit, Event};
use crate::exec::image::probe::{observe_all, sizes};
use crate::exec::keys::Keyed;
use crate::exec::ledger::{Held, Leased, Ledger, LedgerError, inputs};
use crate::exec::{Ports, Setting};
use crate::model::{Key, Purpose, Span};
use crate::plan::{Decision, Seen, State, plan};
use crate::protocol::{Run, RunAction, RunSaw};

/// How a build goes about it.
#[derive(Debug, Clone)]
pub struct BuildOptions {
    /// How many boxes are built at once.
    pub jobs: usize,
    /// How long to wait for another run that builds the same box.
    pub wait: Span,
    /// Whether to ignore the engine's build cache.
    pub no_cache: bool,
    /// Whether the first failure ends the run, and not only what stands on the box.
    pub fail_fast: bool,
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
        /// Whether other credentials would help.
        wants_login: bool,
    },
    /// A box that is to be built cannot have a secret; nothing was built.
    #[error(transparent)]
    Secret(#[from] NoSecret),
    /// A box that is to be built needs a later engine; nothing was built.
    #[error(transparent)]
    Beyond(#[from] Beyond),
    /// The engine has no room; nothing was built.
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
}

/// How long a run that is stopped still waits for an answer.
const LAST: Duration = Duration::from_secs(2);

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
pub(crate) async fn build_from(
    ports: Ports<'_>,
    setting: &Setting,
    boxes: &[Keyed],
    options: &BuildOptions,
    origin: Origin<'_>,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<BuildReport, BuildError> {
    let maker = Maker::new(ports, setting, options, origin, emit);
    let (reports, seen, current) = (BTreeMap::new(), interrupted(boxes), interrupted(boxes));
    let mut work = Work { maker, boxes, reports, seen, current, can_push: false, cancel };
    let mut run = Run::default();
    let mut error = None;
    loop {
        let action = run.next();
        if matches!(action, RunAction::Report | RunAction::Stop) {
            break;
        }
        // A registry that takes its time does not hold up a run that is stopped.
        let late = async {
            cancel.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        let saw = tokio::select! {
            biased;
            saw = work.act(action) => saw.unwrap_or_else(|why| {
                error = Some(why);
                RunSaw::Failed
            }),
            () = late => RunSaw::Interrupted,
        };
        run = run.observe(saw);
    }
    if let (RunAction::Stop, Some(error)) = (run.next(), error) {
        return Err(error);
    }
    if work.reports.is_empty() {
        merge(&mut work.reports, boxes, &work.seen, BTreeMap::new(), true);
    }
    Ok(work.report())
}

/// A run at work.
struct Work<'a> {
    maker: Maker<'a>,
    boxes: &'a [Keyed],
    reports: BTreeMap<String, BoxReport>,
    /// What the first look saw.
    seen: BTreeMap<String, Seen>,
    /// What the last look saw.
    current: BTreeMap<String, Seen>,
    can_push: bool,
    cancel: &'a CancellationToken,
}

impl Work<'_> {
    async fn act(&mut self, action: RunAction) -> Result<RunSaw, BuildError> {
        let Maker { ports, setting, ledger, emit, .. } = self.maker;
        Ok(match action {
            RunAction::Lease => {
                let keys = self.boxes.iter().map(|keyed| keyed.wanted.key().clone()).collect();
                let held = take_lease(ports, setting, ledger, Purpose::Building, keys, emit).await?;
                let is_held = held.is_some();
                self.can_push = is_held;
                self.maker.holds(held.into_iter().collect());
                RunSaw::Leased { is_held }
            }
            RunAction::Probe => return self.probe().await,
            RunAction::Make => self.make().await,
            RunAction::Clock => RunSaw::Clock { is_short: self.maker.is_short() },
            RunAction::Renew => {
                self.maker.renew().await?;
                RunSaw::Renewed
            }
            RunAction::Look => {
                self.current = look(ports, setting, self.boxes).await;
                RunSaw::Looked { has_moved: self.reports.iter().any(|(name, one)| self.has_moved(name, one)) }
            }
            RunAction::Settle { is_lost } => self.settle(is_lost).await?,
            RunAction::Release => {
                release(ledger, &self.maker.leases(), emit).await;
                RunSaw::Released
            }
            RunAction::Report | RunAction::Stop => RunSaw::Released,
        })
    }

    async fn probe(&mut self) -> Result<RunSaw, BuildError> {
        let Maker { ports, setting, .. } = self.maker;
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {}
            seen = probe(ports, setting, self.boxes) => {
                self.seen = seen?;
                if matches!(self.maker.origin, Origin::Engine) && !self.maker.leases().is_empty() {
                    preflight::check(&self.maker, self.boxes, &self.seen).await?;
                }
                self.current = self.seen.clone();
                return Ok(RunSaw::Probed);
            }
        }
        merge(&mut self.reports, self.boxes, &self.seen, BTreeMap::new(), true);
        Ok(RunSaw::Interrupted)
    }

    async fn make(&mut self) -> RunSaw {
        let Self { maker, boxes, current, reports, cancel, .. } = self;
        let leases = maker.leases().len();
        let finished = run_all(maker, boxes, current, reports, cancel).await;
        merge(reports, boxes, &self.seen, finished, cancel.is_cancelled());
        if cancel.is_cancelled() {
            return RunSaw::Interrupted;
        }
        let has_built = reports.values().any(|report| report.outcome == Outcome::Built);
        RunSaw::Made { has_built, is_lapsed: maker.leases().len() > leases }
    }

    /// Tells whether a box that is to be reported does not stand as it did.
    fn has_moved(&self, name: &str, report: &BoxReport) -> bool {
        let now = self.current.get(name).and_then(|seen| seen.state.digest());
        report.digest.is_some() && report.digest.as_ref() != now
    }

    async fn settle(&mut self, is_lost: bool) -> Result<RunSaw, BuildError> {
        let Maker { ports, setting, ledger, emit, .. } = self.maker;
        if is_lost {
            let lost = |(name, one): (&String, &BoxReport)| self.has_moved(name, one).then(|| name.clone());
            let lost: Vec<String> = self.reports.iter().filter_map(lost).collect();
            for name in lost {
                if let Some(report) = self.reports.get_mut(&name) {
                    report.reason = "it was moved or removed again and again".to_owned();
                    report.outcome = Outcome::Failed(report.reason.clone().into());
                    report.digest = None;
                }
            }
        }
        if !self.cancel.is_cancelled() {
            let is_built = |keyed: &&Keyed| {
                self.reports.get(&keyed.wanted.name).is_some_and(|one| one.outcome == Outcome::Built)
            };
            inputs::remember(ledger, self.boxes.iter().filter(is_built).collect(), emit).await;
        }
        let (report, leases) = (self.report(), self.maker.leases());
        let leases = finish(ports, setting, ledger, self.boxes, &report, leases, emit).await?;
        let is_held = !leases.is_empty();
        self.maker.holds(leases);
        Ok(RunSaw::Settled { is_held })
    }

    fn report(&self) -> BuildReport {
        let lease_until = self.maker.leases().last().map(|held| held.lease.expiry);
        let is_interrupted = self.cancel.is_cancelled();
        let (boxes, can_push, sizes) = (self.reports.clone(), self.can_push, sizes(&self.current));
        BuildReport { boxes, lease_until, can_push, sizes, local: BTreeMap::new(), is_interrupted }
    }
}

/// Takes a lease, or finds out that this registry takes no writes from us.
pub(crate) async fn take_lease(
    ports: Ports<'_>,
    setting: &Setting,
    ledger: Ledger<'_>,
    purpose: Purpose,
    keys: Vec<Key>,
    emit: Emit<'_>,
) -> Result<Option<Held>, LedgerError> {
    let count = keys.len();
    match ledger.lease(setting, purpose, keys, ports.clock).await? {
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
pub(crate) async fn release(ledger: Ledger<'_>, leases: &[Held], emit: Emit<'_>) {
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
pub(crate) async fn probe(
    ports: Ports<'_>,
    setting: &Setting,
    boxes: &[Keyed],
) -> Result<BTreeMap<String, Seen>, BuildError> {
    let seen = look(ports, setting, boxes).await;
    all_known(&seen)?;
    Ok(seen)
}

/// Checks that the registry said of each box what stands.
pub fn all_known(seen: &BTreeMap<String, Seen>) -> Result<(), BuildError> {
    for (name, seen) in seen {
        if let State::Unknown { why, wants_login } = &seen.state {
            let (name, why) = (name.clone(), why.clone());
            return Err(BuildError::Unknown { name, why, wants_login: *wants_login });
        }
    }
    Ok(())
}

/// Carries out what a plan of these boxes says; one that waits for parents is decided about when
/// they stand.
pub(crate) async fn run_all(
    maker: &Maker<'_>,
    boxes: &[Keyed],
    seen: &BTreeMap<String, Seen>,
    reports: &BTreeMap<String, BoxReport>,
    cancel: &CancellationToken,
) -> BTreeMap<String, Finished<Made>> {
    let (options, emit) = (maker.options, maker.emit);
    let nodes: Vec<(&str, Vec<&str>)> = boxes
        .iter()
        .map(|keyed| (keyed.wanted.name.as_str(), keyed.wanted.parents.iter().map(String::as_str).collect()))
        .collect();
    let wanted: Vec<_> = boxes.iter().map(|keyed| keyed.wanted.clone()).collect();
    let decisions = plan(&wanted, seen, maker.may_push());
    let steps: BTreeMap<&str, (&Keyed, &Decision)> =
        nodes.iter().zip(boxes.iter().zip(&decisions)).map(|((name, _), step)| (*name, step)).collect();
    let steps = &steps;
    let work = |name: String, parents: BTreeMap<String, Made>| async move {
        let (keyed, decision) = *steps.get(name.as_str())?;
        let before = reports.get(&name);
        if let Some(BoxReport { outcome, seconds, .. }) = before
            && matches!(outcome, Outcome::Failed(_) | Outcome::Forbidden(_))
        {
            // What failed in an earlier round is not tried again, nor told again.
            return Some(Err((outcome.clone(), *seconds)));
        }
        let began = Instant::now();
        let first = seen.get(&name)?;
        let decision = match decision {
            Decision::Wait { .. } => decided(first, &parents, keyed, maker.may_push()),
            decision => decision.clone(),
        };
        let made = maker.make(keyed, first.generation, decision, &parents).await;
        let seconds = began.elapsed().as_secs_f64();
        let digest = made.as_ref().ok().map(|made| made.digest.clone());
        if digest.is_none() || before.is_none_or(|before| before.digest != digest) {
            tell(emit, name, made.as_ref(), seconds);
        }
        Some(made.map(|made| Made { seconds, ..made }).map_err(|outcome| (outcome, seconds)))
    };
    let finished = in_order(&nodes, options.jobs, options.fail_fast, work, cancel).await;
    for (name, end) in &finished {
        if let Some(why) = end.skipped(&finished)
            && !reports.contains_key(name)
        {
            emit(Event::Skipped { name: name.clone(), why });
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
        Err(Outcome::Failed(failure)) => emit(Event::Failed { name, failure: failure.clone() }),
        Err(Outcome::Forbidden(why)) => emit(Event::Failed { name, failure: why.clone().into() }),
        Err(Outcome::Used | Outcome::Built | Outcome::Skipped(_)) => {}
    }
}
