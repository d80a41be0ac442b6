//! One box of a build: carries out what [`Job`] asks for.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::OnceCell;

use crate::exec::build::engine_needs::beyond;
use crate::exec::build::error::{BoxError, BuildOptions};
use crate::exec::build::from_archive::Upload;
use crate::exec::build::judge::decided;
use crate::exec::build::outcome::{Made, Outcome, Parents};
use crate::exec::build::step_log::Tail;
use crate::exec::build::{secrets, step_log};
use crate::exec::event::{Emit, Event};
use crate::exec::failure::Failure;
use crate::exec::image::labels::{GENERATION_LABEL, KEY_LABEL, PARENTS_LABEL};
use crate::exec::image::probe::observe;
use crate::exec::keys::Keyed;
use crate::exec::ledger::Ledger;
use crate::exec::ledger::lease::Held;
use crate::exec::setting::{Ports, Setting};
use crate::model::{Digest, Generation, Key, Lease, chain};
use crate::plan::{Decision, State};
use crate::port::{Archive, BuildRequest, EngineError, ImageId};
use crate::protocol::{Job, JobAction, JobEnd, JobSaw};

/// Where the images of missing boxes come from.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// The engine builds them.
    Engine,
    /// They were built elsewhere.
    Archive(&'a dyn Archive),
}

/// An image that its tag does not show yet.
enum Image<'a> {
    /// It is in the engine.
    Built(ImageId),
    /// All but its manifest is in the registry.
    Sent(Upload<'a>),
}

/// Makes the boxes of one run.
pub(crate) struct Maker<'a> {
    pub ports: Ports<'a>,
    pub setting: &'a Setting,
    pub ledger: Ledger<'a>,
    pub options: &'a BuildOptions,
    pub origin: Origin<'a>,
    /// The leases taken so far, each renewing the one before.
    pub(super) leases: Mutex<Vec<Held>>,
    /// Who else wanted the same boxes when our turn stood.
    pub(super) rivals: OnceCell<Vec<Lease>>,
    /// Held while a lease is renewed, so that boxes made at once do it once.
    pub(super) renewing: tokio::sync::Mutex<()>,
    engine: OnceCell<String>,
    pub emit: Emit<'a>,
}

impl<'a> Maker<'a> {
    pub fn new(
        ports: Ports<'a>,
        setting: &'a Setting,
        options: &'a BuildOptions,
        origin: Origin<'a>,
        emit: Emit<'a>,
    ) -> Self {
        let ledger = Ledger::new(ports.registry, &setting.ledger);
        let renewing = tokio::sync::Mutex::new(());
        Self {
            ports,
            setting,
            ledger,
            options,
            origin,
            leases: Mutex::default(),
            rivals: OnceCell::new(),
            renewing,
            engine: OnceCell::new(),
            emit,
        }
    }

    /// Returns the engine's version, which is asked for once.
    pub async fn version(&self) -> Result<&str, EngineError> {
        self.engine.get_or_try_init(|| self.ports.engine.check()).await.map(String::as_str)
    }

    /// Does what was decided about one box, whose parents stand.
    pub async fn make(
        &self,
        keyed: &'a Keyed,
        generation: Generation,
        decision: Decision,
        parents: &Parents,
    ) -> Result<Made, Outcome> {
        let mut job = Job::new(generation, decision);
        let (mut image, mut failure) = (None, None);
        loop {
            let saw = match job.next() {
                JobAction::Wait => {
                    self.wait_for_others(keyed, parents).await.map(|()| JobSaw::Waited).map_err(failed)
                }
                JobAction::Look { pause } => {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    self.look(keyed, parents).await.map_err(failed)
                }
                JobAction::Build { generation, reason } => {
                    let built = match self.origin {
                        Origin::Engine => {
                            self.build(keyed, generation, parents, &reason).await.map(Image::Built)
                        }
                        Origin::Archive(archive) => {
                            Upload::send(self.ports, archive, keyed, generation, parents, self.emit)
                                .await
                                .map(Image::Sent)
                                .map_err(Failure::from)
                        }
                    };
                    let built = built.map(|built| {
                        image = Some(built);
                        JobSaw::Built
                    });
                    built.map_err(failed)
                }
                JobAction::Clock => Ok(JobSaw::Clock { is_short: self.is_short() }),
                JobAction::Lease => self.renew().await.map(|()| JobSaw::Leased).map_err(failed),
                JobAction::Push { generation } => match &image {
                    Some(Image::Built(image)) => self.push(keyed, image, generation).await,
                    Some(Image::Sent(upload)) => {
                        upload.show().await.map_err(|error| lost(error.failure.is_passing(), error))
                    }
                    None => Err(failed(BoxError::Undecided)),
                }
                .map(JobSaw::Pushed),
                JobAction::End(end) => return made(keyed, end, failure),
            };
            job = job.observe(saw.unwrap_or_else(|(saw, error)| {
                failure = Some(error);
                saw
            }));
        }
    }

