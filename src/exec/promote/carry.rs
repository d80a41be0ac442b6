//! Carries out what a [`Promoter`] asks for.
//!
//! Tags move by writing the very bytes of the manifest under another name: nothing is
//! pulled, rebuilt or uploaded. All boxes' requests go out together; the client bounds how many
//! are under way.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::exec::event::{Emit, Event};
use crate::exec::ledger::lease::{Held, release, take_lease};
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::ledger::{Ledger, LedgerError};
use crate::exec::pace;
use crate::exec::promote::content::PromotionSource;
use crate::exec::promote::error::{PromoteError, PromoteReport};
use crate::exec::promote::resolve::Resolution;
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::{
    Digest, PlanRecord, PromotionRecord, Purpose, RawManifest, Record, RecordTag, Tag, Timestamp,
};
use crate::plan::{Promotion, Step};
use crate::port::{Reference, RegistryError};
use crate::protocol::{Promoter, PromoterAction, PromoterEnd, PromoterInput, Put, Why, pause};

/// A promotion at work.
pub(crate) struct PromotionExecutor<'a> {
    ports: RegistryPorts<'a>,
    setting: &'a RunContext,
    ledger: Ledger<'a>,
    tag: &'a Tag,
    content: PromotionSource<'a>,
    emit: Emit<'a>,
    leases: Vec<Held>,
    /// What the tags held while the lease was taken.
    under: Option<Result<Vec<Option<Digest>>, PromoteError>>,
    /// The bytes that the tags are to hold, by step.
    manifests: Vec<RawManifest>,
    /// The steps of which it was told that their tags stand.
    told: BTreeSet<usize>,
    /// The record that is written twice: as plan and as set.
    record: Option<PromotionRecord>,
    error: Option<PromoteError>,
    /// Whether there was nothing to do when it began.
    was_done: Option<bool>,
}

impl<'a> PromotionExecutor<'a> {
    pub fn new(
        ports: RegistryPorts<'a>,
        setting: &'a RunContext,
        tag: &'a Tag,
        content: PromotionSource<'a>,
        emit: Emit<'a>,
    ) -> Self {
        let ledger = Ledger::new(ports.registry, &setting.ledger);
        Self {
            ports,
            setting,
            ledger,
            tag,
            content,
            emit,
            leases: Vec::new(),
            under: None,
            manifests: Vec::new(),
            told: BTreeSet::new(),
            record: None,
            error: None,
            was_done: None,
        }
    }

    /// Promotes what `resolve` plans under the lease, writing what `record` makes of it.
    pub async fn carry(
        mut self,
        resolve: impl AsyncFn(Vec<Option<Digest>>) -> Result<Resolution, PromoteError>,
        record: impl Fn(&Promotion, Timestamp) -> PromotionRecord,
        cancel: &CancellationToken,
    ) -> Result<PromoteReport, PromoteError> {
        let mut promoter = Promoter::default();
        let mut is_interrupted = false;
        let end = loop {
            let action = promoter.next();
            if let PromoterAction::End(end) = action {
                break end;
            }
            let late = late(cancel, &action);
            let work = async {
                match action {
                    PromoterAction::Resolve => {
                        self.resolve(&resolve).await.map(|Resolution { promotion, begun, manifests }| {
                            let now = self.leases.last().map(|held| held.now(self.ports.clock));
                            self.record = Some(record(&promotion, now.unwrap_or_default()));
                            self.was_done.get_or_insert(promotion.is_done());
                            self.manifests = manifests;
                            PromoterInput::Planned(Arc::new(promotion), begun)
                        })
                    }
                    action => self.act(action, promoter.plan().map_or(&[], |plan| &plan.steps)).await,
                }
            };
            let saw = tokio::select! {
                biased;
                () = late => {
                    is_interrupted = true;
                    Err(PromoteError::stopped(self.tag))
                }
                saw = work => saw,
            };
            promoter = promoter.observe(saw.unwrap_or_else(|error| {
                self.error = Some(error);
                PromoterInput::Failed
            }));
            self.tell(&promoter);
        };
        match (end, promoter.plan()) {
            (PromoterEnd::Done { moved }, Some(plan)) => {
                let name = |at: usize| plan.steps.get(at).map(|step| step.member.name.clone());
                let moved = moved.into_iter().filter_map(name).collect();
                let was_done = self.was_done == Some(true);
                Ok(PromoteReport { seq: plan.seq, was_done, moved, promotion: plan.clone() })
            }
            (PromoterEnd::Stopped { partly, .. }, plan) if is_interrupted => {
                let steps = plan.map_or(&[][..], |plan| &plan.steps);
                let (moved, left) = parted(&partly.unwrap_or_else(|| (0..steps.len()).collect()), steps);
                Err(PromoteError::Interrupted { tag: self.tag.clone(), moved, left })
            }
            (PromoterEnd::Stopped { why, partly }, plan) => {
                let steps = plan.map_or(&[][..], |plan| &plan.steps);
                let error = self.why(why, plan, steps);
                Err(match partly {
                    Some(left) => self.partly(&left, steps, error),
                    None => error,
                })
            }
            (PromoterEnd::Done { .. }, None) => Err(PromoteError::Lapsed { tag: self.tag.clone() }),
        }
    }

