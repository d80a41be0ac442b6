//! Carries out what a [`Promoter`] asks for.
//!
//! Tags move by writing the very bytes of the manifest under another name: nothing is
//! pulled, rebuilt or uploaded. All boxes' requests go out together; the client bounds how many
//! are under way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::build::{release, take_lease};
use super::clean::PATIENCE;
use super::event::{Emit, Event};
use super::ledger::{Held, Ledger, LedgerError};
use super::promote::{PromoteError, PromoteReport, record_tag};
use super::{Ports, Setting};
use crate::model::{Digest, Key, PlanRecord, RawManifest, RecordTag, SetRecord, Tag, Timestamp};
use crate::plan::{Look, Promoter, PromoterAction, PromoterEnd, PromoterSaw, Promotion, Put, Step, Why};
use crate::port::{Reference, RegistryError};
use crate::retention::pause;

/// A promotion at work.
pub(super) struct Carrier<'a> {
    ports: Ports<'a>,
    setting: &'a Setting,
    ledger: Ledger<'a>,
    tag: &'a Tag,
    keys: Vec<Key>,
    emit: Emit<'a>,
    leases: Vec<Held>,
    /// The bytes that were read, by step.
    raw: BTreeMap<usize, RawManifest>,
    /// The steps of which it was told that their tags stand.
    told: BTreeSet<usize>,
    /// The record that is written twice: as plan and as set.
    record: Option<SetRecord>,
    error: Option<PromoteError>,
    /// Whether there was nothing to do when it began.
    was_done: Option<bool>,
}

impl<'a> Carrier<'a> {
    pub fn new(ports: Ports<'a>, setting: &'a Setting, tag: &'a Tag, keys: Vec<Key>, emit: Emit<'a>) -> Self {
        let ledger = Ledger::new(ports.registry, &setting.ledger);
        Self {
            ports,
            setting,
            ledger,
            tag,
            keys,
            emit,
            leases: Vec::new(),
            raw: BTreeMap::new(),
            told: BTreeSet::new(),
            record: None,
            error: None,
            was_done: None,
        }
    }

