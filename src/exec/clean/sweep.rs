//! Carries out what a [`Sweeper`](crate::protocol::Sweeper) asks for.

use std::collections::{BTreeMap, BTreeSet};

use crate::exec::clean::error::{CleanError, CleanOptions};
use crate::exec::clean::keep::Keeper;
use crate::exec::clean::limits::{moved, within};
use crate::exec::clean::sightings;
use crate::exec::clean::survey::{Leases, Survey};
use crate::exec::clean::undo::Gone;
use crate::exec::event::{Emit, Event};
use crate::exec::ledger::lease::Held;
use crate::exec::ledger::tombstone::mark;
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::ledger::{Ledger, expire};
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::{
    Key, Lease, Purpose, Record, RecordTag, Sighting, Span, Tag, TaggedDigest, Timestamp, Tombstone,
    UndoRecord, UntagNotice,
};
use crate::port::{Deleted, Reference, RegistryResult};
use crate::protocol::{Answer, CLAIM, SweepAction, SweepInput, has_ended, is_live};
use crate::retention::{Clean, Doomed, Goes, Policy, UNKEPT, Unreadable, decide};

/// Keys that one record claims.
const CLAIMED: usize = 10_000;

/// Carries out a sweep's actions.
pub(crate) struct Sweep<'a> {
    ports: RegistryPorts<'a>,
    ledger: Ledger<'a>,
    options: &'a CleanOptions,
    emit: Emit<'a>,
    setting: &'a RunContext,
    /// What was claimed, in its leases.
    pub claims: Vec<Held>,
    /// The look that is under way, or was the last.
    pub look: Option<Look>,
    /// How many leases that had ended were removed.
    pub expired: usize,
    /// How many other old records were removed.
    pub records: usize,
    /// The image whose deletion was sent last.
    sent: Option<usize>,
    /// What was deleted with all its tags.
    pub gone: Vec<Gone>,
    /// The tags that stay, of the repositories in which something goes.
    pub stays: BTreeMap<String, BTreeSet<Tag>>,
    pub error: Option<CleanError>,
    /// Sightings of what is gone.
    stale: Vec<Sighting>,
    /// Records that some look could not read, and that were therefore not decided on.
    aside: BTreeSet<Unreadable>,
}

pub(crate) struct Look {
    /// The registry's time when it began.
    today: Timestamp,
    /// The time that counts as now.
    pub now: Timestamp,
    leases: Leases,
}

impl<'a> Sweep<'a> {
    pub fn new(
        ports: RegistryPorts<'a>,
        setting: &'a RunContext,
        options: &'a CleanOptions,
        emit: Emit<'a>,
    ) -> Self {
        Self {
            ports,
            ledger: Ledger::new(ports.registry, &setting.ledger),
            options,
            emit,
            setting,
            claims: Vec::new(),
            look: None,
            expired: 0,
            records: 0,
            sent: None,
            gone: Vec::new(),
            stays: BTreeMap::new(),
            error: None,
            stale: Vec::new(),
            aside: BTreeSet::new(),
        }
    }

