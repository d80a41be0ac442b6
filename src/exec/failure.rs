//! Why a box failed, as far as its build told: the error, the step, its place in the Dockerfile, and
//! the last lines that it printed.

use crate::inputs::At;
use crate::model::{AnyError, chain};

/// Why a box failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub error: AnyError,
    /// The step that failed, or that ran when the build was stopped.
    pub step: Option<FailedStep>,
}

/// The step at which a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedStep {
    /// As the engine names it, such as `[base 2/3] RUN make`.
    pub name: String,
    /// Its instruction, if it is one of the box's Dockerfile.
    pub at: Option<At>,
    /// Its last lines, safe to print.
    pub last: Vec<String>,
    /// How many lines it printed in all.
    pub lines: usize,
}

impl Failure {
    /// Words it, with the place if there is one.
    pub fn why(&self) -> String {
        chain(&self.error)
    }
}

impl<E: Into<AnyError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: error.into(), step: None }
    }
}
