//! One box of a build: use it, wait for it, or build, push and read it back.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;

use super::build::{BuildOptions, Outcome};
use super::event::{Emit, Event};
use super::import::{self, Upload};
use super::keys::Keyed;
use super::ledger::{Held, Ledger, LedgerError};
use super::probe::{self, observe};
use super::secrets;
use super::{Ports, Setting};
use crate::inputs::NeedKind;
use crate::model::{ArchivedBox, Digest, Generation, Key, Lease, Repository, Span};
use crate::plan::{Recorded, Seen, State};
use crate::port::{Archive, BuildRequest, EngineError, ImageId};
use crate::retention::goes_first;

/// How often a box is begun anew because something moved while it was made.
const TRIES: usize = 4;
/// How often an image is pushed before the push has failed.
const PUSHES: u64 = 3;
/// How often a box that another run builds is looked for.
const POLL: Duration = Duration::from_secs(2);
/// How often a pushed tag is read until it shows.
const READS: u32 = 5;

/// A box that stands.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub repository: Repository,
    pub digest: Digest,
    pub generation: Generation,
    pub outcome: Outcome,
    /// Whether the image is another run's.
    pub adopted: bool,
    pub reason: String,
    pub seconds: f64,
}

/// Where the images of missing boxes come from.
#[derive(Clone, Copy)]
pub(super) enum Origin<'a> {
    /// The engine builds them.
    Engine,
    /// They were built elsewhere.
    Archive(&'a dyn Archive),
}

/// An image that is not in the registry yet.
enum Image<'a> {
    Built(ImageId),
    Archived(&'a dyn Archive, &'a ArchivedBox),
}

/// The boxes that one stands on, by name.
type Parents = BTreeMap<String, Made>;

/// Makes the boxes of one run.
pub(super) struct Maker<'a> {
    ports: Ports<'a>,
    setting: &'a Setting,
    ledger: Ledger<'a>,
    options: &'a BuildOptions,
    origin: Origin<'a>,
    /// The leases taken so far, each renewing the one before.
    leases: Mutex<Vec<Held>>,
    /// Held while a lease is renewed, so that boxes made at once do it once.
    renewing: tokio::sync::Mutex<()>,
    engine: OnceCell<String>,
    emit: Emit<'a>,
}

impl<'a> Maker<'a> {
    pub fn new(
        ports: Ports<'a>,
        setting: &'a Setting,
        ledger: Ledger<'a>,
        options: &'a BuildOptions,
        origin: Origin<'a>,
        held: Option<Held>,
        emit: Emit<'a>,
    ) -> Self {
        let leases = Mutex::new(held.into_iter().collect());
        let renewing = tokio::sync::Mutex::new(());
        Self { ports, setting, ledger, options, origin, leases, renewing, engine: OnceCell::new(), emit }
    }

    /// Returns the leases taken so far, the one that is held now last; none without the
    /// right to write.
    pub fn leases(&self) -> Vec<Held> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes one box, whose parents stand.
    pub async fn make(&self, keyed: &Keyed, first: &Seen, parents: &Parents) -> Result<Made, Outcome> {
        let failed = |error: &dyn std::fmt::Display| Outcome::Failed(error.to_string());
        // What an earlier look could not tell is looked at again below.
        let mut reason = match fits(first, parents, keyed) {
            Ok(digest) => {
                return Ok(Made { outcome: Outcome::Used, ..made(keyed, digest, first, "present") });
            }
            Err(why) => why,
        };
        if self.leases().is_empty() {
            return Err(Outcome::Forbidden(format!("{reason}, and this registry takes no push from here")));
        }
        for _ in 0..TRIES {
            self.wait_for_others(keyed, parents).await.map_err(|error| failed(&error))?;
            // The first look may be long past: parents were built since, or others waited for.
            let seen = self.look(keyed).await?;
            if let Ok(digest) = fits(&seen, parents, keyed) {
                let reason = "another run has built it";
                return Ok(Made { outcome: Outcome::Used, ..made(keyed, digest, &seen, reason) });
            }
            let image = self.image(keyed, seen.generation, parents, &reason).await?;
            self.renew().await.map_err(|error| failed(&error))?;
            // Somebody may have got there while we built, or condemned the generation.
            let now = self.look(keyed).await?;
            if now.generation != seen.generation {
                reason = "its generation was condemned while it was built".to_owned();
                continue;
            }
            if let Ok(digest) = fits(&now, parents, keyed) {
                return Ok(Made { adopted: true, ..made(keyed, digest, &now, &reason) });
            }
            let pushed = match &image {
                Image::Built(image) => self.push(keyed, image, now.generation).await?,
                Image::Archived(archive, one) => self.upload(keyed, *archive, one, parents).await?,
            };
            let now = self.look_for_push(keyed).await?;
            match fits(&now, parents, keyed) {
                Ok(digest) => {
                    let adopted = digest != pushed;
                    return Ok(Made { adopted, ..made(keyed, digest, &now, &reason) });
                }
                Err(why) => reason = format!("after the push: {why}"),
            }
        }
        Err(Outcome::Failed(format!("gave up after {TRIES} tries: {reason}")))
    }

