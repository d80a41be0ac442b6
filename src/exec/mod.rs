//! The only callers of the ports: what was decided is carried out here step by step and told as
//! events; nothing is printed.
//!
//! The rooms, from the top down; a file imports only from what stands below it:
//!
//! | room | what it does |
//! | --- | --- |
//! | `promote/` | moves tags to images: [`promote()`], [`promote_to()`]; `resolve` plans, `carry` writes, `vet` says which earlier promotion is believed |
//! | `archive/` | boxes as files: [`export()`], [`load()`], [`push()`] |
//! | `build/` | a run: [`build()`]; `round` takes the boxes parents first, `job` makes one, `judge` says what an image is worth, `record` writes what was used |
//! | `clean/` | a sweep: [`clean()`]; `survey` reads, `sweep` marks and deletes, `limits` hold it back |
//! | `explain/`, `run`, `inventory` | what differs, what to run, what there is |
//! | `image/` | one image: `probe` asks what stands, `labels` reads what it says of itself, `copy` takes it elsewhere |
//! | `ledger/` | records and leases: [`Ledger`]; `lease` takes them, `past` and `history` read promotions, `tombstone` ends a generation |
//! | `keys/` | from files to keys, offline: [`keys()`]; `analyse` reads a Dockerfile, `prepare` what else is known, `derive` writes the manifest |
//! | `heal` | a manifest whose blobs are lost is written with them |
//! | `event`, `failure`, `pace`, `setting` | what is told, why a box failed, how much at once and how long, what holds for a whole command |
//!
//! Each room's `error` says how it can fail. This file only says which names leave.

mod archive;
mod build;
mod clean;
mod event;
mod explain;
mod failure;
mod heal;
mod image;
mod inventory;
mod keys;
mod ledger;
mod pace;
mod promote;
mod run;
mod setting;

pub use crate::protocol::Deletion;
pub use archive::export::{ExportError, export};
pub use archive::import::{ImportError, load, push};
pub use archive::pack::PackError;
pub use build::build;
pub use build::engine_needs::{UnmetRequirements, unmet};
pub use build::error::{BuildError, BuildOptions};
pub use build::local::build_local;
pub use build::outcome::{BoxReport, BuildReport, Outcome};
pub use build::rebuild::{RebuildError, Replaced, replace};
pub use build::secrets::NoSecret;
pub use clean::clean;
pub use clean::error::{CleanError, CleanOptions, CleanReport};
pub use clean::protect::{ProtectError, protected, refs};
pub use clean::put_back::undo_clean;
pub use clean::undone::{UndoError, UndoOptions, UndoReport, Undoable, Undone};
pub use event::{Emit, Event};
pub use explain::reasons::{Reason, Reasons, reasons};
pub use explain::{Against, Compared, Difference, ExplainError, Parent, against, compare};
pub use failure::{FailedStep, Failure};
pub use image::copy::{CopyError, Place, Target, copy};
pub use image::probe::{Unanswered, all_known, observe, observe_all};
pub use inventory::{Stored, claims, resolve as resolve_tags, stored};
pub use keys::directory::DirectoryError;
pub use keys::findings::Remark;
pub use keys::lock::{LockError, LockReport, Moved, resolve};
pub use keys::tree::Tree;
pub use keys::{KeysError, ResolvedBox, keys};
pub use ledger::history::{Aside, History, history};
pub use ledger::inputs::InputsError;
pub use ledger::lease::{Held, Leased};
pub use ledger::write::LedgerWriter;
pub use ledger::{Ledger, LedgerError};
pub use promote::content::PromotionSource;
pub use promote::cross_registry::promote_to;
pub use promote::error::{PromoteError, PromoteOptions, PromoteReport};
pub use promote::promote;
pub use promote::vet::vet;
pub use run::{RunError, prepare};
pub use setting::{EnginePorts, RegistryPorts, RunContext};