    /// Does what is asked for; what fails is kept as the error.
    pub async fn act(&mut self, action: &SweepAction, clean: &Clean) -> SweepInput {
        let sweeping = |what, done, all| (self.emit)(Event::Sweeping { what, done, all });
        match *action {
            SweepAction::Condemn(at) => sweeping("marking", at, clean.condemn.len()),
            SweepAction::Keep => sweeping("keeping for undo", 0, clean.delete.len()),
            SweepAction::Head(at) => sweeping("deleting", at, clean.delete.len()),
            SweepAction::Wait if self.options.settle > Span::default() => {
                let settle = self.options.settle;
                let text = format!("waiting {settle}, after which every reader sees what was written before");
                (self.emit)(Event::Note { text });
            }
            _ => {}
        }
        let done = match *action {
            SweepAction::Clock => return SweepInput::Clock(self.ports.clock.elapsed()),
            SweepAction::Claim => self.claim(clean).await.map(|()| SweepInput::Done),
            SweepAction::Leases => self.leases().await.map(|()| SweepInput::Done),
            SweepAction::Wait => {
                tokio::time::sleep(self.options.settle.duration()).await;
                Ok(SweepInput::Done)
            }
            SweepAction::Rest => self.rest().await,
            SweepAction::Condemn(_)
            | SweepAction::Retire(_)
            | SweepAction::Announce(_)
            | SweepAction::Withdraw(_)
            | SweepAction::Sight
            | SweepAction::Records
            | SweepAction::Settle(_)
            | SweepAction::Forget(_) => self.write(action, clean).await.map(|()| SweepInput::Done),
            SweepAction::Keep => match self.keeper() {
                Ok(keeper) => return SweepInput::Kept(keeper.keep(&clean.delete).await),
                Err(error) => Err(error.into()),
            },
            SweepAction::Head(at) => return self.image(clean, at, Asked::Tag).await,
            SweepAction::Delete(at) => return self.image(clean, at, Asked::Deletion).await,
            SweepAction::Find(at) => return self.image(clean, at, Asked::Digest).await,
            SweepAction::End(_) => Ok(SweepInput::Done),
        };
        done.unwrap_or_else(|error| {
            let saw = match &error {
                // Another sweep may have deleted it, or a run given up its lease.
                CleanError::Dangling { .. } | CleanError::Unreadable { .. } => SweepInput::Unsettled,
                _ => SweepInput::Failed(error.to_string()),
            };
            self.error = Some(error);
            saw
        })
    }

    /// Says what is about to go, so that nobody promotes it any more.
    async fn claim(&mut self, clean: &Clean) -> Result<(), CleanError> {
        let keys: BTreeSet<&Key> = clean.delete.iter().filter_map(|doomed| doomed.key.as_ref()).collect();
        let keys: Vec<Key> = keys.into_iter().cloned().collect();
        let setting = RunContext { lease: CLAIM, ..self.setting.clone() };
        let ledger = self.writer()?;
        for some in keys.chunks(CLAIMED) {
            let lease = ledger.lease(&setting, Purpose::Cleaning, some.to_vec(), self.ports.clock);
            self.claims.push(lease.await?.held()?);
        }
        Ok(())
    }

    async fn leases(&mut self) -> Result<(), CleanError> {
        let today = self.ledger.now().await?;
        let now = today.after(self.options.ahead);
        let leases = self.survey(now).leases().await?;
        self.look = Some(Look { today, now, leases });
        Ok(())
    }

    async fn rest(&mut self) -> Result<SweepInput, CleanError> {
        let Some(look) = &self.look else { return Ok(SweepInput::Unsettled) };
        let (mut observed, stale) = self.survey(look.now).rest(&look.leases).await?;
        self.stale = stale;
        // Nothing was claimed because of what an earlier look set aside, so the report names that too.
        self.aside.extend(observed.unreadable.iter().filter(|one| one.stops.is_none()).cloned());
        observed.unreadable.extend(self.aside.iter().cloned());
        let policy = Policy { grace: self.options.grace, now: look.now, today: look.today };
        observed.only = self.options.planned.clone();
        let clean = decide(&observed, policy);
        if let Some(planned) = &self.options.planned
            && let Some(gone) = planned.difference(&clean.actions()).next()
        {
            return Err(CleanError::Moved { what: moved(gone, &clean) });
        }
        within(&clean, &observed, self.options)?;
        self.stays.clear();
        for Doomed { seen, .. } in &clean.delete {
            let all = || observed.tags(&seen.repository).cloned().collect();
            self.stays.entry(seen.repository.clone()).or_insert_with(all).remove(&seen.tag);
        }
        Ok(SweepInput::Observed(Box::new(observed), policy))
    }

