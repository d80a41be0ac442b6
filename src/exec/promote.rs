//! The promotion protocol: resolve once, check, write the plan, move tags in a fixed order
//! with a read-back each, and the set record last.
//!
//! Tags move by writing the very bytes of the manifest under another name: nothing is
//! pulled, rebuilt or uploaded.

use std::collections::BTreeMap;

use super::build::{BuildError, release, take_lease};
use super::content::Content;
use super::event::{Emit, Event};
use super::ledger::{Ledger, LedgerError};
use super::{Ports, Setting};
use crate::model::{Digest, RawManifest, RecordTag, SetBox, SetRecord, Tag};
use crate::plan::{Promotion, Refusal, Step, StepState, Wish, promotion};
use crate::port::{Reference, RegistryError};

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

/// How often a tag is read until it shows what was written.
const READS: u32 = 5;

/// Promotes a set.
///
/// The lease keeps the images until the plan record stands, which keeps them from then on.
pub async fn promote(
    ports: Ports<'_>,
    setting: &Setting,
    content: Content<'_>,
    options: &PromoteOptions,
    emit: Emit<'_>,
) -> Result<PromoteReport, PromoteError> {
    let ledger = Ledger::new(ports.registry, &setting.ledger);
    let held = if options.apply {
        Some(take_lease(ports, setting, ledger, content.keys(), emit).await?.ok_or(PromoteError::ReadOnly)?)
    } else {
        None
    };
    let planned = match plan_promotion(ports, setting, ledger, content, options).await {
        Ok(planned) => planned,
        Err(error) => {
            // Whoever builds what is missing need not wait for us.
            release(ledger, held.as_slice(), emit).await;
            return Err(error);
        }
    };
    let report = PromoteReport {
        seq: planned.seq,
        was_done: planned.is_done(),
        moved: Vec::new(),
        promotion: planned,
    };
    let Some(held) = held.filter(|_| !report.was_done) else { return Ok(report) };
    let record = record(setting, content, options, &report.promotion, held.now(ports.clock));
    if !report.promotion.is_resumed {
        begin(ledger, options, &record).await?;
    }
    let moved = move_tags(ports, options, &report.promotion, emit).await?;
    let finish = async {
        confirm(ports, options, &report.promotion).await?;
        let set_tag = record_tag(ledger, RecordTag::Set { tag: options.tag.clone(), seq: report.seq })?;
        ledger.write(&set_tag, &record).await?;
        Ok::<(), PromoteError>(())
    };
    finish.await.map_err(|error| PromoteError::Partly {
        tag: options.tag.clone(),
        name: "the set record".to_owned(),
        why: error.to_string(),
        moved: names(&report.promotion.steps),
        left: Vec::new(),
    })?;
    Ok(PromoteReport { moved, ..report })
}

async fn plan_promotion(
    ports: Ports<'_>,
    setting: &Setting,
    ledger: Ledger<'_>,
    content: Content<'_>,
    options: &PromoteOptions,
) -> Result<Promotion, PromoteError> {
    let members = content.resolve(ports, setting, ledger, &options.tag).await?;
    let past = ledger.past(&options.tag).await?;
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

/// Writes the plan record, unless somebody else has begun a promotion since ours was planned.
async fn begin(ledger: Ledger<'_>, options: &PromoteOptions, record: &SetRecord) -> Result<(), PromoteError> {
    let plan_tag = record_tag(ledger, RecordTag::Plan { tag: options.tag.clone(), seq: record.seq })?;
    if let Some(found) = ledger.digest(&plan_tag).await? {
        let name = "the ledger".to_owned();
        return Err(PromoteError::Conflict {
            tag: plan_tag,
            name,
            found: found.to_string(),
            expected: "nothing".to_owned(),
        });
    }
    ledger.write(&plan_tag, record).await?;
    Ok(())
}

fn names(steps: &[Step]) -> Vec<String> {
    steps.iter().map(|step| step.member.name.clone()).collect()
}

fn record(
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
        withdrawn: content.withdrawn(),
        boxes: planned.steps.iter().map(set_box).collect(),
    }
}

pub(super) fn record_tag(ledger: Ledger<'_>, record: RecordTag) -> Result<Tag, LedgerError> {
    record.tag().map_err(|error| ledger.bad_tag(&record.to_string(), error))
}

