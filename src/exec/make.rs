//! One box of a build: use it, wait for it, or build, push and read it back.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::OnceCell;

use super::build::{BuildOptions, Outcome};
use super::event::{Emit, Event};
use super::keys::Keyed;
use super::ledger::{Held, Ledger, LedgerError};
use super::probe::{self, observe};
use super::secrets;
use super::{Ports, Setting};
use crate::inputs::NeedKind;
use crate::model::{Digest, Generation, Key, Lease, Repository, Span};
use crate::plan::{Seen, State};
use crate::port::BuildRequest;
use crate::retention::{MARGIN, goes_first};

/// How often a box is looked at anew because something moved while it was made.
const TRIES: usize = 4;
/// How often a box that another run builds is looked for.
const POLL: std::time::Duration = std::time::Duration::from_secs(2);

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

/// Makes the boxes of one run.
pub(super) struct Maker<'a> {
    ports: Ports<'a>,
    setting: &'a Setting,
    ledger: Ledger<'a>,
    options: &'a BuildOptions,
    held: Mutex<Option<Held>>,
    engine: OnceCell<String>,
    emit: Emit<'a>,
}

/// What became of waiting for another run.
enum Waited {
    /// Nobody builds the box before us.
    OurTurn,
    /// Something changed: look again.
    Changed,
}

impl<'a> Maker<'a> {
    pub fn new(
        ports: Ports<'a>,
        setting: &'a Setting,
        ledger: Ledger<'a>,
        options: &'a BuildOptions,
        held: Option<Held>,
        emit: Emit<'a>,
    ) -> Self {
        Self { ports, setting, ledger, options, held: Mutex::new(held), engine: OnceCell::new(), emit }
    }