    /// Promotes what `resolve` plans under the lease, writing what `record` makes of it.
    pub async fn carry(
        mut self,
        resolve: impl AsyncFn() -> Result<Promotion, PromoteError>,
        record: impl Fn(&Promotion, Timestamp) -> SetRecord,
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
                    PromoterAction::Resolve => resolve().await.map(|planned| {
                        let now = self.leases.last().map(|held| held.now(self.ports.clock));
                        self.record = Some(record(&planned, now.unwrap_or_default()));
                        self.was_done.get_or_insert(planned.is_done());
                        PromoterSaw::Planned(Arc::new(planned))
                    }),
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
                PromoterSaw::Failed
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
                    Some(left) => self.partly(&left, steps, &error),
                    None => error,
                })
            }
            (PromoterEnd::Done { .. }, None) => Err(PromoteError::Lapsed { tag: self.tag.clone() }),
        }
    }

    async fn act(&mut self, action: PromoterAction, steps: &[Step]) -> Result<PromoterSaw, PromoteError> {
        let Self { ports, setting, ledger, tag, emit, .. } = *self;
        let registry = ports.registry;
        let at = Reference::Tag(tag.clone());
        let member = |index: usize| steps.get(index).map(|step| &step.member);
        Ok(match action {
            PromoterAction::Lease => {
                let held = take_lease(ports, setting, ledger, self.keys.clone(), emit).await?;
                let is_held = held.is_some();
                self.leases.extend(held);
                PromoterSaw::Leased { is_held }
            }
            PromoterAction::Clock => {
                let held = self.leases.last();
                PromoterSaw::Clock { is_short: held.is_none_or(|held| held.is_short(ports.clock)) }
            }
            PromoterAction::FindPlan => PromoterSaw::Plan(ledger.digest(&self.record_tag(true)?).await?),
            PromoterAction::WritePlan => self.write(true).await?,
            PromoterAction::WriteSet => self.write(false).await?,
            PromoterAction::Look => {
                let looks = steps.iter().map(async |step| {
                    let (member, content) = (&step.member, Reference::Digest(step.member.digest.clone()));
                    let holds = registry.head(&member.repository, &at);
                    futures_util::try_join!(holds, registry.get(&member.repository, &content))
                });
                let all: Vec<_> = futures_util::future::try_join_all(looks).await?;
                let look = |(holds, raw): &(_, Option<RawManifest>)| Look {
                    holds: Option::clone(holds),
                    is_there: raw.is_some(),
                };
                let looks = all.iter().map(look).collect();
                let raw = all.into_iter().enumerate().filter_map(|(step, (_, raw))| Some((step, raw?)));
                self.raw = raw.collect();
                PromoterSaw::Looked(looks)
            }
            PromoterAction::Put(puts) => {
                let raw = &self.raw;
                let puts = puts.iter().filter_map(|step| Some((member(*step)?, raw.get(step)?)));
                let puts = puts.map(|(member, raw)| registry.put(&member.repository, &at, raw));
                let done = futures_util::future::join_all(puts).await;
                PromoterSaw::Put(done.into_iter().map(|done| self.put(done)).collect())
            }
            PromoterAction::ReadBack { steps, reads } => {
                tokio::time::sleep(pause(reads)).await;
                let reads = steps.iter().filter_map(|step| member(*step));
                let reads = reads.map(|member| registry.get(&member.repository, &at));
                let all: Vec<_> = futures_util::future::try_join_all(reads).await?;
                let digest = |raw: Option<RawManifest>| raw.map(|raw| raw.digest().clone());
                PromoterSaw::Holds(all.into_iter().map(digest).collect())
            }
            PromoterAction::Release => {
                release(ledger, &self.leases, emit).await;
                PromoterSaw::Done
            }
            PromoterAction::Resolve | PromoterAction::End(_) => PromoterSaw::Done,
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
        let put = if error.failure.is_refusal() { Put::Refused } else { Put::Unknown };
        self.error.get_or_insert(error.into());
        put
    }

    fn record_tag(&self, is_plan: bool) -> Result<Tag, LedgerError> {
        let (tag, seq) = (self.tag.clone(), self.record.as_ref().map_or(0, |record| record.seq));
        let record = if is_plan { RecordTag::Plan { tag, seq } } else { RecordTag::Set { tag, seq } };
        record_tag(self.ledger, record)
    }

    /// Writes one of the two records. Of two promotions of one set at once each may find the
    /// other's: a plan is then looked at anew, and a set that says the same is as good as ours.
    async fn write(&self, is_plan: bool) -> Result<PromoterSaw, LedgerError> {
        let tag = self.record_tag(is_plan)?;
        let Some(record) = &self.record else { return Ok(PromoterSaw::Written) };
        let written = match is_plan {
            true => self.ledger.write(&tag, &PlanRecord(record.clone())).await,
            false => self.ledger.write(&tag, record).await,
        };
        let Err(error @ LedgerError::NotOurs { .. }) = written else {
            return written.map(|_| PromoterSaw::Written);
        };
        if is_plan {
            let found = self.ledger.digest(&tag).await?;
            return found.map(|found| PromoterSaw::Plan(Some(found))).ok_or(error);
        }
        match self.ledger.read::<SetRecord>(&tag).await? {
            // An older source under our images would let what lies between move the tag back.
            Some(theirs) if theirs.has_images_of(record) && !theirs.source.is_older_than(&record.source) => {
                Ok(PromoterSaw::Written)
            }
            _ => Err(error),
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
            Why::Gone(at) => {
                let why = steps.get(at).map_or_else(String::new, |step| {
                    format!("{} is gone from {}", step.member.digest, step.member.repository)
                });
                PromoteError::Missing { names: vec![name(at)], why }
            }
            Why::Taken(found) => {
                let seq = plan.map_or(0, |plan| plan.seq);
                let tag = record_tag(self.ledger, RecordTag::Plan { tag: tag.clone(), seq }).unwrap_or(tag);
                let (name, expected) = ("the ledger".to_owned(), "nothing".to_owned());
                PromoteError::Conflict { tag, name, found: found.to_string(), expected }
            }
        }
    }

    /// Says that it stopped after some tags had moved or may have.
    fn partly(&self, left: &[usize], steps: &[Step], error: &PromoteError) -> PromoteError {
        let (moved, left) = parted(left, steps);
        PromoteError::Partly {
            tag: self.tag.clone(),
            name: left.first().cloned().unwrap_or_else(|| "the set record".to_owned()),
            why: error.to_string(),
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
            tokio::time::sleep(PATIENCE).await;
        }
    }
}
