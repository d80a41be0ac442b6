//! What can go wrong in a command, and the one place where errors become exit codes.

use std::io;
use std::path::PathBuf;

use crate::adapter::archive::{BadArchive, Fault};
use crate::adapter::credentials::SettingError;
use crate::adapter::embedded::EmbeddedError;
use crate::adapter::git::RevisionError;
use crate::adapter::registry::StartError;
use crate::config::ConfigError;
use crate::exec::{
    BuildError, CleanError, CopyError, ExplainError, ExportError, ImportError, InputsError, KeysError,
    LedgerError, LockError, NoSecret, PackError, PromoteError, ProtectError, RebuildError, RunError,
};
use crate::inputs::DockerignoreError;
use crate::model::chain;
use crate::port::{ContextError, EngineError, Failure, RegistryError, SecretError};

/// Exit codes, as documented in `--help`.
pub mod exit {
    pub const DONE: u8 = 0;
    pub const FAILED: u8 = 1;
    pub const USAGE: u8 = 2;
    pub const MISSING: u8 = 10;
    pub const UNREACHABLE: u8 = 20;
    pub const REFUSED: u8 = 21;
    pub const PARTLY: u8 = 22;
    pub const INTERRUPTED: u8 = 130;
}

/// Why a command ended early.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("no boxwright.toml in {} or above", directory.display())]
    NoConfig { directory: PathBuf },
    /// A configuration above that somebody else could have put there.
    #[error("{} belongs to user {owner}", path.display())]
    Planted { path: PathBuf, owner: u32 },
    /// A file of the repository is none, or leads elsewhere.
    #[error(transparent)]
    File(#[from] ContextError),
    #[error("failed to {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// The result was not taken in, by a full disk perhaps.
    #[error("failed to write the result")]
    Output(#[source] io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("there is no {what} `{name}`")]
    Unknown { what: &'static str, name: String, known: Vec<String> },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Setting(#[from] SettingError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Keys(#[from] KeysError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Promote(#[from] PromoteError),
    #[error(transparent)]
    Clean(#[from] CleanError),
    #[error(transparent)]
    Protect(#[from] ProtectError),
    #[error(transparent)]
    Explain(#[from] ExplainError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Archive(#[from] BadArchive),
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// A revision whose configuration would have more than the present one is given.
    #[error("boxwright.toml of {revision} {what}")]
    OtherTrust { revision: String, what: String },
    /// An event that anybody can cause, and a command that writes.
    #[error("{what} is refused: this run is not trusted: {why}")]
    Untrusted { what: &'static str, why: String },
    /// A record that is not for a person to forget.
    #[error("{at} is not forgotten: {why}")]
    NotForgotten { at: String, why: String },
    /// A CI that does not tell what caused the run, and a command that writes.
    #[error("{what} is refused: it is not known whether this run is trusted: {why}")]
    NotKnown { what: &'static str, why: String },
    /// `--push never`, and a command that writes.
    #[error("{what} is refused: --push never")]
    Never { what: &'static str },
    /// `--push always`, and no push.
    #[error("nothing may be pushed from here, and --push always asks for it")]
    NoPush,
    /// A worker ended without a result.
    #[error("a part of boxwright stopped unexpectedly")]
    CutOff,
    /// The user pressed Ctrl-C, or the CI stopped the job.
    #[error("interrupted")]
    Interrupted,
}

impl CliError {
    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            // A disk that is full is nobody's wrong setting.
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => exit::FAILED,
            Self::NoConfig { .. }
            | Self::Planted { .. }
            | Self::File(_)
            | Self::Io { .. }
            | Self::Usage(_)
            | Self::Unknown { .. }
            | Self::Config(_)
            | Self::Setting(_)
            | Self::Start(_) => exit::USAGE,
            Self::Keys(error) => keys(error),
            Self::Lock(error) => match error {
                LockError::Keys(error) => keys(error),
                LockError::Remote { source, .. } if source.is_refused => exit::REFUSED,
                LockError::Registry { .. } | LockError::Remote { .. } => exit::UNREACHABLE,
                LockError::NoImage { .. } | LockError::NoRef { .. } => exit::FAILED,
            },
            Self::Rebuild(error) => match error {
                RebuildError::Ledger(error) => ledger(error),
                RebuildError::Unknown(_) => exit::UNREACHABLE,
            },
            Self::Revision(error) => match error {
                RevisionError::Unknown { .. } | RevisionError::NoRepository { .. } => exit::USAGE,
                RevisionError::Refused { .. } | RevisionError::Unread(_) => exit::REFUSED,
                RevisionError::Directory(_) => exit::FAILED,
            },
            Self::OtherTrust { .. }
            | Self::Untrusted { .. }
            | Self::NotForgotten { .. }
            | Self::NotKnown { .. }
            | Self::Never { .. }
            | Self::NoPush => exit::REFUSED,
            Self::Embedded(_) | Self::Output(_) | Self::CutOff => exit::FAILED,
            Self::Build(error) => build(error),
            Self::Promote(error) => match error {
                PromoteError::Unknown(_) => exit::UNREACHABLE,
                PromoteError::Ledger(error) => ledger(error),
                PromoteError::Registry(error) => registry(error),
                PromoteError::Lapsed { .. } => exit::UNREACHABLE,
                PromoteError::Missing { .. } | PromoteError::Gone { .. } | PromoteError::NoSet { .. } => {
                    exit::MISSING
                }
                PromoteError::Copy { source, .. } => match source {
                    CopyError::Registry(error) => registry(error),
                    CopyError::Missing { .. } => exit::MISSING,
                    CopyError::Manifest(_) | CopyError::TooDeep { .. } => exit::UNREACHABLE,
                    CopyError::Contended { .. } => exit::REFUSED,
                },
                PromoteError::Refused(_)
                | PromoteError::ReadOnly
                | PromoteError::Going { .. }
                | PromoteError::Doubtful { .. }
                | PromoteError::Conflict { .. } => exit::REFUSED,
                PromoteError::Partly { .. } => exit::PARTLY,
                PromoteError::Interrupted { .. } => exit::INTERRUPTED,
            },
            Self::Protect(error) => match error {
                ProtectError::Unreadable(_) => exit::UNREACHABLE,
                ProtectError::Empty { .. } => exit::REFUSED,
            },
            Self::Clean(error) => match error {
                CleanError::TooMany { .. }
                | CleanError::TooMuch { .. }
                | CleanError::TooFew { .. }
                | CleanError::NoProtector { .. }
                | CleanError::Moved { .. } => exit::REFUSED,
                CleanError::Ledger(error) => ledger(error),
                CleanError::Registry(error) => registry(error),
                CleanError::Unreadable { .. }
                | CleanError::InvalidTag { .. }
                | CleanError::Dangling { .. }
                | CleanError::Late => exit::UNREACHABLE,
            },
            Self::Explain(error) => explain(error),
            Self::Export(error) => match error {
                ExportError::Run(error) => run(error),
                ExportError::Registry(error) => registry(error),
                ExportError::Image { .. } | ExportError::Archive(_) => exit::FAILED,
                ExportError::Pack(error) => pack(error),
            },
            Self::Archive(BadArchive { source: Fault::Io { action: "open", .. }, .. }) => exit::USAGE,
            Self::Archive(_) => exit::FAILED,
            Self::Import(error) => match error {
                ImportError::Image { .. } => exit::FAILED,
                ImportError::Undeclared { .. }
                | ImportError::OtherKey { .. }
                | ImportError::ReadOnly { .. } => exit::REFUSED,
                ImportError::Build(error) => build(error),
                ImportError::Engine(error) => engine(error),
                ImportError::Pack(error) => pack(error),
            },
            Self::Run(error) => run(error),
            Self::Engine(error) => engine(error),
            Self::Interrupted => exit::INTERRUPTED,
        }
    }

    /// Returns it with its causes, each said once.
    pub fn text(&self) -> String {
        chain(self)
    }

    /// Returns the file and the line that it is about, where it is about one. The file is named
    /// from the directory of the configuration.
    pub fn place(&self) -> Option<(String, u32)> {
        let place = match self {
            Self::Config(error) => Some((error.file.as_str(), u32::try_from(error.line).ok()?)),
            Self::Keys(error) | Self::Lock(LockError::Keys(error)) => match error {
                KeysError::Dockerfile { source, .. } => source.place(),
                KeysError::Dockerignore {
                    source:
                        DockerignoreError::Pattern { file, line, .. }
                        | DockerignoreError::Limit { file, line, .. },
                    ..
                } => Some((file.as_str(), *line)),
                KeysError::NothingMatches { at, .. }
                | KeysError::Image { at, .. }
                | KeysError::Undeclared { at, .. }
                | KeysError::Trigger { at, .. } => Some((at.file.as_str(), at.line)),
                KeysError::PinFile { source, .. } | KeysError::PinValue { source, .. } => {
                    Some((source.file.as_str(), u32::try_from(source.line).ok()?))
                }
                _ => None,
            },
            _ => None,
        };
        place.map(|(file, line)| (file.to_owned(), line))
    }
}

fn keys(error: &KeysError) -> u8 {
    match error {
        KeysError::Context { source: ContextError::Outside { .. } | ContextError::InGit { .. }, .. } => {
            exit::USAGE
        }
        KeysError::Context { .. } => exit::FAILED,
        KeysError::Dockerfile { .. }
        | KeysError::NoDockerfile { .. }
        | KeysError::Dockerignore { .. }
        | KeysError::Outside { .. }
        | KeysError::NoContext { .. }
        | KeysError::PinFile { .. }
        | KeysError::PinValue { .. }
        | KeysError::Tag { .. }
        | KeysError::Repository { .. }
        | KeysError::Unused { .. }
        | KeysError::NotLocked { .. }
        | KeysError::Image { .. }
        | KeysError::Rewrite { .. }
        | KeysError::SecretArgument { .. }
        | KeysError::Directory { .. }
        | KeysError::Undeclared { .. }
        | KeysError::SecretSent { .. }
        | KeysError::Git { .. }
        | KeysError::Trigger { .. }
        | KeysError::NothingMatches { .. } => exit::USAGE,
    }
}

fn explain(error: &ExplainError) -> u8 {
    match error {
        ExplainError::Name { .. } => exit::USAGE,
        ExplainError::NoImage { .. } | ExplainError::NoInputs { .. } => exit::MISSING,
        ExplainError::NotOurs { .. } => exit::FAILED,
        ExplainError::Registry(error) => registry(error),
        ExplainError::Inputs(error) => match error {
            InputsError::Ledger(error) => ledger(error),
            InputsError::Registry(error) => registry(error),
            InputsError::Unusable { .. } | InputsError::NoLayer { .. } | InputsError::CutOff { .. } => {
                exit::FAILED
            }
        },
    }
}

fn run(error: &RunError) -> u8 {
    match error {
        RunError::Missing { .. } => exit::MISSING,
        RunError::Unknown { .. } => exit::UNREACHABLE,
        RunError::Engine(error) => engine(error),
    }
}

fn pack(error: &PackError) -> u8 {
    match error {
        PackError::Registry(error) => registry(error),
        PackError::Read { .. }
        | PackError::Missing { .. }
        | PackError::Changed { .. }
        | PackError::Closed => exit::FAILED,
    }
}

fn build(error: &BuildError) -> u8 {
    match error {
        BuildError::Ledger(error) => ledger(error),
        BuildError::Unknown { .. } => exit::UNREACHABLE,
        BuildError::Secret(NoSecret { source: SecretError::Withheld { .. }, .. }) => exit::REFUSED,
        BuildError::Secret(_) => exit::USAGE,
        BuildError::Beyond(_) | BuildError::NoRoom(_) => exit::FAILED,
    }
}

fn ledger(error: &LedgerError) -> u8 {
    match error {
        LedgerError::Registry(error) => registry(error),
        LedgerError::Record { .. } | LedgerError::Drowned { .. } | LedgerError::NotOurs { .. } => {
            exit::UNREACHABLE
        }
    }
}

fn registry(error: &RegistryError) -> u8 {
    match &error.failure {
        Failure::Denied { .. } | Failure::Unsupported { .. } => exit::REFUSED,
        Failure::Unauthorized { .. }
        | Failure::Status { .. }
        | Failure::Unreachable { .. }
        | Failure::Untrusted { .. }
        | Failure::TooLong { .. }
        | Failure::Credentials { .. } => exit::UNREACHABLE,
        Failure::Source { .. } => exit::FAILED,
    }
}

/// The exit code for an engine that did not do it.
pub fn engine(error: &EngineError) -> u8 {
    match error {
        EngineError::Unreachable { .. } | EngineError::TooOld { .. } => exit::UNREACHABLE,
        EngineError::BuildFailed { .. }
        | EngineError::Context(_)
        | EngineError::Transfer { .. }
        | EngineError::DiskFull { .. }
        | EngineError::Engine { .. } => exit::FAILED,
        EngineError::Interrupted => exit::INTERRUPTED,
    }
}

#[cfg(test)]
mod tests;
