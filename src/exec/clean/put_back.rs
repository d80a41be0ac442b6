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
use crate::exec::event::{Emit, Event};
use crate::exec::ledger::lease::{Held, release};
use crate::exec::ledger::tombstone::mark;
use crate::exec::ledger::write::LedgerWriter;
use crate::exec::ledger::{Found, Ledger, LedgerError, Records};
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::{
    ContentTag, Digest, ErrorKind, Explained, Explanation, Generation, Key, Purpose, RawManifest,
    Record as _, RecordTag, Repository, RunId, Tag, Timestamp, Tombstone, UndoRecord,
};
use crate::port::{Deleted, Reference, RegistryError, RegistryResult};
use crate::protocol::is_live;
use crate::retention::{PutBack, Remains, RemainsState, Revived, latest, put_back, revive};

/// Keys that one lease covers.
const LEASED: usize = 10_000;

/// Which sweep is undone, and where.
#[derive(Debug, Clone, Default)]
pub struct UndoOptions {
    /// The repositories that are cleaned; nothing is put back elsewhere.
    pub repositories: Vec<Repository>,
    /// Where sweeps note which records are their own; others are then not believed.
    pub sightings: Option<Repository>,
    /// The sweep; the newest if none is named.
    pub run: Option<RunId>,
    /// Whether to do it; else only the decision is returned.
    pub apply: bool,
}

/// A sweep of which something is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoable {
    /// Its run.
    pub run: RunId,
    /// Until when what it deleted is kept.
    pub until: Timestamp,
}

/// One manifest that was deleted, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The repository's name, without its host.
    pub repository: String,
    /// Its tag; nothing for a part of what stood under one.
    pub tag: Option<Tag>,
    /// Its digest.
    pub digest: Digest,
    /// What was decided.
    pub step: PutBack,
    /// Why that did not work.
    pub failed: Option<String>,
}

/// What became of undoing a sweep.
#[derive(Debug, Clone)]
pub struct UndoReport {
    /// The sweep; nothing if none can be undone.
    pub sweep: Option<Undoable>,
    /// Other sweeps that can be, the newest first.
    pub others: Vec<Undoable>,
    /// What it deleted, in the order in which it is put back.
    pub images: Vec<Undone>,
    /// Records of the sweep that are not believed, with the reason.
    pub aside: Vec<(Tag, String)>,
    /// Whether anything was written.
    pub is_applied: bool,
    /// Whether it was stopped before it was through.
    pub is_interrupted: bool,
}

/// Why nothing was put back.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry did not answer as needed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Nothing is kept of the sweep that is to be undone.
    #[error("nothing is kept of a clean by run {run}")]
    NothingKept { run: RunId },
}

