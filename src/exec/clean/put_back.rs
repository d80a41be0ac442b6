//! Undoes a sweep: puts back what it deleted, as far as the registry still has it.
//!
//! It goes about it as a promotion does of what a tombstone ends: it leases the keys first, and asks for
//! sweeps' claims then. Either it sees the claim of a sweep that may still delete what it puts back, and
//! leaves that to it, or that sweep sees the lease. The lease stays: it is what keeps the images
//! until somebody uses or promotes them, as it does those of a build.

use std::collections::{BTreeMap, BTreeSet};

use tokio_util::sync::CancellationToken;

use crate::exec::clean::remains::{Look, Taken};
use crate::exec::clean::sightings;
use crate::exec::clean::undone::{UndoError, UndoOptions, UndoReport, Undoable, Undone};
use crate::exec::event::{Emit, Event};
use crate::exec::ledger::lease::{Held, release};
use crate::exec::ledger::tombstone::mark;
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::ledger::{Found, Ledger, Records};
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::{
    AnyError, ContentTag, Digest, Generation, Key, Purpose, RawManifest, Record as _, RecordTag, Repository,
    RunId, Tag, Timestamp, Tombstone, UndoRecord,
};
use crate::port::{Deleted, Reference, RegistryError, RegistryResult};
use crate::protocol::is_live;
use crate::retention::{PutBack, Remains, RemainsState, Revived, Sightings, latest, put_back, revive};

/// Keys that one lease covers.
const LEASED: usize = 10_000;
/// Records of one clean that are read, of up to 2 MiB of manifests each.
const RECORDS: usize = 64;

/// Puts back what a sweep deleted; without `apply` it only says what it would do.
///
/// When `cancel` is cancelled nothing more is put back.
pub async fn undo_clean(
    ports: RegistryPorts<'_>,
    setting: &RunContext,
    options: &UndoOptions,
    emit: Emit<'_>,
    cancel: &CancellationToken,
) -> Result<UndoReport, UndoError> {
    let ledger = Ledger::new(ports.registry, &setting.ledger);
    let undo = Undo { ports, setting, ledger, options, emit };
    let own = undo.own().await?;
    let (sweeps, tags) = undo.sweeps(own.as_ref()).await?;
    let mut report = UndoReport {
        sweep: None,
        others: sweeps,
        images: Vec::new(),
        ended: 0,
        aside: Vec::new(),
        is_applied: options.apply,
        is_interrupted: false,
        unfinished: None,
    };
    let at = match &options.run {
        None if report.others.is_empty() => return Ok(report),
        None => 0,
        Some(run) => {
            let at = report.others.iter().position(|sweep| sweep.run == *run);
            at.ok_or_else(|| UndoError::NothingKept { run: run.clone() })?
        }
    };
    let sweep = report.others.remove(at);
    let tags = tags.into_iter().filter(|(run, _)| *run == sweep.run).map(|(_, tag)| tag).collect();
    report.sweep = Some(sweep);
    let (taken, aside) = undo.taken(tags, own.as_ref()).await?;
    report.aside = aside;

    let Some(decided) = cancel.run_until_cancelled(undo.decide(&taken)).await else {
        report.is_interrupted = true;
        return Ok(report);
    };
    let mut decided = decided?;
    let mut leases = Vec::new();
    if options.apply {
        leases = undo.lease(decided.keys(&taken)).await?;
        // A sweep that claimed something before it saw the lease is seen now.
        let again = cancel.run_until_cancelled(undo.decide(&taken)).await;
        let is_wanted = |decided: &Decided| {
            decided.steps.iter().any(|(_, step)| matches!(step, PutBack::Put | PutBack::Stands))
        };
        if !again.as_ref().is_some_and(|again| again.as_ref().is_ok_and(is_wanted)) {
            release(ports, setting, &leases, emit).await;
        }
        let Some(again) = again else {
            report.is_interrupted = true;
            return Ok(report);
        };
        decided = again?;
    }
    let failed = match options.apply {
        true => undo.put_all(&taken, &decided, &leases, cancel).await,
        false => BTreeMap::new(),
    };
    report.is_interrupted = cancel.is_cancelled() && !failed.is_empty();
    for (at, step) in decided.steps {
        let Some(one) = decided.remains.get(at) else { continue };
        let Remains { repository, tag, digest, .. } = one.clone();
        report.images.push(Undone { repository, tag, digest, step, failed: failed.get(&at).cloned() });
    }
    if options.apply {
        let revived = undo.revive(&report.images, &leases).await;
        report.unfinished = revived.err().map(AnyError::from);
    } else {
        let revivals = undo.revivals(&report.images).await?;
        report.ended = revivals.iter().filter(|one| one.revived == Revived::Forget).count();
    }
    Ok(report)
}

