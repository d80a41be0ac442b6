//! One box of a build: carries out what [`Job`] asks for.

use std::sync::Mutex;

use tokio::sync::OnceCell;

use crate::exec::build::box_builder::BoxBuilder;
use crate::exec::build::error::{BoxError, BuildOptions};
use crate::exec::build::from_archive::Upload;
use crate::exec::build::judge::decided;
use crate::exec::build::outcome::{BuiltBox, Outcome, Parents};
use crate::exec::event::Emit;
use crate::exec::failure::Failure;
use crate::exec::image::probe::{Unanswered, observe};
use crate::exec::keys::ResolvedBox;
use crate::exec::ledger::Ledger;
use crate::exec::ledger::lease::Held;
use crate::exec::setting::{RegistryPorts, RunContext};
use crate::model::{Generation, Lease};
use crate::plan::{Decision, State};
use crate::port::{Archive, ImageId};
use crate::protocol::{Job, JobAction, JobEnd, JobInput};

/// Where the images of missing boxes come from.
pub(crate) enum Origin<'a> {
    /// The engine builds them.
    Engine(BoxBuilder<'a>),
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
pub(crate) struct JobRunner<'a> {
    pub ports: RegistryPorts<'a>,
    pub setting: &'a RunContext,
    pub ledger: Ledger<'a>,
    pub options: &'a BuildOptions,
    pub origin: Origin<'a>,
    /// The leases taken so far, each renewing the one before.
    pub(super) leases: Mutex<Vec<Held>>,
    /// Who else wanted the same boxes when our turn stood.
    pub(super) rivals: OnceCell<Vec<Lease>>,
    /// Held while a lease is renewed, so that boxes made at once do it once.
    pub(super) renewing: tokio::sync::Mutex<()>,
    pub emit: Emit<'a>,
}

impl<'a> JobRunner<'a> {
    pub fn new(
        ports: RegistryPorts<'a>,
        setting: &'a RunContext,
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
            emit,
        }
    }

    /// Does what was decided about one box, whose parents stand.
    pub async fn make(
        &self,
        keyed: &'a ResolvedBox,
        generation: Generation,
        decision: Decision,
        parents: &Parents,
    ) -> Result<BuiltBox, Outcome> {
        let mut job = Job::new(generation, decision);
        let (mut image, mut failure) = (None, None);
        loop {
            let saw = match job.next() {
                JobAction::Wait => {
                    self.wait_for_others(keyed, parents).await.map(|()| JobInput::Waited).map_err(failed)
                }
                JobAction::Look { pause } => {
                    if !pause.is_zero() {
                        tokio::time::sleep(pause).await;
                    }
                    self.look(keyed, parents).await.map_err(failed)
                }
                JobAction::Build { generation, reason } => {
                    let built = match &self.origin {
                        Origin::Engine(builder) => {
                            builder.build(keyed, generation, parents, &reason).await.map(Image::Built)
                        }
                        Origin::Archive(archive) => match self.ports.writer() {
                            Ok(to) => Upload::send(to, *archive, keyed, generation, parents, self.emit)
                                .await
                                .map(Image::Sent)
                                .map_err(Failure::from),
                            Err(error) => Err(error.into()),
                        },
                    };
                    let built = built.map(|built| {
                        image = Some(built);
                        JobInput::Built
                    });
                    built.map_err(failed)
                }
                JobAction::Clock => Ok(JobInput::Clock { is_short: self.is_short() }),
                JobAction::Lease => self.renew().await.map(|()| JobInput::Leased).map_err(failed),
                JobAction::Push { generation } => match (&image, &self.origin) {
                    (Some(Image::Built(image)), Origin::Engine(builder)) => {
                        let pushed = builder.push(keyed, image, generation).await;
                        pushed.map_err(|error| lost(error.is_transient(), error))
                    }
                    (Some(Image::Sent(upload)), _) => {
                        upload.show().await.map_err(|error| lost(error.failure.is_transient(), error))
                    }
                    _ => Err(failed(BoxError::Undecided)),
                }
                .map(JobInput::Pushed),
                JobAction::End(end) => return made(keyed, end, failure),
            };
            job = job.observe(saw.unwrap_or_else(|(saw, error)| {
                failure = Some(error);
                saw
            }));
        }
    }

    /// Looks at what stands, for a box that may be pushed.
    pub async fn look(&self, keyed: &ResolvedBox, parents: &Parents) -> Result<JobInput, Failure> {
        let (wanted, platform) = (&keyed.wanted, &keyed.spec.platform);
        let seen = observe(self.ports.registry, &self.setting.ledger, wanted, platform).await;
        let decision = decided(&seen, parents, keyed, true);
        match seen.state {
            State::Unknown(error) => Err(Unanswered { name: wanted.name.clone(), error }.into()),
            _ => Ok(JobInput::Looked { generation: seen.generation, decision }),
        }
    }
}

/// What the protocol hears of an error, which is kept beside it.
fn failed(error: impl Into<Failure>) -> (JobInput, Failure) {
    (JobInput::Failed, error.into())
}

/// As [`failed`], of a push that may be tried again if it `is_transient`.
fn lost(is_transient: bool, error: impl Into<Failure>) -> (JobInput, Failure) {
    (if is_transient { JobInput::Lost } else { JobInput::Failed }, error.into())
}

/// Says how a box ended; `failure` is what went wrong last.
fn made(keyed: &ResolvedBox, end: JobEnd, failure: Option<Failure>) -> Result<BuiltBox, Outcome> {
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
    Ok(BuiltBox { repository, digest, generation, local: None, outcome, adopted, reason, seconds: 0.0 })
}
