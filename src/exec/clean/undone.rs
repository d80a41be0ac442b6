//! What is asked for when a sweep is undone, what became of it, and why nothing did.

use crate::exec::ledger::LedgerError;
use crate::model::{AnyError, Digest, ErrorKind, Explained, Explanation, Repository, RunId, Tag, Timestamp};
use crate::port::RegistryError;
use crate::retention::PutBack;

/// Which sweep is undone, and where.
#[derive(Debug, Clone, Default)]
pub struct UndoOptions {
    /// The repositories that are cleaned; nothing is put back elsewhere.
    pub repositories: Vec<Repository>,
    /// Where sweeps note which records are their own; others are then not believed.
    pub sightings: Option<Repository>,
    /// The sweep; the newest if none is named.
    pub run: Option<RunId>,
    /// Whether to do it; else only the decision is returned.
    pub apply: bool,
}

/// A sweep of which something is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undoable {
    /// Its run.
    pub run: RunId,
    /// Until when what it deleted is kept.
    pub until: Timestamp,
}

/// One manifest that was deleted, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// The repository's name, without its host.
    pub repository: String,
    /// Its tag; nothing for a part of what stood under one.
    pub tag: Option<Tag>,
    /// Its digest.
    pub digest: Digest,
    /// What was decided.
    pub step: PutBack,
    /// Why that did not work.
    pub failed: Option<String>,
}

/// What became of undoing a sweep.
#[derive(Debug, Clone)]
pub struct UndoReport {
    /// The sweep; nothing if none can be undone.
    pub sweep: Option<Undoable>,
    /// Other sweeps that can be, the newest first.
    pub others: Vec<Undoable>,
    /// What it deleted, in the order in which it is put back.
    pub images: Vec<Undone>,
    /// What stands of it and is still ended by a sweep's tombstone; nothing once undoing is applied.
    pub ended: usize,
    /// Records of the sweep that are not believed, with the reason.
    pub aside: Vec<(Tag, String)>,
    /// Whether anything was written.
    pub is_applied: bool,
    /// Whether it was stopped before it was through.
    pub is_interrupted: bool,
    /// Why tombstones of what was put back may still stand; running it again takes them away.
    pub unfinished: Option<AnyError>,
}

/// Why nothing was put back.
#[derive(Debug, thiserror::Error)]
pub enum UndoError {
    /// The ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The registry did not answer as needed.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Nothing is kept of the sweep that is to be undone.
    #[error("nothing is kept of a clean by run {run}")]
    NothingKept { run: RunId },
    /// It took longer than its lease lasts.
    #[error("the lease on what was put back is ending")]
    Lapsed,
}

impl Explained for UndoError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Ledger(error) => error.explain().undone("nothing was put back"),
            Self::Registry(error) => error.explain().undone("nothing was put back"),
            Self::Lapsed => ErrorKind::Unreachable.into(),
            Self::NothingKept { .. } => ErrorKind::Missing.hint(
                "`boxwright clean --undo` names the runs that can be undone; `undo` of [clean] in boxwright.toml says for how long",
            ),
        }
    }
}