struct Undo<'a> {
    ports: RegistryPorts<'a>,
    setting: &'a RunContext,
    ledger: Ledger<'a>,
    options: &'a UndoOptions,
    emit: Emit<'a>,
}

/// What is to be done about each manifest.
struct Decided {
    remains: Vec<Remains>,
    steps: Vec<(usize, PutBack)>,
}

impl Decided {
    /// Returns the keys of what was deleted, and of what that was built on.
    fn keys(&self, taken: &[Taken]) -> BTreeSet<Key> {
        let bases = self.remains.iter().filter_map(|one| match &one.state {
            RemainsState::Known { bases, .. } => Some(bases.keys()),
            RemainsState::Doubtful(_) => None,
        });
        taken.iter().map(|one| &one.kept.key).chain(bases.flatten()).cloned().collect()
    }
}

/// A tombstone of what stands again.
struct Revival {
    tag: Tag,
    /// What was read there.
    digest: Digest,
    revived: Revived,
}

impl<'a> Undo<'a> {
    fn writer(&self) -> RegistryResult<LedgerWriter<'a>> {
        LedgerWriter::new(self.ports, &self.setting.ledger)
    }

    /// Reads which records sweeps have noted as their own; nothing where they note nothing.
    async fn own(&self) -> Result<Option<Sightings>, UndoError> {
        let Some(at) = &self.options.sightings else { return Ok(None) };
        Ok(Some(sightings::list(Ledger::new(self.ports.registry, at)).await?))
    }

    /// Lists the sweeps of which something is kept, the newest first, and their records. Where sweeps
    /// note what they write, nothing else counts.
    async fn sweeps(&self, own: Option<&Sightings>) -> Result<(Vec<Undoable>, Vec<(RunId, Tag)>), UndoError> {
        let now = self.ledger.now().await?;
        // By run: until when something is kept, and when it was written, as far as that is known.
        let mut last: BTreeMap<RunId, (Timestamp, Timestamp)> = BTreeMap::new();
        let mut tags = Vec::new();
        for (record, tag) in self.ledger.list().await? {
            let RecordTag::Undo { expiry, run, .. } = &record else { continue };
            let written = own.map_or(Some(*expiry), |own| own.written(&record));
            let Some(written) = written.filter(|_| is_live(*expiry, now)) else { continue };
            let (until, at) = last.entry(run.clone()).or_insert((*expiry, written));
            (*until, *at) = ((*expiry).max(*until), written.max(*at));
            tags.push((run.clone(), tag));
        }
        let mut sweeps: Vec<_> = last.into_iter().collect();
        sweeps.sort_by_key(|(_, (_, written))| std::cmp::Reverse(*written));
        let sweeps = sweeps.into_iter().map(|(run, (until, _))| Undoable { run, until });
        Ok((sweeps.collect(), tags))
    }

    /// Reads records, each manifest once; returns those beside that are not believed.
    async fn taken(
        &self,
        mut tags: Vec<Tag>,
        own: Option<&Sightings>,
    ) -> Result<(Vec<Taken>, Vec<(Tag, String)>), UndoError> {
        let more = tags.split_off(tags.len().min(RECORDS)).into_iter();
        let mut aside: Vec<(Tag, String)> =
            more.map(|tag| (tag, format!("only {RECORDS} records of a clean are read"))).collect();
        let (mut taken, mut seen) = (Vec::new(), BTreeSet::new());
        for (tag, look) in self.ledger.look_at::<UndoRecord>(tags).await? {
            let stood = match look {
                Found::Stands(stood) => stood,
                Found::Unreadable { why } => {
                    aside.push((tag, why));
                    continue;
                }
                Found::Vanished => continue,
            };
            if own.is_some_and(|own| !own.age(&stood.record.place(), &stood.digest).is_own) {
                aside.push((tag, "no clean has noted that it wrote this".to_owned()));
                continue;
            }
            for kept in stood.record.manifests {
                let name = (kept.repository.clone(), kept.tag.clone(), kept.digest.clone());
                if seen.insert(name) {
                    let manifest = kept.manifest();
                    taken.push(Taken { kept, manifest });
                }
            }
        }
        Ok((taken, aside))
    }

    async fn lease(&self, keys: BTreeSet<Key>) -> Result<Vec<Held>, UndoError> {
        let keys: Vec<Key> = keys.into_iter().collect();
        let mut leases = Vec::new();
        for some in keys.chunks(LEASED) {
            let lease =
                self.writer()?.lease(self.setting, Purpose::Using, some.to_vec(), self.ports.clock).await?;
            leases.push(lease.held()?);
        }
        Ok(leases)
    }

    /// Tells whether too little is left of a lease for a visible write.
    fn is_ending(&self, leases: &[Held]) -> bool {
        leases.iter().any(|held| held.is_short(self.ports.clock))
    }

    /// Decides, by what sweeps have claimed and what stands: both are asked for under the lease.
    async fn decide(&self, taken: &[Taken]) -> Result<Decided, UndoError> {
        let listed: Records = self.ledger.list().await?;
        let mut claims: BTreeMap<Key, Timestamp> = BTreeMap::new();
        for claim in self.ledger.claims(&listed).await? {
            for key in claim.keys {
                let until = claims.entry(key).or_insert(claim.expiry);
                *until = claim.expiry.max(*until);
            }
        }
        let look = Look { registry: self.ports.registry, repositories: &self.options.repositories, claims };
        let (remains, standing) = look.all(taken).await?;
        let steps = put_back(&remains, &standing);
        Ok(Decided { remains, steps })
    }

    /// Puts back what was decided, one by one; returns what did not work.
    async fn put_all(
        &self,
        taken: &[Taken],
        decided: &Decided,
        leases: &[Held],
        cancel: &CancellationToken,
    ) -> BTreeMap<usize, String> {
        let (mut failed, mut lost) = (BTreeMap::new(), BTreeSet::new());
        for (at, step) in &decided.steps {
            let (Some(one), Some(remains)) = (taken.get(*at), decided.remains.get(*at)) else { continue };
            if *step != PutBack::Put {
                continue;
            }
            let done = if cancel.is_cancelled() {
                Err("it was stopped".to_owned())
            } else if self.is_ending(leases) {
                Err("the lease on it is ending; run this again".to_owned())
            } else if needs(remains).any(|digest| lost.contains(digest)) {
                Err("what it needs could not be put back".to_owned())
            } else {
                self.put(one).await
            };
            if let Err(why) = done {
                lost.insert(remains.digest.clone());
                failed.insert(*at, why);
            }
        }
        failed
    }

    /// Puts one manifest back, and reads it back. Its tag is looked at once more: no registry compares
    /// before it writes.
    async fn put(&self, one: &Taken) -> Result<(), String> {
        let mut all = self.options.repositories.iter();
        let repository = all.find(|repository| repository.name() == one.kept.repository);
        let (Some(repository), Some(manifest)) = (repository, &one.manifest) else { return Ok(()) };
        let digest = manifest.digest();
        let at = match &one.kept.tag {
            Some(tag) => Reference::Tag(tag.clone()),
            None => Reference::Digest(digest.clone()),
        };
        match self.write(repository, &at, manifest).await {
            Ok(found) if found == *digest => {
                let text = format!("put back {repository}:{at}");
                (self.emit)(Event::Note { text });
                Ok(())
            }
            Ok(found) => Err(format!("{at} holds {found} now")),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Writes a manifest where nothing stands; returns what stands there afterwards.
    async fn write(
        &self,
        repository: &Repository,
        at: &Reference,
        manifest: &RawManifest,
    ) -> Result<Digest, RegistryError> {
        let registry = self.ports.writer()?;
        if let Some(found) = registry.head(repository, at).await? {
            return Ok(found);
        }
        registry.put(repository, at, manifest).await?;
        let place = Ledger::new(registry, repository);
        let found = match at {
            Reference::Tag(tag) => place.appears(tag).await?,
            Reference::Digest(_) => registry.head(repository, at).await?,
        };
        found.ok_or_else(|| RegistryError {
            request: format!("{repository} {at}"),
            failure: crate::port::Failure::Untrusted {
                detail: "it was taken in, but is not there".to_owned(),
            },
        })
    }

    /// Takes the tombstones away, or dates them anew, of what stands again: else the next sweep would
    /// delete it as soon as the lease ends.
    async fn revive(&self, images: &[Undone], leases: &[Held]) -> Result<(), UndoError> {
        for Revival { tag, digest, revived } in self.revivals(images).await? {
            if self.is_ending(leases) {
                return Err(UndoError::Lapsed);
            }
            match revived {
                // The very one that was read: whoever ends the generation anew writes another.
                Revived::Forget => match self.writer()?.delete(&digest).await? {
                    Deleted::Gone | Deleted::NotFound => {}
                    Deleted::Unsupported => self.stays(&tag, "the registry does not delete"),
                    Deleted::Refused { why } => self.stays(&tag, &why),
                },
                Revived::Renew(tombstone) => mark(self.writer()?, &tombstone).await?,
                Revived::Stays => {}
            }
        }
        Ok(())
    }

    fn stays(&self, tag: &Tag, why: &str) {
        let text = format!("tombstone {tag} stays ({why}): builds make that generation anew");
        (self.emit)(Event::Note { text });
    }

    /// Decides about the tombstones of what stands, again or still.
    async fn revivals(&self, images: &[Undone]) -> Result<Vec<Revival>, UndoError> {
        let is_back =
            |one: &&Undone| matches!(one.step, PutBack::Put | PutBack::Stands) && one.failed.is_none();
        let back: BTreeSet<(Key, Generation)> = images
            .iter()
            .filter(is_back)
            .filter_map(|one| ContentTag::read(one.tag.as_ref()?))
            .map(|content| (content.key().clone(), content.generation()))
            .collect();
        let listed = self.ledger.list().await?;
        let ended = back.into_iter().filter_map(|(key, generation)| {
            let tag = listed.get(&RecordTag::Over { key: key.clone(), generation })?;
            Some((key, generation, tag.clone()))
        });
        let ended: Vec<_> = ended.collect();
        if ended.is_empty() {
            return Ok(Vec::new());
        }
        let mut tags: Vec<Tag> = Vec::new();
        for repository in &self.options.repositories {
            tags.extend(self.ports.registry.tags(repository).await?.tags);
        }
        let latest = latest(tags.iter());
        let today = self.ledger.now().await?;
        let mut revivals = Vec::new();
        for (key, generation, tag) in ended {
            let is_replaced = latest.get(&key).is_some_and(|last| *last > generation);
            match self.ledger.look::<Tombstone>(&tag).await? {
                Found::Stands(stood) => revivals.push(Revival {
                    revived: revive(&stood.record, is_replaced, today),
                    digest: stood.digest,
                    tag,
                }),
                Found::Unreadable { why } => self.stays(&tag, &why),
                Found::Vanished => {}
            }
        }
        Ok(revivals)
    }
}

fn needs(remains: &Remains) -> impl Iterator<Item = &Digest> {
    let needs = match &remains.state {
        RemainsState::Known { children, bases, .. } => Some(children.iter().chain(bases.values())),
        RemainsState::Doubtful(_) => None,
    };
    needs.into_iter().flatten()
}