    fn writer(&self) -> RegistryResult<LedgerWriter<'a>> {
        LedgerWriter::new(self.ports, &self.setting.ledger)
    }

    fn survey(&self, now: Timestamp) -> Survey<'_> {
        let CleanOptions { repositories, policies, refs, protected, protectors, .. } = self.options;
        let sightings = self.options.sightings.as_ref();
        let sightings = sightings.map(|repository| Ledger::new(self.ports.registry, repository));
        let is_thorough = self.options.apply || self.options.is_thorough;
        let (registry, ledger) = (self.ports.registry, self.ledger);
        let emit = self.emit;
        Survey {
            registry,
            ledger,
            repositories,
            policies,
            refs,
            protected,
            protectors,
            sightings,
            now,
            is_thorough,
            emit,
        }
    }

    /// Writes or deletes a record.
    async fn write(&mut self, action: &SweepAction, clean: &Clean) -> Result<(), CleanError> {
        let ledger = self.writer()?;
        match *action {
            SweepAction::Condemn(at) => {
                let Some(one) = clean.condemn.get(at) else { return Ok(()) };
                let tombstone = Tombstone {
                    key: one.key.clone(),
                    generation: one.generation,
                    // The registry's true time, however far ahead this sweep looks.
                    marked: ledger.now().await?,
                    reason: UNKEPT.to_owned(),
                    images: one.images.clone(),
                    parts: one.parts.clone(),
                };
                mark(ledger, &tombstone).await?;
                self.own(&tombstone, tombstone.marked).await?;
                self.condemned(&one.images);
            }
            SweepAction::Retire(at) => {
                let Some(tombstone) = clean.retire.get(at) else { return Ok(()) };
                mark(ledger, tombstone).await?;
                self.own(tombstone, ledger.now().await?).await?;
            }
            SweepAction::Announce(at) => {
                let Some(ending) = clean.announce.get(at) else { return Ok(()) };
                self.end(ending).await?;
                self.condemned(&ending.images);
            }
            SweepAction::Withdraw(at) => {
                let Some(ending) = clean.withdraw.get(at) else { return Ok(()) };
                self.end(ending).await?;
            }
            SweepAction::Sight => {
                let Some(at) = self.sightings()? else { return Ok(()) };
                let seen = ledger.now().await?;
                sightings::note(at, clean.sight.iter().cloned(), seen, false).await?;
            }
            // What a record would have said of what is gone may be asked for yet.
            SweepAction::Records if clean.stops().next().is_some() => {}
            SweepAction::Records => self.records().await?,
            // What was read, not what was written over it since.
            SweepAction::Settle(at) => {
                let Some(ending) = clean.settled.get(at) else { return Ok(()) };
                ledger.delete(ending.to_manifest().digest()).await?;
            }
            SweepAction::Forget(at) => {
                let Some(tombstone) = clean.forget.get(at) else { return Ok(()) };
                // What the images were made of can be told no longer than of anything else gone.
                // By tag: whoever may push can have put another record there.
                let inputs = ledger.tag(&RecordTag::Inputs { key: tombstone.key.clone() })?;
                ledger.registry.untag(ledger.repository(), &inputs).await?;
                ledger.delete(tombstone.to_manifest().digest()).await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn condemned(&self, images: &[TaggedDigest]) {
        let host = self.ledger.repository().host();
        for TaggedDigest { repository, tag, .. } in images {
            (self.emit)(Event::Condemned { reference: format!("{host}/{repository}:{tag}") });
        }
    }

    /// Writes an announcement, dated by the registry's true time.
    async fn end(&self, ending: &UntagNotice) -> Result<(), CleanError> {
        let ending = UntagNotice { marked: self.ledger.now().await?, ..ending.clone() };
        let tag = RecordTag::Ends { tag: ending.tag.clone(), seq: ending.seq };
        self.writer()?.write(&self.ledger.tag(&tag)?, &ending).await?;
        self.own(&ending, ending.marked).await
    }

    fn sightings(&self) -> RegistryResult<Option<LedgerWriter<'a>>> {
        let repository = self.options.sightings.as_ref();
        repository.map(|repository| LedgerWriter::new(self.ports, repository)).transpose()
    }

    fn keeper(&self) -> RegistryResult<Keeper<'_>> {
        let (registry, ledger, sightings) = (self.ports.writer()?, self.writer()?, self.sightings()?);
        Ok(Keeper { registry, ledger, sightings, options: self.options, run: &self.setting.run })
    }

    /// Notes a record that this sweep has written: whoever writes over it writes another one.
    async fn own<R: Record>(&self, record: &R, seen: Timestamp) -> Result<(), CleanError> {
        let Some(at) = self.sightings()? else { return Ok(()) };
        let one = (record.place(), record.to_manifest().digest().clone());
        Ok(sightings::note(at, std::iter::once(one), seen, true).await?)
    }

    /// Removes records whose time is over, by the registry's true time.
    async fn records(&mut self) -> Result<(), CleanError> {
        let ledger = self.writer()?;
        let now = ledger.now().await?;
        let records = ledger.list().await?;
        for (record, tag) in &records {
            let (answer, count) = match record {
                RecordTag::Lease { expiry, .. } if has_ended(*expiry, now) => {
                    (ledger.expire::<Lease>(tag).await?, &mut self.expired)
                }
                // What claims to last longer than any is a stranger's.
                RecordTag::Undo { expiry, .. } if !is_live(*expiry, now) => {
                    (ledger.expire::<UndoRecord>(tag).await?, &mut self.records)
                }
                _ => continue,
            };
            match answer {
                Some(Deleted::Gone | Deleted::NotFound) => *count += 1,
                Some(Deleted::Refused { .. }) | None => {}
                Some(Deleted::Unsupported) => return Ok(()),
            }
        }
        if let Some(at) = self.sightings()? {
            sightings::forget(at, &self.stale).await?;
        }
        self.records += expire::remove(ledger, &records, self.options.records, now).await?;
        Ok(())
    }

    async fn image(&mut self, clean: &Clean, at: usize, asked: Asked) -> SweepInput {
        let Some(Doomed { seen, goes, .. }) = clean.delete.get(at) else {
            return SweepInput::Holds(None);
        };
        let mut all = self.options.repositories.iter();
        let Some(repository) = all.find(|repository| repository.name() == seen.repository) else {
            return SweepInput::Failed("its repository is none of ours".to_owned());
        };
        let registry = self.ports.registry;
        let (by_tag, by_digest) = (seen.tag.clone().into(), Reference::Digest(seen.digest.clone()));
        let found = match (asked, goes) {
            (Asked::Tag, Goes::Image | Goes::Tag) => registry.head(repository, &by_tag).await,
            // A tag that was removed alone, or that somebody gave to something else.
            (Asked::Digest, Goes::Tag) => {
                let found = registry.head(repository, &by_tag).await;
                found.map(|found| found.filter(|found| *found == seen.digest))
            }
            (Asked::Tag, Goes::Part) | (Asked::Digest, Goes::Image | Goes::Part) => {
                registry.head(repository, &by_digest).await
            }
            (Asked::Deletion, goes) => {
                self.sent = Some(at);
                let answer = match (self.ports.writer(), goes) {
                    (Ok(registry), Goes::Tag) => registry.untag(repository, &seen.tag).await,
                    (Ok(registry), Goes::Image | Goes::Part) => {
                        registry.delete(repository, &seen.digest).await
                    }
                    (Err(error), _) => Err(error),
                };
                return SweepInput::Answered(match answer {
                    Ok(Deleted::Gone | Deleted::NotFound) => Answer::Taken,
                    Ok(Deleted::Unsupported) => Answer::Unsupported,
                    Ok(Deleted::Refused { why }) => Answer::Refused(why),
                    Err(error) => Answer::Failed(error.to_string()),
                });
            }
        };
        if self.sent == Some(at) && matches!((asked, &found), (Asked::Digest, Ok(None))) {
            let tagged = format!("{repository}:{}", seen.tag);
            (self.emit)(match goes {
                Goes::Image => Event::Deleted { reference: tagged },
                Goes::Tag => Event::Untagged { reference: tagged },
                Goes::Part => Event::Deleted { reference: format!("{repository}@{}", seen.digest) },
            });
            if *goes != Goes::Tag {
                let (repository, digest) = (repository.clone(), seen.digest.clone());
                self.gone.push(Gone { image: at, repository, digest });
            }
        }
        found.map_or_else(|error| SweepInput::Failed(error.to_string()), SweepInput::Holds)
    }
}

/// What is asked about an image.
#[derive(Clone, Copy)]
enum Asked {
    Tag,
    Digest,
    Deletion,
}
