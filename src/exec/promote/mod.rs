//! Promotions: what they are of, and how they end. [`Carrier`] carries them out.
//!
//! Tags move by writing the very bytes of the manifest under another name: nothing is
//! pulled, rebuilt or uploaded.

pub(super) mod carry;
pub(super) mod content;
pub(super) mod cross_registry;
pub(super) mod vet;

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

use crate::exec::build::BuildError;
use crate::exec::event::Emit;
use crate::exec::image::copy::CopyError;
use crate::exec::ledger::past::PastRecords;
use crate::exec::ledger::{Ledger, LedgerError};
use crate::exec::promote::carry::Carrier;
use crate::exec::promote::content::Content;
use crate::exec::{Ports, Setting};
use crate::model::{Digest, Keep, RawManifest, Repository, SetBox, SetRecord, Tag};
use crate::plan::{Member, Promotion, Refusal, Step, StepState, Wish, promotion};
use crate::port::RegistryError;
use crate::retention::holds_up;

/// How a promotion goes about it.
#[derive(Debug, Clone)]
pub struct PromoteOptions {
    /// The tag to promote to.
    pub tag: Tag,
    /// The channel it belongs to.
    pub channel: String,
    /// Whether the tag may never move once it is set.
    pub immutable: bool,
    /// Whether a set from an older revision may replace a newer one.
    pub allow_older: bool,
    /// What the channel keeps of its promotions; nothing where another configuration says that.
    pub keep: Option<Keep>,
    /// Whether to do it; else only the plan is returned.
    pub apply: bool,
}

/// What a promotion did, or would do.
#[derive(Debug, Clone)]
pub struct PromoteReport {
    /// The count of this promotion of the tag.
    pub seq: u32,
    /// The steps in their order, as planned.
    pub promotion: Promotion,
    /// The names of the boxes whose tags were moved now.
    pub moved: Vec<String>,
    /// Whether everything was done when it began.
    pub was_done: bool,
}

