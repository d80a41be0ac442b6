//! A build for this machine alone: what the registry has is used, what it lacks is built and
//! stays in the engine. Nothing is leased, pushed or recorded.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::exec::build::box_builder::BoxBuilder;
use crate::exec::build::error::{BoxError, BuildError, BuildOptions};
use crate::exec::build::outcome::{BuildReport, BuiltBox, Outcome, Parents, interrupted, merge};
use crate::exec::build::preflight;
use crate::exec::build::round::{Round, probe, run_all};
use crate::exec::event::Emit;
use crate::exec::image::probe::sizes;
use crate::exec::keys::ResolvedBox;
use crate::exec::run::local_name;
use crate::exec::setting::{EnginePorts, RunContext};
use crate::model::Generation;
use crate::plan::Decision;
use crate::port::{EngineError, ImageId, RegistryReader};

/// Builds what is missing of `boxes`, which are parents first and complete.
pub async fn build_local(
    registry: &dyn RegistryReader,
    ports: EnginePorts<'_>,
    setting: &RunContext,
    boxes: &[ResolvedBox],
    options: &BuildOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<BuildReport, BuildError> {
    let builder = BoxBuilder::new(ports, setting, options.no_cache, emit);
    let seen = tokio::select! {
        biased;
        () = cancel.cancelled() => interrupted(boxes),
        seen = probe(registry, setting, boxes) => seen?,
    };
    preflight::check(ports, builder.version(), boxes, &seen, emit).await?;
    let mut reports = BTreeMap::new();
    let make = async |keyed: &ResolvedBox, generation, decision, parents: &Parents| {
        make(&builder, keyed, generation, decision, parents).await
    };
    // In the engine everything may have its name.
    let round = Round { boxes, seen: &seen, reports: &reports, options, may_push: true, emit };
    let finished = run_all(round, make, cancel).await;
    merge(&mut reports, boxes, &seen, finished, cancel.is_cancelled());
    let namespace = ports.secrets.namespace();
    let (mut sizes, mut local) = (sizes(&seen), BTreeMap::new());
    for keyed in boxes {
        let name = &keyed.wanted.name;
        let Some(report) = reports.get_mut(name).filter(|report| report.outcome == Outcome::Built) else {
            continue;
        };
        // Its digest is the engine's own; no registry knows it.
        let Some(image) = report.digest.take() else { continue };
        // The build stands without its size.
        let size = ports.store.size(&ImageId(image)).await.ok();
        sizes.extend(size.map(|size| (name.clone(), size)));
        local.insert(name.clone(), local_name(&namespace, &keyed.wanted, report.generation));
    }
    let is_interrupted = cancel.is_cancelled();
    Ok(BuildReport { boxes: reports, lease_until: None, can_push: false, sizes, local, is_interrupted })
}

/// Makes one box, whose parents stand here or in the registry.
async fn make(
    builder: &BoxBuilder<'_>,
    keyed: &ResolvedBox,
    generation: Generation,
    decision: Decision,
    parents: &Parents,
) -> Result<BuiltBox, Outcome> {
    let failed = |error: EngineError| Outcome::Failed(error.into());
    let made = |digest, local: Option<String>, reason| BuiltBox {
        repository: keyed.wanted.repository.clone(),
        digest,
        generation,
        outcome: if local.is_some() { Outcome::Built } else { Outcome::Used },
        local,
        adopted: false,
        reason,
        seconds: 0.0,
    };
    let reason = match decision {
        Decision::Use(digest) => return Ok(made(digest, None, "present".to_owned())),
        Decision::Stop => return Err(Outcome::Failed(BoxError::Undecided.into())),
        decision => decision.why(),
    };
    let image = builder.build(keyed, generation, parents, &reason).await.map_err(Outcome::Failed)?;
    let reference = local_name(&builder.ports.secrets.namespace(), &keyed.wanted, generation);
    builder.ports.store.name(&image, &reference).await.map_err(failed)?;
    Ok(made(image.0, Some(reference), reason))
}
