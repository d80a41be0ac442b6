//! Running a command in a box: which image, and that it is there.

use super::keys::Keyed;
use super::probe::observe;
use super::{Ports, Setting};
use crate::model::Digest;
use crate::plan::State;

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
    },
}

impl RunError {
    /// Says why a box that is not present cannot be used.
    pub(super) fn from_state(name: String, state: State) -> Self {
        match state {
            State::Broken { why } => Self::Missing { name, why },
            State::Unknown { why } => Self::Unknown { name, why },
            State::Missing | State::Present { .. } => {
                Self::Missing { name, why: "no image has its key".to_owned() }
            }
        }
    }
}

/// Returns the digest of the box's image that stands.
pub async fn prepare(ports: Ports<'_>, setting: &Setting, keyed: &Keyed) -> Result<Digest, RunError> {
    let seen = observe(ports.registry, &setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
    match seen.state {
        State::Present { digest, .. } => Ok(digest),
        state => Err(RunError::from_state(keyed.wanted.name.clone(), state)),
    }
}