    pub async fn build(
        &self,
        keyed: &Keyed,
        generation: Generation,
        parents: &Parents,
        reason: &str,
    ) -> Result<ImageId, Failure> {
        let version = self.version().await?;
        // A box that stood when the run began can still have to be built.
        if let Some(beyond) = beyond(version, std::iter::once(keyed)) {
            return Err(beyond.into());
        }
        let request = self.request(keyed, generation, parents)?;
        let (emit, name) = (self.emit, keyed.wanted.name.clone());
        let entries = request.entries.len();
        emit(Event::Building { name: name.clone(), reason: reason.to_owned(), entries });
        let tail = Tail::default();
        let on_build = |event| {
            tail.event(&event);
            emit(Event::Build { name: name.clone(), event });
        };
        let image = secrets::build(self.ports, keyed, request, &on_build).await;
        let image = image.map_err(|error| step_log::failure(error, keyed, tail))?;
        if let Some(limit) = keyed.spec.max_size {
            let size = self.ports.engine.size(&image).await?;
            if size > limit {
                return Err(BoxError::TooLarge { size, limit }.into());
            }
        }
        Ok(image)
    }

    async fn push(
        &self,
        keyed: &Keyed,
        image: &ImageId,
        generation: Generation,
    ) -> Result<Digest, (JobSaw, Failure)> {
        let tag = keyed.wanted.tag.with_generation(generation).tag();
        let repository = &keyed.wanted.repository;
        let (emit, name) = (self.emit, keyed.wanted.name.clone());
        emit(Event::Pushing { name: name.clone(), reference: format!("{repository}:{tag}") });
        let on_push = {
            let name = name.clone();
            move |event| emit(Event::Push { name: name.clone(), event })
        };
        let pushed = self.ports.engine.push(image, repository, &tag, &on_push).await;
        pushed.map_err(|error| {
            let is_passing = error.is_passing();
            if is_passing {
                emit(Event::Note { text: format!("{name}: {}; looking again", chain(&error)) });
            }
            lost(is_passing, error)
        })
    }

    /// Looks at what stands, for a box that may be pushed.
    pub async fn look(&self, keyed: &Keyed, parents: &Parents) -> Result<JobSaw, Failure> {
        let (wanted, platform) = (&keyed.wanted, &keyed.spec.platform);
        let seen = observe(self.ports.registry, &self.setting.ledger, wanted, platform).await;
        let decision = decided(&seen, parents, keyed, true);
        match seen.state {
            State::Unknown(error) => Err(error.into()),
            _ => Ok(JobSaw::Looked { generation: seen.generation, decision }),
        }
    }

    fn request(
        &self,
        keyed: &Keyed,
        generation: Generation,
        parents: &Parents,
    ) -> Result<BuildRequest, crate::exec::KeysError> {
        let by_key: BTreeMap<&Key, &Digest> = parents
            .iter()
            .filter_map(|(name, made)| Some((keyed.parents.get(name)?, &made.digest)))
            .collect();
        let images = parents.iter().map(|(name, made)| (name.clone(), made.reference())).collect();
        let mut labels = BTreeMap::from([
            (KEY_LABEL.to_owned(), keyed.wanted.key().to_string()),
            (GENERATION_LABEL.to_owned(), generation.0.to_string()),
            (PARENTS_LABEL.to_owned(), serde_json::json!(by_key).to_string()),
        ]);
        if let Some(revision) = &self.setting.source.revision {
            labels.insert("org.opencontainers.image.revision".to_owned(), revision.clone());
        }
        keyed.request(&images, labels, self.options.no_cache)
    }
}

/// What the protocol hears of an error, which is kept beside it.
fn failed(error: impl Into<Failure>) -> (JobSaw, Failure) {
    (JobSaw::Failed, error.into())
}

/// As [`failed`], of a push that may be tried again if it `is_passing`.
fn lost(is_passing: bool, error: impl Into<Failure>) -> (JobSaw, Failure) {
    (if is_passing { JobSaw::Lost } else { JobSaw::Failed }, error.into())
}

/// Says how a box ended; `failure` is what went wrong last.
fn made(keyed: &Keyed, end: JobEnd, failure: Option<Failure>) -> Result<Made, Outcome> {
    let (digest, generation, outcome, adopted, reason) = match end {
        JobEnd::Used { digest, generation, reason } => (digest, generation, Outcome::Used, false, reason),
        JobEnd::Built { digest, generation, adopted, reason } => {
            (digest, generation, Outcome::Built, adopted, reason)
        }
        JobEnd::Forbidden(why) => return Err(Outcome::Forbidden(why)),
        JobEnd::Failed => {
            return Err(Outcome::Failed(failure.unwrap_or_else(|| BoxError::Undecided.into())));
        }
        JobEnd::GaveUp(reason) => return Err(Outcome::Failed(BoxError::GaveUp(reason).into())),
    };
    let repository = keyed.wanted.repository.clone();
    Ok(Made { repository, digest, generation, local: None, outcome, adopted, reason, seconds: 0.0 })
}
