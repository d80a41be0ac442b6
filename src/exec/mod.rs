//! The only callers of the ports: each file carries out one protocol step by step, tells
//! what it does as events, and prints nothing.

mod archive;
mod build;
mod clean;
mod event;
mod explain;
mod failure;
mod image;
mod inventory;
mod keys;
mod ledger;
mod promote;
mod run;

pub use archive::export::{ExportError, export};
pub use archive::import::{ImportError, load, push};
pub use archive::pack::PackError;
pub use build::engine_needs::{Beyond, beyond};
pub use build::local::build_local;
pub use build::outcome::{BoxReport, BuildReport, Outcome};
pub use build::preflight::NoRoom;
pub use build::rebuild::{RebuildError, Replaced, replace};
pub use build::secrets::NoSecret;
pub use build::{BuildError, BuildOptions, all_known, build};
pub use clean::protect::{ProtectError, protected, refs};
pub use clean::{CleanError, CleanOptions, CleanReport, clean};
pub use event::{Emit, Event};
pub use explain::reasons::{Reason, Reasons, reasons};
pub use explain::{Against, Compared, Difference, ExplainError, Parent, against, compare};
pub use failure::{FailedStep, Failure};
pub use image::copy::{CopyError, Place, copy};
pub use image::probe::{observe, observe_all};
pub use inventory::{Stored, claims, resolve as resolve_tags, stored};
pub use keys::findings::Remark;
pub use keys::lock::{LockError, LockReport, Moved, resolve};
pub use keys::sources::DirectoryError;
pub use keys::{Keyed, KeysError, Tree, keys};
pub use ledger::history::{Aside, History, history};
pub use ledger::inputs::InputsError;
pub use ledger::{Held, Leased, Ledger, LedgerError};
pub use promote::content::Content;
pub use promote::cross_registry::promote_to;
pub use promote::vet::vet;
pub use promote::{PromoteError, PromoteOptions, PromoteReport, promote};
pub use run::{RunError, prepare};

pub use crate::protocol::Deletion;

use crate::model::{Repository, RunId, Source, Span};
use crate::port::{Clock, Engine, Registry, Secrets};

/// What holds for a whole command: who runs it, from what, and where records go.
#[derive(Debug, Clone)]
pub struct Setting {
    /// The registry as repositories are named below it: a host, perhaps with a path.
    pub registry: String,
    /// The ledger.
    pub ledger: Repository,
    /// The run.
    pub run: RunId,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// How long leases last.
    pub lease: Span,
    /// Where the inputs come from.
    pub source: Source,
}

/// The outside world, as the protocols reach it.
#[derive(Clone, Copy)]
pub struct Ports<'a> {
    /// The registry.
    pub registry: &'a dyn Registry,
    /// The container engine.
    pub engine: &'a dyn Engine,
    /// Elapsed time.
    pub clock: &'a dyn Clock,
    /// Build secrets and the ssh agent.
    pub secrets: &'a dyn Secrets,
}
