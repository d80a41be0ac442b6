//! Whether a command failed for want of credentials that a registry accepts: then it does not help
//! to run it again.

use super::error::CliError;
use crate::exec::{
    BuildError, CleanError, ExplainError, ExportError, ImportError, LedgerError, PromoteError, RebuildError,
    RunError,
};

/// What to do about it.
pub const HINT: &str = "log in to that registry with `docker login` or `podman login`, or set BOXWRIGHT_REGISTRY_USERNAME and BOXWRIGHT_REGISTRY_PASSWORD, and BOXWRIGHT_REGISTRY to the registry (and path) that they are for";

impl CliError {
    /// Tells whether the registry wants other credentials to be shown.
    pub(super) fn wants_login(&self) -> bool {
        match self {
            Self::Build(error) | Self::Import(ImportError::Build(error)) => match error {
                BuildError::Unknown(unanswered) => unanswered.wants_login,
                BuildError::Ledger(error) => ledger_wants_login(error),
                BuildError::Secret(_) | BuildError::Beyond(_) | BuildError::NoRoom(_) => false,
            },
            Self::Run(RunError::Unknown(unanswered))
            | Self::Export(ExportError::Run(RunError::Unknown(unanswered)))
            | Self::Promote(PromoteError::Unknown(unanswered))
            | Self::Rebuild(RebuildError::Unknown(unanswered)) => unanswered.wants_login,
            Self::Promote(PromoteError::Ledger(error))
            | Self::Clean(CleanError::Ledger(error))
            | Self::Rebuild(RebuildError::Ledger(error)) => ledger_wants_login(error),
            Self::Promote(PromoteError::Registry(error))
            | Self::Clean(CleanError::Registry(error))
            | Self::Explain(ExplainError::Registry(error))
            | Self::Export(ExportError::Registry(error)) => error.failure.wants_login(),
            _ => false,
        }
    }
}

fn ledger_wants_login(error: &LedgerError) -> bool {
    matches!(error, LedgerError::Registry(error) if error.failure.wants_login())
}
