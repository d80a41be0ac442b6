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
    #[error("box {name} cannot be used: {why}")]
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
        /// Whether other credentials would help.
        wants_login: bool,
    },
    /// The engine did not say.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl RunError {
    /// Says why a box that is not present cannot be used.
    pub(super) fn from_state(name: String, state: State) -> Self {
        match state {
            State::Broken { why } => Self::Missing { name, why },
            State::Unknown { why, wants_login } => Self::Unknown { name, why, wants_login },
            State::Missing | State::Present { .. } => {
                Self::Missing { name, why: "no image has its key".to_owned() }
            }
        }
    }
}

/// Names the image of a box that was built for this machine alone.
pub(super) fn local_name(wanted: &Wanted) -> String {
    format!("{NOWHERE}/{}:{}", wanted.repository.name(), wanted.tag)
}

/// Returns the box's image: the one that stands, else one that was built for this machine.
pub async fn prepare(ports: Ports<'_>, setting: &Setting, keyed: &Keyed) -> Result<RunImage, RunError> {
    let name = keyed.wanted.name.clone();
    let seen = observe(ports.registry, &setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
    let missing = match seen.state {
        State::Present { digest, .. } => {
            return Ok(RunImage::Pushed { repository: keyed.wanted.repository.clone(), digest });
        }
        state => RunError::from_state(name, state),
    };
    if matches!(missing, RunError::Unknown { .. }) {
        return Err(missing);
    }
    match ports.engine.find(&local_name(&keyed.wanted)).await {
        Ok(Some(image)) => Ok(RunImage::Local(image)),
        // Without an engine nothing was built here.
        Ok(None) | Err(EngineError::Unreachable { .. }) => Err(missing),
        Err(error) => Err(error.into()),
    }
}