    async fn image(
        &self,
        keyed: &Keyed,
        generation: Generation,
        parents: &Parents,
        reason: &str,
    ) -> Result<Image<'a>, Outcome> {
        let archive = match self.origin {
            Origin::Engine => return self.build(keyed, generation, parents, reason).await.map(Image::Built),
            Origin::Archive(archive) => archive,
        };
        let (one, labels) = import::find(archive, &keyed.wanted.name).await.map_err(Outcome::Failed)?;
        if one.tag.generation() != generation {
            let (archived, current) = (one.tag.generation().0, generation.0);
            let why = format!("the archive holds generation {archived} of its key, and {current} is current");
            return Err(Outcome::Failed(why));
        }
        let recorded = Recorded { parents: labels.parents, size: 0 };
        agrees(&recorded, parents, keyed).map_err(Outcome::Failed)?;
        Ok(Image::Archived(archive, one))
    }

    /// Sends an archived image, its tag last and under a lease that is long enough.
    async fn upload(
        &self,
        keyed: &Keyed,
        archive: &dyn Archive,
        one: &ArchivedBox,
        parents: &Parents,
    ) -> Result<Digest, Outcome> {
        let failed = |error: &dyn std::fmt::Display| Outcome::Failed(error.to_string());
        let repository = &keyed.wanted.repository;
        let parents = parents.iter().map(|(name, made)| (name.as_str(), &made.repository)).collect();
        let upload = Upload { ports: self.ports, archive, one, repository, parents, emit: self.emit };
        let name = keyed.wanted.name.clone();
        (self.emit)(Event::Pushing { name, reference: format!("{repository}:{}", one.tag) });
        upload.content(false).await.map_err(|error| failed(&error))?;
        self.renew().await.map_err(|error| failed(&error))?;
        upload.tag(&one.tag.tag()).await.map_err(|error| failed(&error))
    }

    async fn build(
        &self,
        keyed: &Keyed,
        generation: Generation,
        parents: &Parents,
        reason: &str,
    ) -> Result<ImageId, Outcome> {
        let version = self.engine.get_or_try_init(|| self.ports.engine.check()).await;
        let version = version.map_err(|error| Outcome::Failed(chain(&error)))?;
        if let Some(why) = beyond(version, keyed) {
            return Err(Outcome::Failed(why));
        }
        let request =
            self.request(keyed, generation, parents).map_err(|error| Outcome::Failed(chain(&error)))?;
        let (emit, name) = (self.emit, keyed.wanted.name.clone());
        let entries = request.entries.len();
        emit(Event::Building { name: name.clone(), reason: reason.to_owned(), entries });
        let on_build = move |event| emit(Event::Build { name: name.clone(), event });
        let image = secrets::build(self.ports, keyed, request, &on_build).await;
        let image = image.map_err(|error| Outcome::Failed(chain(&error)))?;
        if let Some(limit) = keyed.spec.max_size {
            let size = self.ports.engine.size(&image).await;
            let size = size.map_err(|error| Outcome::Failed(chain(&error)))?;
            if size > limit {
                let why =
                    format!("its image has {size} bytes, and max-size allows {limit}; it was not pushed");
                return Err(Outcome::Failed(why));
            }
        }
        Ok(image)
    }

    async fn push(&self, keyed: &Keyed, image: &ImageId, generation: Generation) -> Result<Digest, Outcome> {
        let tag = keyed.wanted.tag.with_generation(generation).tag();
        let repository = &keyed.wanted.repository;
        let (emit, name) = (self.emit, keyed.wanted.name.clone());
        let mut tries = 1;
        loop {
            emit(Event::Pushing { name: name.clone(), reference: format!("{repository}:{tag}") });
            let on_push = {
                let name = name.clone();
                move |event| emit(Event::Push { name: name.clone(), event })
            };
            match self.ports.engine.push(image, repository, &tag, &on_push).await {
                Ok(digest) => return Ok(digest),
                Err(error) if tries < PUSHES && is_passing(&error) => {
                    emit(Event::Note { text: format!("{name}: {}; pushing again", chain(&error)) });
                    tokio::time::sleep(Duration::from_secs(tries)).await;
                    tries += 1;
                }
                Err(error) => return Err(Outcome::Failed(chain(&error))),
            }
        }
    }

    async fn look(&self, keyed: &Keyed) -> Result<Seen, Outcome> {
        let seen =
            observe(self.ports.registry, &self.setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
        known(&seen)?;
        Ok(seen)
    }

    /// Looks at what was just pushed; a registry may need a moment to show it.
    async fn look_for_push(&self, keyed: &Keyed) -> Result<Seen, Outcome> {
        let mut pause = Duration::from_millis(50);
        for _ in 1..READS {
            let seen = self.look(keyed).await?;
            if seen.state != State::Missing {
                return Ok(seen);
            }
            tokio::time::sleep(pause).await;
            pause *= 3;
        }
        self.look(keyed).await
    }

    /// Waits while runs with earlier leases build this box, each up to our patience.
    async fn wait_for_others(&self, keyed: &Keyed, parents: &Parents) -> Result<(), LedgerError> {
        let patience = self.options.wait;
        let leases = self.leases();
        let (Some(ours), Some(held)) = (leases.first(), leases.last()) else { return Ok(()) };
        if patience == Span::default() {
            return Ok(());
        }
        // Leases carry whole seconds: only when ours has passed are all earlier ones written.
        while held.now(self.ports.clock) <= ours.lease.taken {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        loop {
            let now = held.now(self.ports.clock);
            let others = self.ledger.live_leases(now).await?;
            let Some(first) = goes_first(keyed.wanted.key(), &ours.lease, &others, now, patience) else {
                return Ok(());
            };
            let (name, run) = (keyed.wanted.name.clone(), first.run.to_string());
            (self.emit)(Event::Waiting { name, run, patience });
            if self.is_there_after(keyed, parents, held, first).await? {
                return Ok(());
            }
        }
    }

    /// Waits until the box stands, or the run that goes first gives up its lease or has had
    /// our patience; tells whether it stands.
    async fn is_there_after(
        &self,
        keyed: &Keyed,
        parents: &Parents,
        held: &Held,
        first: &Lease,
    ) -> Result<bool, LedgerError> {
        let lease = first.tag().map_err(|error| self.ledger.bad_tag("lease", error))?;
        while held.now(self.ports.clock).since(first.taken) < self.options.wait {
            tokio::time::sleep(POLL).await;
            let seen =
                observe(self.ports.registry, &self.setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
            if fits(&seen, parents, keyed).is_ok() {
                return Ok(true);
            }
            // An answer that says nothing is asked for again until our patience ends; then
            // the look before the build speaks of it.
            if matches!(self.ledger.has(&lease).await, Ok(false)) {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Takes the lease again if too little of it is left for a visible write.
    pub async fn renew(&self) -> Result<(), LedgerError> {
        let _alone = self.renewing.lock().await;
        let Some(held) = self.leases().pop().filter(|held| held.is_short(self.ports.clock)) else {
            return Ok(());
        };
        let Setting { run, attempt, lease, .. } = self.setting;
        let keys = held.lease.keys.clone();
        let fresh = self.ledger.lease(run, *attempt, keys, *lease, self.ports.clock).await?.held()?;
        (self.emit)(Event::Leased { keys: fresh.lease.keys.len(), until: fresh.lease.expiry });
        self.leases.lock().unwrap_or_else(PoisonError::into_inner).push(fresh);
        Ok(())
    }

    fn request(
        &self,
        keyed: &Keyed,
        generation: Generation,
        parents: &Parents,
    ) -> Result<BuildRequest, super::KeysError> {
        let by_key: BTreeMap<&Key, &Digest> = parents
            .iter()
            .filter_map(|(name, made)| Some((keyed.parents.get(name)?, &made.digest)))
            .collect();
        let images: BTreeMap<String, (Repository, Digest)> = parents
            .iter()
            .map(|(name, made)| (name.clone(), (made.repository.clone(), made.digest.clone())))
            .collect();
        let mut labels = BTreeMap::from([
            (probe::KEY_LABEL.to_owned(), keyed.wanted.key().to_string()),
            (probe::GENERATION_LABEL.to_owned(), generation.0.to_string()),
            (probe::PARENTS_LABEL.to_owned(), serde_json::json!(by_key).to_string()),
        ]);
        if let Some(revision) = &self.setting.source.revision {
            labels.insert("org.opencontainers.image.revision".to_owned(), revision.clone());
        }
        keyed.request(&images, labels, self.options.no_cache)
    }
}

/// What is unknown is neither there nor missing: it ends the work on the box.
fn known(seen: &Seen) -> Result<&Seen, Outcome> {
    match &seen.state {
        State::Unknown { why } => Err(Outcome::Failed(why.clone())),
        State::Present { .. } | State::Missing | State::Broken { .. } => Ok(seen),
    }
}

/// Returns the digest that stands if it can be used with these parents, else why not.
fn fits(seen: &Seen, parents: &Parents, keyed: &Keyed) -> Result<Digest, String> {
    match &seen.state {
        State::Present { digest, recorded } => agrees(recorded, parents, keyed).map(|()| digest.clone()),
        State::Missing => Err("no image has this key".to_owned()),
        State::Broken { why } | State::Unknown { why } => Err(why.clone()),
    }
}

/// Checks that an image was made on the parents that stand.
fn agrees(recorded: &Recorded, parents: &Parents, keyed: &Keyed) -> Result<(), String> {
    let disagrees = |(name, parent): (&String, &Made)| {
        let key = keyed.parents.get(name)?;
        recorded.disagrees(name, key, &parent.digest)
    };
    parents.iter().find_map(disagrees).map_or(Ok(()), Err)
}

fn made(keyed: &Keyed, digest: Digest, seen: &Seen, reason: &str) -> Made {
    Made {
        repository: keyed.wanted.repository.clone(),
        digest,
        generation: seen.generation,
        outcome: Outcome::Built,
        adopted: false,
        reason: reason.to_owned(),
        seconds: 0.0,
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// Tells whether a push may work a little later: pushes of one layer at once can make a
/// registry lose sight of it, and the engine does not repeat what a registry answers with 5xx.
fn is_passing(error: &EngineError) -> bool {
    let EngineError::Transfer { detail, .. } = error else { return false };
    let detail = detail.to_lowercase();
    let is_refused =
        ["denied", "unauthorized", "forbidden", "not allowed"].iter().any(|word| detail.contains(word));
    !is_refused
}

/// Says what in the Dockerfile the engine's own frontend cannot do, if there is anything.
///
/// Engine 20.10 understands Dockerfile 1.2; a `# syntax=` line brings another frontend.
fn beyond(version: &str, keyed: &Keyed) -> Option<String> {
    let major: u32 = version.split('.').next()?.parse().ok()?;
    if major >= 23 || keyed.needs().any(|(kind, _)| matches!(kind, NeedKind::Syntax(_))) {
        return None;
    }
    let (kind, place) = keyed.needs().next()?;
    Some(format!(
        "{place}: {kind} needs Docker Engine 23 or later, or a `# syntax=` line; this engine is {version}"
    ))
}
