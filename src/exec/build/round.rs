//! One round of a run: what stands is looked up, and what is missing is made, parents first.

use std::collections::BTreeMap;
use std::time::Instant;

use tokio_util::sync::CancellationToken;

use crate::exec::build::error::{BoxError, BuildError, BuildOptions};
use crate::exec::build::judge::decided;
use crate::exec::build::outcome::{BoxReport, BuiltBox, Ended, Outcome, Parents};
use crate::exec::build::schedule::in_order;
use crate::exec::event::{Emit, Event};
use crate::exec::image::probe::{all_known, observe_all};
use crate::exec::keys::ResolvedBox;
use crate::exec::setting::RunContext;
use crate::model::Generation;
use crate::plan::{Decision, Seen, plan};
use crate::port::RegistryReader;

/// What one round of a run works with.
pub(super) struct Round<'a, 'k> {
    pub boxes: &'k [ResolvedBox],
    /// What stands.
    pub seen: &'a BTreeMap<String, Seen>,
    /// What the rounds before came to.
    pub reports: &'a BTreeMap<String, BoxReport>,
    pub options: &'a BuildOptions,
    /// Whether what is built may get its tag.
    pub may_push: bool,
    pub emit: Emit<'a>,
}

/// Carries out by `make` what a plan of the boxes says, parents first; a box that waits for parents is
/// decided about when they stand.
pub(super) async fn run_all<'k>(
    round: Round<'_, 'k>,
    make: impl AsyncFn(&'k ResolvedBox, Generation, Decision, &Parents) -> Result<BuiltBox, Outcome>,
    cancel: &CancellationToken,
) -> BTreeMap<String, Ended> {
    let Round { boxes, seen, reports, options, may_push, emit } = round;
    let make = &make;
    let nodes: Vec<(&str, Vec<&str>)> = boxes
        .iter()
        .map(|keyed| (keyed.wanted.name.as_str(), keyed.wanted.parents.iter().map(String::as_str).collect()))
        .collect();
    let decisions = plan(boxes.iter().map(|keyed| &keyed.wanted), seen, may_push);
    let step = |step: (&'k ResolvedBox, Decision)| (step.0.wanted.name.as_str(), step);
    let steps: &BTreeMap<&str, (&ResolvedBox, Decision)> = &boxes.iter().zip(decisions).map(step).collect();
    let work = |name: String, parents: Parents| async move {
        let (keyed, decision) = steps.get(name.as_str())?;
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
            Decision::Wait { .. } => decided(first, &parents, keyed, may_push),
            decision => decision.clone(),
        };
        let made = make(keyed, first.generation, decision, &parents).await;
        let seconds = began.elapsed().as_secs_f64();
        let digest = made.as_ref().ok().map(|made| made.digest.clone());
        if digest.is_none() || before.is_none_or(|before| before.digest != digest) {
            tell(emit, name, made.as_ref(), seconds);
        }
        Some(made.map(|made| BuiltBox { seconds, ..made }).map_err(|outcome| (outcome, seconds)))
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

fn tell(emit: Emit<'_>, name: String, made: Result<&BuiltBox, &Outcome>, seconds: f64) {
    match made {
        Ok(BuiltBox { outcome: Outcome::Used, digest, .. }) => {
            emit(Event::Used { name, digest: digest.clone() })
        }
        Ok(BuiltBox { digest, adopted, .. }) => {
            emit(Event::Built { name, digest: digest.clone(), adopted: *adopted, seconds });
        }
        Err(Outcome::Failed(failure)) => emit(Event::Failed { name, failure: failure.clone() }),
        Err(Outcome::Forbidden(why)) => {
            emit(Event::Failed { name, failure: BoxError::Forbidden(why.clone()).into() });
        }
        Err(Outcome::Used | Outcome::Built | Outcome::Skipped(_)) => {}
    }
}

pub(super) async fn look(
    registry: &dyn RegistryReader,
    setting: &RunContext,
    boxes: &[ResolvedBox],
) -> BTreeMap<String, Seen> {
    let wanted: Vec<_> =
        boxes.iter().map(|keyed| (keyed.wanted.clone(), keyed.spec.platform.clone())).collect();
    observe_all(registry, &setting.ledger, &wanted).await
}

/// Probes all boxes; one that is unknown stops the run.
pub(super) async fn probe(
    registry: &dyn RegistryReader,
    setting: &RunContext,
    boxes: &[ResolvedBox],
) -> Result<BTreeMap<String, Seen>, BuildError> {
    let seen = look(registry, setting, boxes).await;
    all_known(&seen)?;
    Ok(seen)
}
