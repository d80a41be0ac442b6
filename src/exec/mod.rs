//! The only callers of the ports: each file carries out one protocol step by step, tells
//! what it does as events, and prints nothing.

mod attached;
mod before;
mod beyond;
mod build;
mod carry;
mod clean;
mod closure;
mod content;
mod copy;
mod elsewhere;
mod event;
mod explain;
mod export;
mod failure;
mod findings;
mod finish;
mod import;
mod keys;
mod ledger;
mod local;
mod lock;
mod log;
mod make;
mod marker;
mod old;
mod outcome;
mod pack;
mod past;
mod pins;
mod probe;
mod promote;
mod protect;
mod queue;
mod reasons;
mod rebuild;
mod recorded;
mod redact;
mod run;
mod schedule;
mod secrets;
mod sightings;
mod sources;
mod standing;
mod stored;
mod survey;
mod sweep;
mod undo;
mod vet;
mod within;

pub use before::NoRoom;
pub use beyond::{Beyond, beyond};
pub use build::{BuildError, BuildOptions, all_known, build};
pub use clean::{CleanError, CleanOptions, CleanReport, clean};
pub use content::Content;
pub use copy::{CopyError, Place, copy};
pub use elsewhere::promote_to;
pub use event::{Emit, Event};
pub use explain::{Against, Compared, Difference, ExplainError, Parent, against, compare};
pub use export::{ExportError, export};
pub use failure::{FailedStep, Failure};
pub use findings::Remark;
pub use import::{ImportError, load, push};
pub use keys::{Keyed, KeysError, Tree, keys};
pub use ledger::{Held, Leased, Ledger, LedgerError};
pub use local::build_local;
pub use lock::{LockError, LockReport, Moved, resolve};
pub use log::{Aside, History, history};
pub use outcome::{BoxReport, BuildReport, Outcome};
pub use pack::PackError;
pub use probe::{observe, observe_all};
pub use promote::{PromoteError, PromoteOptions, PromoteReport, promote};
pub use protect::{ProtectError, protected, refs};
pub use reasons::{Reason, Reasons, reasons};
pub use rebuild::{RebuildError, Replaced, replace};
pub use run::{RunError, prepare};
pub use secrets::NoSecret;
pub use sources::DirectoryError;
pub use standing::{Stored, claims, resolve as resolve_tags, stored};
pub use stored::InputsError;
pub use vet::vet;

pub use crate::retention::Deletion;

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