    /// Plans from what the tags held while the lease was taken; when it has to do so again, from
    /// what they hold now.
    async fn resolve(
        &mut self,
        resolve: impl AsyncFn(Vec<Option<Digest>>) -> Result<Resolution, PromoteError>,
    ) -> Result<Resolution, PromoteError> {
        let under = match self.under.take() {
            Some(under) => under,
            None => self.content.under(self.ports.registry, self.setting, self.tag).await,
        };
        resolve(under?).await
    }

    async fn act(&mut self, action: PromoterAction, steps: &[Step]) -> Result<PromoterInput, PromoteError> {
        let Self { ports, setting, tag, content, emit, .. } = *self;
        let registry = ports.registry;
        let at = Reference::Tag(tag.clone());
        let member = |index: usize| steps.get(index).map(|step| &step.member);
        Ok(match action {
            PromoterAction::Lease => {
                // What the tags hold needs no lease; what is left of it counts from before.
                let lease = take_lease(ports, setting, Purpose::Promoting, content.keys(), emit);
                let (held, under) = tokio::join!(lease, content.under(registry, setting, tag));
                self.under = Some(under);
                let held = held?;
                let is_held = held.is_some();
                self.leases.extend(held);
                PromoterInput::Leased { is_held }
            }
            PromoterAction::Clock => {
                let held = self.leases.last();
                PromoterInput::Clock { is_short: held.is_none_or(|held| held.is_short(ports.clock)) }
            }
            PromoterAction::WritePlan => {
                let (tag, plan) = self.plan_record()?;
                LedgerWriter::new(ports, &setting.ledger)?.put(&tag, &plan).await?;
                PromoterInput::Written
            }
            PromoterAction::WriteSet => self.write_set().await?,
            PromoterAction::Look { is_new } => {
                let heads = steps.iter().map(|step| registry.head(&step.member.repository, &at));
                let heads = async { Ok(futures_util::future::try_join_all(heads).await?) };
                let (found, theirs) = futures_util::try_join!(heads, self.read_plan(is_new))?;
                theirs.map_or(PromoterInput::Looked(found), PromoterInput::Taken)
            }
            PromoterAction::Put(puts) => {
                let manifests = &self.manifests;
                let puts = puts.iter().filter_map(|step| Some((member(*step)?, manifests.get(*step)?)));
                let writer = ports.writer()?;
                let puts = puts.map(|(member, manifest)| writer.put(&member.repository, &at, manifest));
                let done = futures_util::future::join_all(puts).await;
                PromoterInput::Put(done.into_iter().map(|done| self.put(done)).collect())
            }
            PromoterAction::ReadBack { steps, reads } => {
                tokio::time::sleep(pause(reads)).await;
                let reads = steps.iter().filter_map(|step| member(*step));
                let reads = reads.map(|member| registry.get(&member.repository, &at));
                let all: Vec<_> = futures_util::future::try_join_all(reads).await?;
                let digest = |raw: Option<RawManifest>| raw.map(|raw| raw.digest().clone());
                PromoterInput::Holds(all.into_iter().map(digest).collect())
            }
            PromoterAction::Release => {
                release(ports, setting, &self.leases, emit).await;
                PromoterInput::Done
            }
            PromoterAction::Resolve | PromoterAction::End(_) => PromoterInput::Done,
        })
    }

    /// Tells of the tags that stand, each once.
    fn tell(&mut self, promoter: &Promoter) {
        let steps = promoter.plan().map_or(&[][..], |plan| &plan.steps);
        for &step in promoter.standing() {
            if let Some(member) = steps.get(step).map(|step| &step.member).filter(|_| self.told.insert(step))
            {
                let (name, digest) = (member.name.clone(), member.digest.clone());
                let reference = format!("{}:{}", member.repository, self.tag);
                (self.emit)(Event::Tagged { name, reference, digest });
            }
        }
    }

    /// Says what came of a put, and keeps the first error.
    fn put(&mut self, done: Result<(), RegistryError>) -> Put {
        let Err(error) = done else { return Put::Written };
        let put = if error.failure.is_denied() { Put::Refused } else { Put::Unknown };
        self.error.get_or_insert(error.into());
        put
    }

