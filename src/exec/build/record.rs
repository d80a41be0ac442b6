//! What a run leaves behind: leases on what stands, and the record of what it used.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use crate::exec::build::outcome::BuildReport;
use crate::exec::event::{Emit, Event};
use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::LedgerError;
use crate::exec::ledger::inputs::store;
use crate::exec::ledger::lease::{Held, release};
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::pace;
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::{Key, Purpose, RecordTag, RunBox, RunRecord, Timestamp};

/// Gives up the claim on keys that do not stand, so that nobody waits for them, and writes
/// the run's record; returns the leases that are held then.
pub(crate) async fn finish(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    boxes: &[ResolvedBox],
    report: &BuildReport,
    leases: Vec<Held>,
    emit: Emit<'_>,
) -> Result<Vec<Held>, LedgerError> {
    // Without a lease we may not write.
    let Some(now) = leases.last().map(|held| held.now(ports.clock)) else { return Ok(leases) };
    let ledger = LedgerWriter::new(ports, &setting.ledger)?;
    let standing: Vec<Key> = boxes
        .iter()
        .filter(|keyed| report.boxes.get(&keyed.wanted.name).is_some_and(|one| one.digest.is_some()))
        .map(|keyed| keyed.wanted.key().clone())
        .collect();
    let nonces = leases.iter().map(|held| held.lease.nonce.clone()).collect();
    let mut holds = leases;
    if standing.len() < boxes.len() {
        let before = std::mem::take(&mut holds);
        if !standing.is_empty() {
            // Of what it covers nothing is built any more.
            let held = ledger.lease(setting, Purpose::Using, standing, ports.clock).await?;
            holds.push(held.held()?);
        }
        release(ports, setting, &before, emit).await;
    }
    record(setting, ledger, boxes, report, now, nonces).await?;
    Ok(holds)
}

/// Writes what the run used. Parallel jobs of one run share the record: each adds its boxes.
async fn record(
    setting: &RunContext,
    ledger: LedgerWriter<'_>,
    boxes: &[ResolvedBox],
    report: &BuildReport,
    finished: Timestamp,
    nonces: BTreeSet<String>,
) -> Result<(), LedgerError> {
    let run_box = |keyed: &ResolvedBox| {
        let one = report.boxes.get(&keyed.wanted.name);
        RunBox {
            name: keyed.wanted.name.clone(),
            repository: keyed.wanted.repository.name().to_owned(),
            key: keyed.wanted.key().clone(),
            digest: one.and_then(|one| one.digest.clone()),
            action: one.map_or("skipped", |one| one.outcome.word()).to_owned(),
        }
    };
    let RunContext { run, attempt, source, .. } = setting;
    let tag = RecordTag::Run { run: run.clone(), attempt: *attempt };
    let tag = tag.tag().map_err(|error| ledger.bad_tag("run", error))?;
    let mut tries = 1;
    loop {
        let mut used: BTreeMap<String, RunBox> =
            boxes.iter().map(run_box).map(|one| (one.name.clone(), one)).collect();
        let mut leases = nonces.clone();
        if let Some(before) = ledger.read::<RunRecord>(&tag).await? {
            leases.extend(before.leases);
            for one in before.boxes {
                used.entry(one.name.clone()).or_insert(one);
            }
        }
        let record = RunRecord {
            run: run.clone(),
            attempt: *attempt,
            finished,
            source: source.clone(),
            leases,
            boxes: used.into_values().collect(),
        };
        match ledger.write(&tag, &record).await {
            // Another job wrote at the same moment: add ours to what it wrote.
            Err(LedgerError::NotOurs { .. }) if tries < pace::SHARED => tries += 1,
            done => return done.map(drop),
        }
    }
}

/// Stores the inputs of boxes whose images stand, under the lease that covers them. What they
/// are good for is explanations, so that a failure is a note and no failed build.
pub(crate) async fn remember(ledger: LedgerWriter<'_>, built: Vec<&ResolvedBox>, emit: Emit<'_>) {
    let stored = stream::iter(built).map(|keyed| async move { (keyed, store(ledger, keyed).await) });
    let stored: Vec<_> = stored.buffered(pace::BLOBS).collect().await;
    for (keyed, result) in stored {
        if let Err(error) = result {
            let name = &keyed.wanted.name;
            let text =
                format!("{name}: its inputs were not stored, so `explain` cannot compare with it: {error}");
            emit(Event::Note { text });
        }
    }
}