/// Why a promotion was not done.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// The registry or the ledger did not answer as needed.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The ledger did not answer as needed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry did not answer as needed; nothing was moved.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Boxes of the set are not there.
    #[error("{} cannot be promoted: {why}", names.join(", "))]
    Missing {
        /// The boxes.
        names: Vec<String>,
        /// Why the first of them is not there.
        why: String,
        /// The channel for which they have to be built, if they are reserved for it.
        channel: Option<String>,
    },
    /// An image of an earlier promotion is not there any more.
    #[error("{name} cannot be promoted: {digest} is gone from {repository}")]
    Gone {
        /// The box.
        name: String,
        /// Where it was.
        repository: Repository,
        /// Its image.
        digest: Digest,
    },
    /// A promotion's record names what it cannot have promoted.
    #[error("{record} in the ledger is not believed: {name}: {why}")]
    Doubtful {
        /// The record's tag.
        record: String,
        /// The box.
        name: String,
        /// Why.
        why: String,
    },
    /// A sweep is about to delete an image of the set.
    #[error("{name} cannot be promoted: clean is about to delete {digest}, and may be until {until}")]
    Going {
        /// The box.
        name: String,
        /// Its image.
        digest: Digest,
        /// When it must have ended.
        until: String,
    },
    /// There is no promotion to take.
    #[error("{name}: {why}")]
    NoSet {
        /// The tag, or one of its promotions.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// An image could not be copied; no tag was moved.
    #[error("failed to copy {name}")]
    Copy {
        /// The box.
        name: String,
        /// Why.
        source: CopyError,
    },
    /// The rules of the channel forbid it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The registry takes no writes from us.
    #[error("this registry takes no writes from here")]
    ReadOnly,
    /// It stopped after some tags had moved.
    #[error("promotion to {tag} stopped at {name}: {why}; moved: {}; left: {}", list(moved), list(left))]
    Partly {
        /// The tag.
        tag: Tag,
        /// The box at which it stopped.
        name: String,
        /// Why.
        why: String,
        /// The boxes whose tags point to their wanted digest.
        moved: Vec<String>,
        /// The boxes whose tags do not.
        left: Vec<String>,
    },
    /// It was stopped; what had begun was waited for, for a moment.
    #[error("promotion to {tag} was interrupted; {}", how_far(moved, left))]
    Interrupted {
        /// The tag.
        tag: Tag,
        /// The boxes whose tags point to their wanted digest.
        moved: Vec<String>,
        /// The boxes whose tags do not, or are not known to.
        left: Vec<String>,
    },
    /// The lease ended again and again before the next write.
    #[error("the lease ended again and again before promotion to {tag} was done")]
    Lapsed {
        /// The tag.
        tag: Tag,
    },
    /// A tag holds neither the wanted digest nor the one that was planned from.
    #[error("tag {tag} of {name} was moved by somebody else: it holds {found}, not {expected}")]
    Conflict {
        /// The tag.
        tag: Tag,
        /// The box.
        name: String,
        /// What it holds.
        found: String,
        /// What it held when the promotion was planned.
        expected: String,
    },
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn how_far(moved: &[String], left: &[String]) -> String {
    match (moved.is_empty(), left.is_empty()) {
        (true, _) => "no tag is known to have moved".to_owned(),
        (false, true) => format!("moved: {}; left: the set record", list(moved)),
        (false, false) => format!("moved: {}; left: {}", list(moved), list(left)),
    }
}

/// Promotes a set.
///
/// The lease keeps the images until the plan record stands, which keeps them from then on.
/// When `cancel` is cancelled what was sent is waited for, for a moment, and nothing new is
/// written.
pub async fn promote(
    ports: Ports<'_>,
    setting: &Setting,
    content: Content<'_>,
    options: &PromoteOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<PromoteReport, PromoteError> {
    let ledger = Ledger::new(ports.registry, &setting.ledger);
    let resolve = async |now| resolve(ports, setting, ledger, content, options, now).await;
    let look = async || resolve(content.under(ports, setting, &options.tag).await?).await;
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
    let carrier = Carrier::new(ports, setting, &options.tag, content, emit);
    match carrier.carry(&resolve, record, cancel).await {
        // Whoever may not even read has a wrong password, and not too few rights.
        Err(PromoteError::ReadOnly) => Err(look().await.err().unwrap_or(PromoteError::ReadOnly)),
        done => done,
    }
}

impl PromoteError {
    pub(crate) fn missing(names: Vec<String>, why: String) -> Self {
        Self::Missing { names, why, channel: None }
    }

    /// Names the channel, if what is missing is reserved for some: no other build makes it.
    pub(crate) fn in_channel(self, content: Content<'_>, channel: &str) -> Self {
        match (self, content) {
            (Self::Missing { names, why, .. }, Content::Boxes(boxes)) => {
                let reserved = boxes.iter().filter(|keyed| !keyed.spec.only.is_empty());
                let is_reserved = reserved.into_iter().any(|keyed| names.contains(&keyed.wanted.name));
                let channel = is_reserved.then(|| channel.to_owned());
                Self::Missing { names, why, channel }
            }
            (error, _) => error,
        }
    }

    /// It was stopped before any tag moved.
    pub(crate) fn stopped(tag: &Tag) -> Self {
        Self::Interrupted { tag: tag.clone(), moved: Vec::new(), left: Vec::new() }
    }
}

/// What was resolved, and planned from it.
pub(crate) struct Resolution {
    pub promotion: Promotion,
    /// The plan record of its count, if somebody else has begun one.
    pub begun: Option<Digest>,
    /// The manifests that the tags are to hold, by step.
    pub manifests: Vec<RawManifest>,
}

/// Reads what is promoted and the tag's past, and plans from `now`, what the tags hold.
async fn resolve(
    ports: Ports<'_>,
    setting: &Setting,
    ledger: Ledger<'_>,
    content: Content<'_>,
    options: &PromoteOptions,
    now: Vec<Option<Digest>>,
) -> Result<Resolution, PromoteError> {
    let resolved = content.resolve(ports, setting, ledger.past(&options.tag)).await;
    let (past, resolved) = resolved.map_err(|error| error.in_channel(content, &options.channel))?;
    let is_there = resolved.iter().zip(&now).all(|(one, now)| now.as_ref() == Some(one.manifest.digest()));
    // A promotion of this very set that has ended meanwhile left nothing to do.
    let now = match !is_there && past.is_last(&resolved) {
        true => content.under(ports, setting, &options.tag).await?,
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
    setting: &Setting,
    ledger: Ledger<'_>,
    content: Content<'_>,
    members: Vec<Member>,
    past: &PastRecords,
    options: &PromoteOptions,
) -> Result<Promotion, PromoteError> {
    if let Some(ending) = &past.ending
        && holds_up(ending, options.keep.as_ref(), ledger.now().await?)
    {
        let (tag, since, why) = (options.tag.clone(), ending.marked.human(), ending.reason.clone());
        return Err(Refusal::Ending { tag, since, why }.into());
    }
    let from = content.from();
    let wish = Wish {
        tag: &options.tag,
        immutable: options.immutable,
        allow_older: options.allow_older,
        source: content.source(setting),
        from: from.as_ref(),
    };
    Ok(promotion(&wish, members, past.as_past())?)
}

pub(crate) fn record(
    setting: &Setting,
    content: Content<'_>,
    options: &PromoteOptions,
    planned: &Promotion,
    now: crate::model::Timestamp,
) -> SetRecord {
    let set_box = |step: &Step| SetBox {
        name: step.member.name.clone(),
        repository: step.member.repository.name().to_owned(),
        key: step.member.tag.key().clone(),
        content_tag: step.member.tag.tag(),
        digest: step.member.digest.clone(),
        before: step.before.clone(),
    };
    SetRecord {
        tag: options.tag.clone(),
        channel: options.channel.clone(),
        seq: planned.seq,
        promoted: now,
        run: setting.run.clone(),
        source: content.source(setting).clone(),
        from: content.from(),
        copied: content.copied(),
        withdrawn: content.withdrawn(),
        boxes: planned.steps.iter().map(set_box).collect(),
    }
}

impl PromoteReport {
    /// Returns the boxes whose tags have still to move.
    pub fn to_move(&self) -> BTreeMap<&str, &Digest> {
        let left = self.promotion.steps.iter().filter(|step| step.state == StepState::Move);
        left.map(|step| (step.member.name.as_str(), &step.member.digest)).collect()
    }
}
