//! One box of a build: carries out what [`Job`] asks for.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::sync::OnceCell;

use crate::exec::build::engine_needs::beyond;
use crate::exec::build::error::BuildOptions;
use crate::exec::build::from_archive::Upload;
use crate::exec::build::judge::decided;
use crate::exec::build::outcome::{Made, Outcome, Parents};
use crate::exec::build::step_log::Tail;
use crate::exec::build::{secrets, step_log};
use crate::exec::event::{Emit, Event};
use crate::exec::failure::{FailedStep, Failure};
use crate::exec::image::labels::{GENERATION_LABEL, KEY_LABEL, PARENTS_LABEL};
use crate::exec::image::probe::observe;
use crate::exec::keys::Keyed;
use crate::exec::ledger::Ledger;
use crate::exec::ledger::lease::Held;
use crate::exec::setting::{Ports, Setting};
use crate::model::{Digest, Generation, Key, Lease, chain};
use crate::plan::Decision;
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
        let (mut image, mut step) = (None, None);
        loop {
            let saw = match job.next() {
                JobAction::Wait => self
                    .wait_for_others(keyed, parents)
                    .await
                    .map(|()| JobSaw::Waited)
                    .map_err(|e| e.to_string()),
                JobAction::Look { pause } => {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    Ok(self.look(keyed, parents).await)
                }
                JobAction::Build { generation, reason } => {
                    let built = match self.origin {
                        Origin::Engine => {
                            let built = self.build(keyed, generation, parents, &reason).await;
                            built.map(Image::Built).map_err(|failure| {
                                step = failure.step;
                                failure.why
                            })
                        }
                        Origin::Archive(archive) => {
                            Upload::send(self.ports, archive, keyed, generation, parents, self.emit)
                                .await
                                .map(Image::Sent)
                        }
                    };
                    built.map(|built| {
                        image = Some(built);
                        JobSaw::Built
                    })
                }
                JobAction::Clock => Ok(JobSaw::Clock { is_short: self.is_short() }),
                JobAction::Lease => self.renew().await.map(|()| JobSaw::Leased).map_err(|e| e.to_string()),
                JobAction::Push { generation } => match &image {
                    Some(Image::Built(image)) => self.push(keyed, image, generation).await,
                    Some(Image::Sent(upload)) => upload.show().await,
                    None => Err("nothing was built".to_owned()),
                },
                JobAction::End(end) => return made(keyed, end, step),
            };
            job = job.observe(saw.unwrap_or_else(JobSaw::Failed));
        }
    }

    pub async fn build(
        &self,
        keyed: &Keyed,
        generation: Generation,
        parents: &Parents,
        reason: &str,
    ) -> Result<ImageId, Failure> {
        let version = self.version().await.map_err(|error| chain(&error))?;
        // A box that stood when the run began can still have to be built.
        if let Some(beyond) = beyond(version, std::iter::once(keyed)) {
            return Err(beyond.to_string().into());
        }
        let request = self.request(keyed, generation, parents).map_err(|error| chain(&error))?;
        let (emit, name) = (self.emit, keyed.wanted.name.clone());
        let entries = request.entries.len();
        emit(Event::Building { name: name.clone(), reason: reason.to_owned(), entries });
        let tail = Tail::default();
        let on_build = |event| {
            tail.event(&event);
            emit(Event::Build { name: name.clone(), event });
        };
        let image = secrets::build(self.ports, keyed, request, &on_build).await;
        let image = image.map_err(|error| step_log::failure(&error, keyed, tail))?;
        if let Some(limit) = keyed.spec.max_size {
            let size = self.ports.engine.size(&image).await;
            let size = size.map_err(|error| chain(&error))?;
            if size > limit {
                let why =
                    format!("its image has {size} bytes, and max-size allows {limit}; it was not pushed");
                return Err(why.into());
            }
        }
        Ok(image)
    }

    async fn push(&self, keyed: &Keyed, image: &ImageId, generation: Generation) -> Result<JobSaw, String> {
        let tag = keyed.wanted.tag.with_generation(generation).tag();
        let repository = &keyed.wanted.repository;
        let (emit, name) = (self.emit, keyed.wanted.name.clone());
        emit(Event::Pushing { name: name.clone(), reference: format!("{repository}:{tag}") });
        let on_push = {
            let name = name.clone();
            move |event| emit(Event::Push { name: name.clone(), event })
        };
        match self.ports.engine.push(image, repository, &tag, &on_push).await {
            Ok(digest) => Ok(JobSaw::Pushed(digest)),
            Err(error) if is_passing(&error) => {
                emit(Event::Note { text: format!("{name}: {}; looking again", chain(&error)) });
                Ok(JobSaw::Lost(chain(&error)))
            }
            Err(error) => Err(chain(&error)),
        }
    }

    /// Looks at what stands, for a box that may be pushed.
    pub async fn look(&self, keyed: &Keyed, parents: &Parents) -> JobSaw {
        let (wanted, platform) = (&keyed.wanted, &keyed.spec.platform);
        let seen = observe(self.ports.registry, &self.setting.ledger, wanted, platform).await;
        JobSaw::Looked { generation: seen.generation, decision: decided(&seen, parents, keyed, true) }
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

fn made(keyed: &Keyed, end: JobEnd, step: Option<FailedStep>) -> Result<Made, Outcome> {
    let (digest, generation, outcome, adopted, reason) = match end {
        JobEnd::Used { digest, generation, reason } => (digest, generation, Outcome::Used, false, reason),
        JobEnd::Built { digest, generation, adopted, reason } => {
            (digest, generation, Outcome::Built, adopted, reason)
        }
        JobEnd::Forbidden(why) => return Err(Outcome::Forbidden(why)),
        JobEnd::Failed(why) => return Err(Outcome::Failed(Failure { why, step })),
    };
    let repository = keyed.wanted.repository.clone();
    Ok(Made { repository, digest, generation, local: None, outcome, adopted, reason, seconds: 0.0 })
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