    /// Returns the record that says what is wanted, which is written twice: as plan and as set.
    fn record(&self) -> Result<&PromotionRecord, PromoteError> {
        self.record.as_ref().ok_or_else(|| PromoteError::Lapsed { tag: self.tag.clone() })
    }

    fn plan_record(&self) -> Result<(Tag, RawManifest), PromoteError> {
        let record = self.record()?;
        let tag = self.ledger.tag(&RecordTag::Plan { tag: self.tag.clone(), seq: record.seq })?;
        Ok((tag, PlanRecord(record.clone()).to_manifest()))
    }

    /// Reads our plan record back, if it `is_new`; returns somebody else's that stands in its place.
    async fn read_plan(&self, is_new: bool) -> Result<Option<Digest>, PromoteError> {
        if !is_new {
            return Ok(None);
        }
        let (tag, plan) = self.plan_record()?;
        match self.ledger.read_back(&tag, &plan).await {
            Err(error @ LedgerError::NotOurs { .. }) => {
                Ok(Some(self.ledger.digest(&tag).await?.ok_or(error)?))
            }
            done => Ok(done.map(|()| None)?),
        }
    }

    /// Writes the set record. One of another promotion that says the same is as good as ours.
    async fn write_set(&self) -> Result<PromoterInput, PromoteError> {
        let record = self.record()?;
        let tag = self.ledger.tag(&RecordTag::Set { tag: self.tag.clone(), seq: record.seq })?;
        let ledger = LedgerWriter::new(self.ports, &self.setting.ledger)?;
        let written = ledger.write(&tag, record).await;
        let Err(error @ LedgerError::NotOurs { .. }) = written else {
            return Ok(written.map(|_| PromoterInput::Written)?);
        };
        match self.ledger.read::<PromotionRecord>(&tag).await? {
            // An older source under our images would let what lies between move the tag back.
            Some(theirs) if theirs.has_images_of(record) && !theirs.source.is_older_than(&record.source) => {
                Ok(PromoterInput::Written)
            }
            _ => Err(error.into()),
        }
    }

    /// Says why it stopped.
    fn why(&mut self, why: Why, plan: Option<&Promotion>, steps: &[Step]) -> PromoteError {
        let words =
            |digest: Option<Digest>| digest.map_or_else(|| "nothing".to_owned(), |one| one.to_string());
        let name = |at: usize| steps.get(at).map_or_else(String::new, |step| step.member.name.clone());
        let tag = self.tag.clone();
        match why {
            Why::Failed => self.error.take().unwrap_or(PromoteError::Lapsed { tag }),
            Why::ReadOnly => PromoteError::ReadOnly,
            Why::Lapsed => PromoteError::Lapsed { tag },
            Why::Conflict { step, found, expected } => PromoteError::Conflict {
                tag,
                name: name(step),
                found: words(found),
                expected: words(expected),
            },
            Why::Taken(found) => {
                let seq = plan.map_or(0, |plan| plan.seq);
                let tag = self.ledger.tag(&RecordTag::Plan { tag: tag.clone(), seq }).unwrap_or(tag);
                let (name, expected) = ("the ledger".to_owned(), "nothing".to_owned());
                PromoteError::Conflict { tag, name, found: found.to_string(), expected }
            }
        }
    }

    /// Says that it stopped after some tags had moved or may have.
    fn partly(&self, left: &[usize], steps: &[Step], error: PromoteError) -> PromoteError {
        let (moved, left) = parted(left, steps);
        PromoteError::Partly {
            tag: self.tag.clone(),
            name: left.first().cloned().unwrap_or_else(|| "the set record".to_owned()),
            error: Box::new(error),
            moved,
            left,
        }
    }
}

/// Names the boxes whose tags stand, and those of the steps that are left.
fn parted(left: &[usize], steps: &[Step]) -> (Vec<String>, Vec<String>) {
    let names = |is_left: bool| {
        let steps = steps.iter().enumerate().filter(move |(index, _)| left.contains(index) == is_left);
        steps.map(|(_, step)| step.member.name.clone()).collect()
    };
    (names(false), names(true))
}

/// Ends when a promotion that was stopped has to let go of this action. Of what was written one
/// wants to know what came of it, and which tags stand.
fn late<'a>(cancel: &'a CancellationToken, action: &PromoterAction) -> impl Future<Output = ()> + use<'a> {
    use PromoterAction::{Clock, Lease, Put, ReadBack, Release, WritePlan, WriteSet};
    let may_begin = matches!(action, Clock | ReadBack { reads: 0, .. } | Release);
    let is_waited_for = may_begin || matches!(action, Lease | WritePlan | Put(_) | WriteSet);
    async move {
        if cancel.is_cancelled() && !may_begin {
            return;
        }
        cancel.cancelled().await;
        if is_waited_for {
            tokio::time::sleep(pace::PATIENCE).await;
        }
    }
}
