//! A build: carries out what [`Run`] asks for, box by box what [`crate::exec::build::job`] does.
//!
//! A box that is there has every side effect of one that is built: its key is leased and it
//! enters the run's record. Nothing is reported as standing before it was read back.

mod box_builder;
pub(super) mod engine_needs;
pub(super) mod error;
pub(super) mod from_archive;
pub(super) mod job;
mod judge;
mod leases;
pub(super) mod local;
pub(super) mod outcome;
mod preflight;
mod queue;
pub(super) mod rebuild;
mod record;
mod redact;
mod round;
mod schedule;
pub(super) mod secrets;
mod step_log;

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::exec::build::box_builder::BoxBuilder;
use crate::exec::build::error::{BoxError, BuildError, BuildOptions};
use crate::exec::build::job::{JobRunner, Origin};
use crate::exec::build::outcome::{BoxReport, BuildReport, Outcome, Parents, interrupted, merge};
use crate::exec::build::record::{finish, remember};
use crate::exec::build::round::{Round, look, probe, run_all};
use crate::exec::event::Emit;
use crate::exec::image::probe::sizes;
use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::lease::{release, take_lease};
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::pace;
use crate::exec::setting::{EnginePorts, RegistryPorts, RunContext};
use crate::model::Purpose;
use crate::plan::Seen;
use crate::protocol::{Run, RunAction, RunInput};

/// Builds what is missing of `boxes`, which are parents first and complete.
pub async fn build(
    ports: RegistryPorts<'_>,
    engine: EnginePorts<'_>,
    setting: &RunContext,
    boxes: &[ResolvedBox],
    options: &BuildOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<BuildReport, BuildError> {
    let origin = Origin::Engine(BoxBuilder::new(engine, setting, options.no_cache, emit));
    build_from(ports, setting, boxes, options, origin, emit, cancel).await
}

/// Has what is missing of `boxes` made by the engine, or takes it from an archive.
pub(crate) async fn build_from(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    boxes: &[ResolvedBox],
    options: &BuildOptions,
    origin: Origin<'_>,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<BuildReport, BuildError> {
    let maker = JobRunner::new(ports, setting, options, origin, emit);
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
            tokio::time::sleep(pace::LAST).await;
        };
        let saw = tokio::select! {
            biased;
            saw = work.act(action) => saw.unwrap_or_else(|why| {
                error = Some(why);
                RunInput::Failed
            }),
            () = late => RunInput::Interrupted,
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
    maker: JobRunner<'a>,
    boxes: &'a [ResolvedBox],
    reports: BTreeMap<String, BoxReport>,
    /// What the first look saw.
    seen: BTreeMap<String, Seen>,
    /// What the last look saw.
    current: BTreeMap<String, Seen>,
    can_push: bool,
    cancel: &'a CancellationToken,
}

impl Work<'_> {
    async fn act(&mut self, action: RunAction) -> Result<RunInput, BuildError> {
        let JobRunner { ports, setting, emit, .. } = self.maker;
        Ok(match action {
            RunAction::Lease => {
                let keys = self.boxes.iter().map(|keyed| keyed.wanted.key().clone()).collect();
                let held = take_lease(ports, setting, Purpose::Building, keys, emit).await?;
                let is_held = held.is_some();
                self.can_push = is_held;
                self.maker.holds(held.into_iter().collect());
                RunInput::Leased { is_held }
            }
            RunAction::Probe => return self.probe().await,
            RunAction::Make => self.make().await,
            RunAction::Clock => RunInput::Clock { is_short: self.maker.is_short() },
            RunAction::Renew => {
                self.maker.renew().await?;
                RunInput::Renewed
            }
            RunAction::Look => {
                self.current = look(ports.registry, setting, self.boxes).await;
                RunInput::Looked {
                    has_moved: self.reports.iter().any(|(name, one)| self.has_moved(name, one)),
                }
            }
            RunAction::Settle { is_lost } => self.settle(is_lost).await?,
            RunAction::Release => {
                release(ports, setting, &self.maker.leases(), emit).await;
                RunInput::Released
            }
            RunAction::Report | RunAction::Stop => RunInput::Released,
        })
    }

    async fn probe(&mut self) -> Result<RunInput, BuildError> {
        let JobRunner { ports, setting, emit, .. } = self.maker;
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => {}
            seen = probe(ports.registry, setting, self.boxes) => {
                self.seen = seen?;
                if let Origin::Engine(builder) = &self.maker.origin
                    && !self.maker.leases().is_empty()
                {
                    let version = builder.version();
                    preflight::check(builder.ports, version, self.boxes, &self.seen, emit).await?;
                }
                self.current = self.seen.clone();
                return Ok(RunInput::Probed);
            }
        }
        merge(&mut self.reports, self.boxes, &self.seen, BTreeMap::new(), true);
        Ok(RunInput::Interrupted)
    }

    async fn make(&mut self) -> RunInput {
        let Self { maker, boxes, current, reports, cancel, .. } = self;
        let leases = maker.leases().len();
        let make = async |keyed, generation, decision, parents: &Parents| {
            maker.make(keyed, generation, decision, parents).await
        };
        let may_push = !maker.leases().is_empty();
        let (options, emit) = (maker.options, maker.emit);
        let round = Round { boxes, seen: current, reports, options, may_push, emit };
        let finished = run_all(round, make, cancel).await;
        merge(reports, boxes, &self.seen, finished, cancel.is_cancelled());
        if cancel.is_cancelled() {
            return RunInput::Interrupted;
        }
        let has_built = reports.values().any(|report| report.outcome == Outcome::Built);
        RunInput::Made { has_built, is_lapsed: maker.leases().len() > leases }
    }

    /// Tells whether a box that is to be reported does not stand as it did.
    fn has_moved(&self, name: &str, report: &BoxReport) -> bool {
        let now = self.current.get(name).and_then(|seen| seen.state.digest());
        report.digest.is_some() && report.digest.as_ref() != now
    }

    async fn settle(&mut self, is_lost: bool) -> Result<RunInput, BuildError> {
        let JobRunner { ports, setting, emit, .. } = self.maker;
        if is_lost {
            let lost = |(name, one): (&String, &BoxReport)| self.has_moved(name, one).then(|| name.clone());
            let lost: Vec<String> = self.reports.iter().filter_map(lost).collect();
            for name in lost {
                if let Some(report) = self.reports.get_mut(&name) {
                    report.reason = BoxError::Moved.to_string();
                    report.outcome = Outcome::Failed(BoxError::Moved.into());
                    report.digest = None;
                }
            }
        }
        if !self.cancel.is_cancelled()
            && let Ok(ledger) = LedgerWriter::new(ports, &setting.ledger)
        {
            let is_built = |keyed: &&ResolvedBox| {
                self.reports.get(&keyed.wanted.name).is_some_and(|one| one.outcome == Outcome::Built)
            };
            remember(ledger, self.boxes.iter().filter(is_built).collect(), emit).await;
        }
        let (report, leases) = (self.report(), self.maker.leases());
        let leases = finish(ports, setting, self.boxes, &report, leases, emit).await?;
        let is_held = !leases.is_empty();
        self.maker.holds(leases);
        Ok(RunInput::Settled { is_held })
    }

    fn report(&self) -> BuildReport {
        let lease_until = self.maker.leases().last().map(|held| held.lease.expiry);
        let is_interrupted = self.cancel.is_cancelled();
        let (boxes, can_push, sizes) = (self.reports.clone(), self.can_push, sizes(&self.current));
        BuildReport { boxes, lease_until, can_push, sizes, local: BTreeMap::new(), is_interrupted }
    }
}