impl Explained for UndoError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Ledger(error) => error.explain().undone("nothing was put back"),
            Self::Registry(error) => error.explain().undone("nothing was put back"),
            Self::NothingKept { .. } => ErrorKind::Missing.hint(
                "`boxwright clean --undo` names the runs that can be undone; `undo` of [clean] in boxwright.toml says for how long",
            ),
        }
    }
}

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
    let (sweeps, tags) = undo.sweeps().await?;
    let mut report = UndoReport {
        sweep: None,
        others: sweeps,
        images: Vec::new(),
        aside: Vec::new(),
        is_applied: options.apply,
        is_interrupted: false,
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
    let (taken, aside) = undo.taken(tags).await?;
    report.aside = aside;

    let leases = if options.apply { undo.lease(&taken).await? } else { Vec::new() };
    let decided = tokio::select! {
        biased;
        () = cancel.cancelled() => {
            release(ports, setting, &leases, emit).await;
            report.is_interrupted = true;
            return Ok(report);
        }
        decided = undo.decide(&taken) => decided,
    };
    let is_put = |decided: &Decided| decided.steps.iter().any(|(_, step)| *step == PutBack::Put);
    let is_wanted = decided.as_ref().is_ok_and(|decided| {
        is_put(decided) || decided.steps.iter().any(|(_, step)| *step == PutBack::Stands)
    });
    if !is_wanted {
        release(ports, setting, &leases, emit).await;
    }
    let decided = decided?;
    let failed = if options.apply { undo.put_all(&taken, &decided, cancel).await } else { BTreeMap::new() };
    report.is_interrupted = cancel.is_cancelled() && !failed.is_empty();
    for (at, step) in decided.steps {
        let Some(one) = decided.remains.get(at) else { continue };
        let Remains { repository, tag, digest, .. } = one.clone();
        report.images.push(Undone { repository, tag, digest, step, failed: failed.get(&at).cloned() });
    }
    if options.apply {
        undo.revive(&report.images).await?;
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

impl<'a> Undo<'a> {
    fn writer(&self) -> RegistryResult<LedgerWriter<'a>> {
        LedgerWriter::new(self.ports, &self.setting.ledger)
    }

    /// Lists the sweeps of which something is kept, the newest first, and their records.
    async fn sweeps(&self) -> Result<(Vec<Undoable>, Vec<(RunId, Tag)>), UndoError> {
        let now = self.ledger.now().await?;
        let mut last: BTreeMap<RunId, Timestamp> = BTreeMap::new();
        let mut tags = Vec::new();
        for (record, tag) in self.ledger.list().await? {
            let RecordTag::Undo { expiry, run, .. } = record else { continue };
            if is_live(expiry, now) {
                let until = last.entry(run.clone()).or_insert(expiry);
                *until = expiry.max(*until);
                tags.push((run, tag));
            }
        }
        let mut sweeps: Vec<Undoable> =
            last.into_iter().map(|(run, until)| Undoable { run, until }).collect();
        sweeps.sort_by_key(|sweep| std::cmp::Reverse(sweep.until));
        Ok((sweeps, tags))
    }

    /// Reads records, each manifest once; returns those beside that are not believed.
    async fn taken(&self, tags: Vec<Tag>) -> Result<(Vec<Taken>, Vec<(Tag, String)>), UndoError> {
        let own = match &self.options.sightings {
            Some(at) => Some(sightings::list(Ledger::new(self.ports.registry, at)).await?),
            None => None,
        };
        let (mut taken, mut aside, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (tag, look) in self.ledger.look_at::<UndoRecord>(tags).await? {
            let stood = match look {
                Found::Stands(stood) => stood,
                Found::Unreadable { why } => {
                    aside.push((tag, why));
                    continue;
                }
                Found::Vanished => continue,
            };
            let place = stood.record.place();
            if own.as_ref().is_some_and(|own| !own.age(&place, &stood.digest).is_own) {
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

    async fn lease(&self, taken: &[Taken]) -> Result<Vec<Held>, UndoError> {
        let keys: BTreeSet<&Key> = taken.iter().map(|one| &one.kept.key).collect();
        let keys: Vec<Key> = keys.into_iter().cloned().collect();
        let mut leases = Vec::new();
        for some in keys.chunks(LEASED) {
            let lease =
                self.writer()?.lease(self.setting, Purpose::Using, some.to_vec(), self.ports.clock).await?;
            leases.push(lease.held()?);
        }
        Ok(leases)
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
    async fn revive(&self, images: &[Undone]) -> Result<(), UndoError> {
        let is_back =
            |one: &&Undone| matches!(one.step, PutBack::Put | PutBack::Stands) && one.failed.is_none();
        let back: BTreeSet<(Key, Generation)> = images
            .iter()
            .filter(is_back)
            .filter_map(|one| ContentTag::read(one.tag.as_ref()?))
            .map(|content| (content.key().clone(), content.generation()))
            .collect();
        if back.is_empty() {
            return Ok(());
        }
        let mut tags: Vec<Tag> = Vec::new();
        for repository in &self.options.repositories {
            tags.extend(self.ports.registry.tags(repository).await?.tags);
        }
        let latest = latest(tags.iter());
        let today = self.ledger.now().await?;
        for (key, generation) in back {
            let is_replaced = latest.get(&key).is_some_and(|last| *last > generation);
            self.revive_one(&RecordTag::Over { key, generation }, is_replaced, today).await?;
        }
        Ok(())
    }

    async fn revive_one(&self, at: &RecordTag, is_replaced: bool, today: Timestamp) -> Result<(), UndoError> {
        let tag = self.ledger.tag(at)?;
        let note = |why: String| {
            let text = format!("tombstone {tag} stays ({why}): builds make that generation anew");
            (self.emit)(Event::Note { text });
        };
        let stood = match self.ledger.look::<Tombstone>(&tag).await? {
            Found::Stands(stood) => stood,
            Found::Unreadable { why } => {
                note(why);
                return Ok(());
            }
            Found::Vanished => return Ok(()),
        };
        match revive(&stood.record, is_replaced, today) {
            // The very one that was read: whoever ends the generation anew writes another.
            Revived::Forget => match self.writer()?.delete(&stood.digest).await? {
                Deleted::Gone | Deleted::NotFound => {}
                Deleted::Unsupported => note("the registry does not delete".to_owned()),
                Deleted::Refused { why } => note(why),
            },
            Revived::Renew(tombstone) => mark(self.writer()?, &tombstone).await?,
            Revived::Stays => {}
        }
        Ok(())
    }
}

fn needs(remains: &Remains) -> impl Iterator<Item = &Digest> {
    let needs = match &remains.state {
        RemainsState::Known { children, bases, .. } => Some(children.iter().chain(bases)),
        RemainsState::Doubtful(_) => None,
    };
    needs.into_iter().flatten()
}
