//! Running a command in a box: which image, and that it is there.

use super::keys::Keyed;
use super::probe::observe;
use super::{Ports, Setting};
use crate::plan::{State, Wanted};
use crate::port::{EngineError, RunImage};

/// Where no registry is: an image of this name is in the engine or nowhere.
const NOWHERE: &str = "boxwright.invalid/local";

/// Why a box cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its image is not there.
    #[error("box {name} cannot be run: {why}")]
    Missing {
        /// The box.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// The registry did not say.
    #[error("the registry did not say whether {name} is there: {why}")]
    Unknown {
        /// The box.
        name: String,
        /// The request that failed and how.
        why: String,
    },
    /// The engine did not say.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Names the image of a box that was built for this machine alone.
pub(super) fn local_name(wanted: &Wanted) -> String {
    format!("{NOWHERE}/{}:{}", wanted.repository.name(), wanted.tag)
}

/// Returns the box's image: the one that stands, else one that was built for this machine.
pub async fn prepare(ports: Ports<'_>, setting: &Setting, keyed: &Keyed) -> Result<RunImage, RunError> {
    let name = keyed.wanted.name.clone();
    let seen = observe(ports.registry, &setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
    let why = match seen.state {
        State::Present { digest, .. } => {
            return Ok(RunImage::Pushed { repository: keyed.wanted.repository.clone(), digest });
        }
        State::Unknown { why } => return Err(RunError::Unknown { name, why }),
        State::Missing => "no image has its key".to_owned(),
        State::Broken { why } => why,
    };
    match ports.engine.find(&local_name(&keyed.wanted)).await {
        Ok(Some(image)) => Ok(RunImage::Local(image)),
        // Without an engine nothing was built here.
        Ok(None) | Err(EngineError::Unreachable { .. }) => Err(RunError::Missing { name, why }),
        Err(error) => Err(error.into()),
    }
}
