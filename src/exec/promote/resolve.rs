//! From what is promoted and a tag's past to the plan of a promotion and its record.

use crate::exec::ledger::Ledger;
use crate::exec::ledger::past::PastRecords;
use crate::exec::promote::content::PromotionSource;
use crate::exec::promote::error::{PromoteError, PromoteOptions};
use crate::exec::setting::RunContext;
use crate::model::{Digest, PromotedImage, PromotionRecord, RawManifest};
use crate::plan::{Member, Promotion, PromotionRequest, Refusal, Step, promotion};
use crate::port::RegistryReader;
use crate::retention::holds_up;

/// What was resolved, and planned from it.
pub(crate) struct Resolution {
    pub promotion: Promotion,
    /// The plan record of its count, if somebody else has begun one.
    pub begun: Option<Digest>,
    /// The manifests that the tags are to hold, by step.
    pub manifests: Vec<RawManifest>,
}

/// Reads what is promoted and the tag's past, and plans from `now`, what the tags hold.
pub(super) async fn resolve(
    registry: &dyn RegistryReader,
    setting: &RunContext,
    ledger: Ledger<'_>,
    content: PromotionSource<'_>,
    options: &PromoteOptions,
    now: Vec<Option<Digest>>,
) -> Result<Resolution, PromoteError> {
    let resolved = content.resolve(registry, setting, ledger.past(&options.tag)).await;
    let (past, resolved) = resolved.map_err(|error| error.in_channel(content, &options.channel))?;
    let is_there = resolved.iter().zip(&now).all(|(one, now)| now.as_ref() == Some(one.manifest.digest()));
    // A promotion of this very set that has ended meanwhile left nothing to do.
    let now = match !is_there && past.is_last(resolved.iter().map(|one| one.manifest.digest())) {
        true => content.under(registry, setting, &options.tag).await?,
        false => now,
    };
    let members = resolved.iter().zip(now).map(|(one, now)| one.member(now)).collect();
    let promotion = planned(setting, ledger, content, members, &past, options).await?;
    let begun = match past.next {
        _ if promotion.is_resumed || promotion.is_done() => None,
        Some((seq, begun)) if seq == promotion.seq => begun,
        // A record that was listed has vanished, so that the count is another one.
        _ => ledger.begun(&options.tag, promotion.seq).await?,
    };
    let manifests = resolved.into_iter().map(|one| one.manifest).collect();
    Ok(Resolution { promotion, begun, manifests })
}

/// Plans the promotion of what was resolved.
pub(crate) async fn planned(
    setting: &RunContext,
    ledger: Ledger<'_>,
    content: PromotionSource<'_>,
    members: Vec<Member>,
    past: &PastRecords,
    options: &PromoteOptions,
) -> Result<Promotion, PromoteError> {
    if let Some(ending) = &past.ending
        && holds_up(ending, options.keep.as_ref(), ledger.now().await?)
    {
        let (tag, since, why) = (options.tag.clone(), ending.marked.human(), ending.reason.clone());
        return Err(Refusal::UntagNotice { tag, since, why }.into());
    }
    let from = content.from();
    let wish = PromotionRequest {
        tag: &options.tag,
        immutable: options.immutable,
        allow_older: options.allow_older,
        source: content.source(setting),
        from: from.as_ref(),
    };
    let planned = promotion(&wish, members, past.as_past())?;
    match &options.shown {
        Some(shown) if !planned.is_done() && !planned.does_as(shown) => {
            Err(PromoteError::Outdated { tag: options.tag.clone() })
        }
        _ => Ok(planned),
    }
}

pub(crate) fn record(
    setting: &RunContext,
    content: PromotionSource<'_>,
    options: &PromoteOptions,
    planned: &Promotion,
    now: crate::model::Timestamp,
) -> PromotionRecord {
    let set_box = |step: &Step| PromotedImage {
        name: step.member.name.clone(),
        repository: step.member.repository.name().to_owned(),
        key: step.member.tag.key().clone(),
        content_tag: step.member.tag.tag(),
        digest: step.member.digest.clone(),
        before: step.before.clone(),
    };
    PromotionRecord {
        tag: options.tag.clone(),
        channel: options.channel.clone(),
        seq: planned.seq,
        promoted: now,
        run: setting.run.clone(),
        source: content.source(setting).clone(),
        from: content.from(),
        copied: content.copied(),
        withdrawn: content.withdrawn(),
        by: setting.by.clone(),
        boxes: planned.steps.iter().map(set_box).collect(),
    }
}