    /// Returns the lease that is held now.
    pub fn lease(&self) -> Option<Held> {
        self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Makes one box, whose parents stand.
    pub async fn make(
        &self,
        keyed: &Keyed,
        first: &Seen,
        parents: &BTreeMap<String, Made>,
    ) -> Result<Made, Outcome> {
        let failed = |error: &dyn std::fmt::Display| Outcome::Failed(error.to_string());
        let mut seen = first.clone();
        let mut reason = String::new();
        for _ in 0..TRIES {
            match self.fits(&seen, parents, keyed) {
                Ok(digest) => return Ok(made(keyed, digest, &seen, &reason)),
                Err(why) if reason.is_empty() => reason = why,
                Err(_) => {}
            }
            let Some(held) = self.lease() else {
                return Err(Outcome::Forbidden(format!(
                    "{reason}, and this registry takes no push from here"
                )));
            };
            if matches!(
                self.wait_for_others(keyed, &held).await.map_err(|error| failed(&error))?,
                Waited::Changed
            ) {
                seen = self.look(keyed).await?;
                continue;
            }
            let version = self.engine.get_or_try_init(|| self.ports.engine.check());
            let version = version.await.map_err(|error| failed(&error))?;
            if let Some(why) = beyond(version, keyed) {
                return Err(Outcome::Failed(why));
            }
            let request = self.request(keyed, seen.generation, parents).map_err(|error| failed(&error))?;
            let entries = request.entries.len();
            let name = keyed.wanted.name.clone();
            (self.emit)(Event::Building { name: name.clone(), reason: reason.clone(), entries });
            let emit = self.emit;
            let box_name = name.clone();
            let on_build = move |event| emit(Event::Build { name: box_name.clone(), event });
            let image = secrets::build(self.ports, keyed, request, &on_build)
                .await
                .map_err(|error| failed(&chain(&error)))?;
            if let Some(limit) = keyed.spec.max_size {
                let size = self.ports.engine.size(&image).await.map_err(|error| failed(&error))?;
                if size > limit {
                    let why =
                        format!("its image has {size} bytes; max-size allows {limit}. It was not pushed");
                    return Err(Outcome::Failed(why));
                }
            }
            if self.renew(&held).await.map_err(|error| failed(&error))? {
                seen = self.look(keyed).await?;
                continue;
            }
            // Somebody may have got there while we built, or condemned the generation.
            let before = seen.generation;
            seen = self.look(keyed).await?;
            if seen.generation != before {
                continue;
            }
            if let Ok(digest) = self.fits(&seen, parents, keyed) {
                return Ok(Made { adopted: true, ..made_built(keyed, digest, &seen, &reason) });
            }
            let tag = keyed.wanted.tag.with_generation(seen.generation).tag();
            let reference = format!("{}:{tag}", keyed.wanted.repository);
            (self.emit)(Event::Pushing { name: name.clone(), reference });
            let on_push = move |event| emit(Event::Push { name: name.clone(), event });
            let pushed = self
                .ports
                .engine
                .push(&image, &keyed.wanted.repository, &tag, &on_push)
                .await
                .map_err(|error| failed(&chain(&error)))?;
            seen = self.look(keyed).await?;
            match self.fits(&seen, parents, keyed) {
                Ok(digest) => {
                    let adopted = digest != pushed;
                    return Ok(Made { adopted, ..made_built(keyed, digest, &seen, &reason) });
                }
                Err(why) => reason = format!("after the push: {why}"),
            }
        }
        Err(Outcome::Failed(format!("gave up after {TRIES} tries: {reason}")))
    }

    /// Returns the digest that stands if it can be used with these parents, else why not.
    fn fits(&self, seen: &Seen, parents: &BTreeMap<String, Made>, keyed: &Keyed) -> Result<Digest, String> {
        match &seen.state {
            State::Present { digest, recorded } => {
                for (name, parent) in parents {
                    let key = self.key_of(keyed, name);
                    if let Some(why) = key.and_then(|key| recorded.disagrees(name, key, &parent.digest)) {
                        return Err(why);
                    }
                }
                Ok(digest.clone())
            }
            State::Missing => Err("no image has this key".to_owned()),
            State::Broken { why } | State::Unknown { why } => Err(why.clone()),
        }
    }

    fn key_of<'k>(&self, keyed: &'k Keyed, parent: &str) -> Option<&'k Key> {
        keyed.parents.get(parent)
    }

    async fn look(&self, keyed: &Keyed) -> Result<Seen, Outcome> {
        let seen =
            observe(self.ports.registry, &self.setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
        match &seen.state {
            State::Unknown { why } => Err(Outcome::Failed(why.clone())),
            _ => Ok(seen),
        }
    }

    /// Waits while a run with an earlier lease builds this box, up to our patience.
    async fn wait_for_others(&self, keyed: &Keyed, held: &Held) -> Result<Waited, LedgerError> {
        let patience = self.options.wait;
        if patience == Span::default() {
            return Ok(Waited::OurTurn);
        }
        // Leases carry whole seconds: only when ours has passed are all earlier ones written.
        while held.now(self.ports.clock) <= held.lease.taken {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        let now = held.now(self.ports.clock);
        let leases = self.ledger.live_leases(now).await?;
        let Some(first) = goes_first(keyed.wanted.key(), &held.lease, &leases, now, patience) else {
            return Ok(Waited::OurTurn);
        };
        let name = keyed.wanted.name.clone();
        (self.emit)(Event::Waiting { name, run: first.run.to_string(), patience });
        self.wait_for(keyed, held, first).await?;
        Ok(Waited::Changed)
    }

    async fn wait_for(&self, keyed: &Keyed, held: &Held, first: &Lease) -> Result<(), LedgerError> {
        let lease = first.tag().map_err(|error| self.ledger.bad_tag("lease", error))?;
        loop {
            tokio::time::sleep(POLL).await;
            let seen =
                observe(self.ports.registry, &self.setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
            let is_over = held.now(self.ports.clock).since(first.taken) >= self.options.wait;
            // An answer that says nothing is asked for again until our patience ends.
            let is_settled = matches!(seen.state, State::Present { .. });
            if is_settled || is_over || !self.ledger.has(&lease).await? {
                return Ok(());
            }
        }
    }

    /// Takes the lease again if too little of it is left for a visible write; tells
    /// whether it did, so that the caller looks again.
    async fn renew(&self, held: &Held) -> Result<bool, LedgerError> {
        if held.left(self.ports.clock) >= MARGIN.min(Span::from_seconds(self.setting.lease.seconds() / 2)) {
            return Ok(false);
        }
        let keys = held.lease.keys.clone();
        let fresh = self
            .ledger
            .lease(&self.setting.run, self.setting.attempt, keys, self.setting.lease, self.ports.clock)
            .await?;
        (self.emit)(Event::Leased { keys: fresh.lease.keys.len(), until: fresh.lease.expiry });
        *self.held.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(fresh);
        Ok(true)
    }

    fn request(
        &self,
        keyed: &Keyed,
        generation: Generation,
        parents: &BTreeMap<String, Made>,
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

/// A box that stands without our building it: it was there, or another run built it while
/// we waited.
fn made(keyed: &Keyed, digest: Digest, seen: &Seen, reason: &str) -> Made {
    let reason = if reason.is_empty() { "present" } else { "another run has built it" };
    Made { outcome: Outcome::Used, ..made_built(keyed, digest, seen, reason) }
}

fn made_built(keyed: &Keyed, digest: Digest, seen: &Seen, reason: &str) -> Made {
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
