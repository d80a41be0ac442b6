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
}

/// Returns the digest of the box's image that stands.
pub async fn prepare(ports: Ports<'_>, setting: &Setting, keyed: &Keyed) -> Result<Digest, RunError> {
    let name = keyed.wanted.name.clone();
    let seen = observe(ports.registry, &setting.ledger, &keyed.wanted, &keyed.spec.platform).await;
    match seen.state {
        State::Present { digest, .. } => Ok(digest),
        State::Missing => Err(RunError::Missing { name, why: "no image has its key".to_owned() }),
        State::Broken { why } => Err(RunError::Missing { name, why }),
        State::Unknown { why } => Err(RunError::Unknown { name, why }),
    }
}
