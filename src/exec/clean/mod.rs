//! Sweeps: what decides, what came of it, and how one ends. [`Sweep`] carries out what
//! [`Sweeper`] asks for. Any read that fails ends one before its first delete.

mod closure;
pub(super) mod error;
mod keep;
mod limits;
pub(super) mod protect;
pub(super) mod put_back;
mod recorded;
mod remains;
mod sightings;
mod survey;
mod sweep;
mod undo;
pub(super) mod undone;

use tokio_util::sync::CancellationToken;

use crate::exec::clean::error::{CleanError, CleanOptions, CleanReport};
use crate::exec::clean::sweep::Sweep;
use crate::exec::clean::undo::undo;
use crate::exec::event::Emit;
use crate::exec::ledger::lease::release;
use crate::exec::pace;
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::Span;
use crate::protocol::{Deletion, SweepAction, SweepEnd, SweepInput, Sweeper};

/// Finds out what nothing keeps; condemns it, and deletes what was condemned long enough ago.
///
/// When `cancel` is cancelled what was sent is waited for, for a moment, and nothing new begins.
pub async fn clean(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    options: &CleanOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<CleanReport, CleanError> {
    let mut sweep = Sweep::new(ports, setting, options, emit);
    let mut sweeper = Sweeper::new(options.apply).keeping(options.undo > Span::default());
    let end = loop {
        let action = sweeper.next();
        if let SweepAction::End(end) = action {
            break end;
        }
        let saw = tokio::select! {
            biased;
            () = stopped(cancel, &action) => SweepInput::Interrupted,
            saw = sweep.act(&action, sweeper.clean()) => saw,
        };
        sweeper = sweeper.observe(saw);
    };
    tokio::select! {
        biased;
        () = release(ports, setting, &sweep.claims, emit) => {}
        // A claim that stays keeps promotions back, but only for as long as it lasts.
        () = async { cancel.cancelled().await; tokio::time::sleep(pace::PATIENCE / 3).await } => {}
    }
    let mut deletions = sweeper.deletions().to_vec();
    if let Ok(registry) = ports.writer {
        for image in undo(registry, &sweep.gone, &sweep.stays, emit).await {
            if let Some(deletion) = deletions.get_mut(image) {
                *deletion = Deletion::Changed;
            }
        }
    }
    let is_interrupted = end == SweepEnd::Interrupted;
    match (end, sweep.error) {
        (SweepEnd::Done | SweepEnd::Interrupted, _) => Ok(CleanReport {
            clean: sweeper.clean().clone(),
            now: sweep.look.map(|look| look.now).unwrap_or_default(),
            deletions,
            expired: sweep.expired,
            records: sweep.records,
            is_applied: options.apply,
            is_interrupted,
        }),
        (SweepEnd::Failed, Some(error)) => Err(error),
        (SweepEnd::Failed | SweepEnd::Late, _) => Err(CleanError::Late),
    }
}

/// Ends when a sweep has to stop at this action. Of what changes something one wants to know what
/// came of it.
async fn stopped(cancel: &CancellationToken, action: &SweepAction) {
    let is_read = matches!(
        action,
        SweepAction::Clock
            | SweepAction::Leases
            | SweepAction::Wait
            | SweepAction::Rest
            | SweepAction::Head(_)
            | SweepAction::End(_)
    );
    if cancel.is_cancelled() && !matches!(action, SweepAction::Find(_)) {
        return;
    }
    cancel.cancelled().await;
    if !is_read {
        tokio::time::sleep(pace::PATIENCE).await;
    }
}
