//! The only callers of the ports: each file carries out one protocol step by step, tells
//! what it does as events, and prints nothing.

mod build;
mod clean;
mod event;
mod finish;
mod keys;
mod ledger;
mod make;
mod probe;
mod promote;
mod run;
mod schedule;
mod survey;

pub use build::{BoxReport, BuildError, BuildOptions, BuildReport, Outcome, build};
pub use clean::{CleanError, CleanOptions, CleanReport, Deletion, clean};
pub use event::{Emit, Event};
pub use keys::{Keyed, KeysError, keys, read_pins};
pub use ledger::{Held, Leased, Ledger, LedgerError};
pub use probe::{observe, observe_all};
pub use promote::{PromoteError, PromoteOptions, PromoteReport, promote};
pub use run::{RunError, prepare};

use crate::model::{Repository, RunId, Source, Span};
use crate::port::{Clock, Context, Engine, Registry};

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
    /// Build contexts.
    pub context: &'a dyn Context,
    /// Elapsed time.
    pub clock: &'a dyn Clock,
}
