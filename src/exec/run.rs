//! Running a command in a box: which image, and that it is there.

use crate::exec::image::probe::{Unanswered, observe};
use crate::exec::keys::ResolvedBox;
use crate::exec::setting::{EnginePorts, RunContext};
use crate::model::{ErrorKind, Explained, Explanation, Generation};
use crate::plan::{Seen, State, Wanted};
use crate::port::{EngineError, ImageId, RegistryReader, RunImage};

/// Where no registry is: an image of this name is in the engine or nowhere.
pub(crate) const NOWHERE: &str = "boxwright.invalid/local";

/// Why a box cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its image is not there.
    #[error("box {name}: {why}")]
    Missing { name: String, why: String },
    /// The registry did not say.
    #[error(transparent)]
    Unknown(#[from] Unanswered),
    /// The engine did not say.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl Explained for RunError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Missing { .. } => ErrorKind::Missing.hint("run `boxwright build` first"),
            Self::Unknown(error) => error.explain(),
            Self::Engine(error) => error.explain(),
        }
    }
}

impl RunError {
    /// Says why a box that is not present cannot be used.
    pub(super) fn of(name: String, seen: Seen) -> Self {
        match seen.state {
            State::Broken { why } => Self::Missing { name, why },
            State::Unknown(error) => Unanswered { name, error }.into(),
            State::Missing | State::Present { .. } => {
                Self::Missing { name, why: seen.generation.why_missing() }
            }
        }
    }
}

/// Names the image of a box that was built for this machine alone. What a stranger's run or another
/// project's has built on the same engine has another name: each has a namespace of its own.
pub(crate) fn local_name(namespace: &str, wanted: &Wanted, generation: Generation) -> String {
    format!("{NOWHERE}/{}:{}", local_path(namespace, wanted), wanted.tag.with_generation(generation))
}

/// Names the repository of such images, of a host that is nowhere.
pub(crate) fn local_path(namespace: &str, wanted: &Wanted) -> String {
    format!("{namespace}/{}", wanted.repository.name())
}

/// Finds what was built for this machine alone in the place of what is `missing`.
pub(crate) async fn local_image(
    ports: EnginePorts<'_>,
    keyed: &ResolvedBox,
    generation: Generation,
    missing: &RunError,
) -> Result<Option<ImageId>, RunError> {
    if matches!(missing, RunError::Unknown { .. }) {
        return Ok(None);
    }
    let name = local_name(&ports.secrets.namespace(), &keyed.wanted, generation);
    match ports.store.find(&name).await {
        // Without an engine nothing was built here.
        Err(EngineError::Unreachable { .. }) => Ok(None),
        found => Ok(found?),
    }
}

/// Returns the box's image: the one that stands, else one that was built for this machine.
pub async fn prepare(
    registry: &dyn RegistryReader,
    ports: EnginePorts<'_>,
    setting: &RunContext,
    keyed: &ResolvedBox,
) -> Result<RunImage, RunError> {
    let name = keyed.wanted.name.clone();
    let seen = observe(registry, &setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
    if let State::Present { digest, .. } = seen.state {
        return Ok(RunImage::Pushed { repository: keyed.wanted.repository.clone(), digest });
    }
    let generation = seen.generation;
    let missing = RunError::of(name, seen);
    let local = local_image(ports, keyed, generation, &missing).await?;
    local.map(RunImage::Local).ok_or(missing)
}
