//! What a Dockerfile says about a box: stages, arguments, images, and what it can read.
//!
//! The grammar and its oddities are BuildKit's (`frontend/dockerfile`): whatever it can read must be
//! seen here, and nothing is refused that some version of it takes. Where engines differ, where only
//! the build knows, and where something is not known here, the answer is the larger one: the whole
//! context, and all stages before.

mod analysis;
mod at;
mod canonical;
mod error;
mod facts;
mod findings;
mod flags;
mod globals;
mod images;
mod instruction;
mod lines;
mod modifier;
mod mount;
mod need;
mod needs;
mod outline;
mod reads;
mod rewrite;
mod scope;
mod shell;
#[cfg(test)]
mod shell_tests;
mod source;
mod stages;
mod steps;
#[cfg(test)]
mod tests;
mod triggers;
mod unknown;
mod walk;

pub use analysis::{analyse, is_docker_frontend};
pub use at::At;
pub use error::DockerfileError;
pub use facts::{Analysis, BoxInputs, Frontend, Secret};
pub use findings::{Finding, FindingKind, is_secret};
pub use images::{ImageOrigin, ImageUse, UnreachableStage};
pub use need::{Need, NeedKind};
pub use outline::{StageBase, StageOutline, outline};
pub use reads::{Reads, Shape, Source};
pub use rewrite::{RewriteError, rewrite};
pub use source::DockerfileSource;
pub use steps::step_at;
pub use triggers::Inherited;
