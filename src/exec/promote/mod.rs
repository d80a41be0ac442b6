//! Promotions: what they are of, and how they end. [`PromotionExecutor`] carries them out.
//!
//! Tags move by writing the very bytes of the manifest under another name: nothing is
//! pulled, rebuilt or uploaded.

mod carry;
pub(super) mod content;
pub(super) mod cross_registry;
pub(super) mod error;
mod resolve;
pub(super) mod vet;

use tokio_util::sync::CancellationToken;

use crate::exec::event::Emit;
use crate::exec::ledger::Ledger;
use crate::exec::promote::carry::PromotionExecutor;
use crate::exec::promote::content::PromotionSource;
use crate::exec::promote::error::{PromoteError, PromoteOptions, PromoteReport};
use crate::exec::promote::resolve::{record, resolve};
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::plan::Promotion;

/// Promotes a set.
///
/// The lease keeps the images until the plan record stands, which keeps them from then on.
/// When `cancel` is cancelled what was sent is waited for, for a moment, and nothing new is
/// written.
pub async fn promote(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    content: PromotionSource<'_>,
    options: &PromoteOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<PromoteReport, PromoteError> {
    let ledger = Ledger::new(ports.registry, &setting.ledger);
    let resolve = async |now| resolve(ports.registry, setting, ledger, content, options, now).await;
    let look = async || resolve(content.under(ports.registry, setting, &options.tag).await?).await;
    if !options.apply {
        let promotion = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(PromoteError::stopped(&options.tag)),
            planned = look() => planned?.promotion,
        };
        let (seq, was_done) = (promotion.seq, promotion.is_done());
        return Ok(PromoteReport { seq, was_done, moved: Vec::new(), promotion });
    }
    let record = |planned: &Promotion, now| record(setting, content, options, planned, now);
    let carrier = PromotionExecutor::new(ports, setting, &options.tag, content, emit);
    match carrier.carry(&resolve, record, cancel).await {
        // Whoever may not even read has a wrong password, and not too few rights.
        Err(PromoteError::ReadOnly) => Err(look().await.err().unwrap_or(PromoteError::ReadOnly)),
        done => done,
    }
}