async fn move_tags(
    ports: Ports<'_>,
    options: &PromoteOptions,
    planned: &Promotion,
    emit: Emit<'_>,
) -> Result<Vec<String>, PromoteError> {
    let mut moved: Vec<String> = Vec::new();
    for (index, step) in planned.steps.iter().enumerate() {
        let member = &step.member;
        match move_tag(ports, &options.tag, step).await {
            Ok(wrote) => {
                if wrote {
                    moved.push(member.name.clone());
                }
                let reference = format!("{}:{}", member.repository, options.tag);
                emit(Event::Tagged { name: member.name.clone(), reference, digest: member.digest.clone() });
            }
            Err(Stopped { error, may_have_written }) => {
                let (before, left) = planned.steps.split_at(index);
                let is_begun = before.iter().any(|step| step.before.as_ref() != Some(&step.member.digest));
                // As long as no tag has moved, a refusal is only a refusal.
                if !is_begun && !may_have_written {
                    return Err(error);
                }
                return Err(PromoteError::Partly {
                    tag: options.tag.clone(),
                    name: member.name.clone(),
                    why: error.to_string(),
                    moved: names(before),
                    left: names(left),
                });
            }
        }
    }
    Ok(moved)
}

/// Why one tag was not moved.
struct Stopped {
    error: PromoteError,
    /// Whether the tag may have moved nevertheless.
    may_have_written: bool,
}

/// Moves one tag; tells whether it wrote.
async fn move_tag(ports: Ports<'_>, tag: &Tag, step: &Step) -> Result<bool, Stopped> {
    let untouched = |error| Stopped { error, may_have_written: false };
    let Some(raw) = to_write(ports, tag, step).await.map_err(untouched)? else { return Ok(false) };
    let (repository, at) = (&step.member.repository, Reference::Tag(tag.clone()));
    ports
        .registry
        .put(repository, &at, &raw)
        .await
        .map_err(|error| Stopped { may_have_written: !error.failure.is_refusal(), error: error.into() })?;
    read_back(ports, tag, step).await.map_err(|error| Stopped {
        may_have_written: !matches!(error, PromoteError::Conflict { .. }),
        error,
    })?;
    Ok(true)
}

/// Returns what is to be written under the tag; nothing if it is there.
async fn to_write(ports: Ports<'_>, tag: &Tag, step: &Step) -> Result<Option<RawManifest>, PromoteError> {
    let member = &step.member;
    let found = ports.registry.head(&member.repository, &tag.clone().into()).await?;
    if found.as_ref() == Some(&member.digest) {
        return Ok(None);
    }
    if found != step.before {
        return Err(conflict(tag, step, found.as_ref(), step.before.as_ref()));
    }
    let content = Reference::Digest(member.digest.clone());
    let raw = ports.registry.get(&member.repository, &content).await?;
    raw.map(Some).ok_or_else(|| PromoteError::Missing {
        names: vec![member.name.clone()],
        why: format!("{} is gone from {}", member.digest, member.repository),
    })
}

/// Reads a tag until it shows what was written.
async fn read_back(ports: Ports<'_>, tag: &Tag, step: &Step) -> Result<(), PromoteError> {
    let member = &step.member;
    // A registry may show the old value for a while; a third value is somebody else's.
    let mut pause = std::time::Duration::from_millis(50);
    let mut now = None;
    for _ in 0..READS {
        let raw = ports.registry.get(&member.repository, &tag.clone().into()).await?;
        now = raw.map(|raw| raw.digest().clone());
        if now.as_ref() == Some(&member.digest) {
            return Ok(());
        }
        if now.is_some() && now != step.before {
            break;
        }
        tokio::time::sleep(pause).await;
        pause *= 3;
    }
    Err(conflict(tag, step, now.as_ref(), Some(&member.digest)))
}

/// Checks that all tags stand together: another promotion may have moved one after it was
/// read back.
async fn confirm(
    ports: Ports<'_>,
    options: &PromoteOptions,
    planned: &Promotion,
) -> Result<(), PromoteError> {
    let looks = planned.steps.iter().map(|step| async move {
        let member = &step.member;
        let now = ports.registry.head(&member.repository, &options.tag.clone().into()).await?;
        match now.as_ref() == Some(&member.digest) {
            true => Ok(()),
            false => Err(conflict(&options.tag, step, now.as_ref(), Some(&member.digest))),
        }
    });
    futures_util::future::try_join_all(looks).await.map(drop)
}

fn conflict(tag: &Tag, step: &Step, found: Option<&Digest>, expected: Option<&Digest>) -> PromoteError {
    let words = |digest: Option<&Digest>| digest.map_or_else(|| "nothing".to_owned(), Digest::to_string);
    PromoteError::Conflict {
        tag: tag.clone(),
        name: step.member.name.clone(),
        found: words(found),
        expected: words(expected),
    }
}

/// Lists what a promotion would move, by box.
impl PromoteReport {
    /// Returns the boxes whose tags have still to move.
    pub fn to_move(&self) -> BTreeMap<&str, &Digest> {
        let left = self.promotion.steps.iter().filter(|step| step.state == StepState::Move);
        left.map(|step| (step.member.name.as_str(), &step.member.digest)).collect()
    }
}
