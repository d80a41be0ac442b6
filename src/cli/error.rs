//! What can go wrong in a command, and the one place where errors become exit codes.

use std::io;
use std::path::PathBuf;

use crate::config::nearest;
use crate::model::{AnyError, ErrorKind, Explanation, chain};

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
    #[error("failed to {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    /// The result was not taken in, by a full disk perhaps.
    #[error("failed to write the result")]
    Output(#[source] io::Error),
    #[error("{0}")]
    Usage(String),
    #[error("there is no {what} `{name}`")]
    Unknown { what: &'static str, name: String, known: Vec<String> },
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
    #[error("nothing may be pushed from here, which --push always asks for")]
    NoPush,
    /// What was agreed to is not what would be done any more.
    #[error("the registry has moved since this was agreed to")]
    Moved,
    /// A worker ended without a result.
    #[error("internal error, please report: a worker ended without a result")]
    CutOff,
    /// The user pressed Ctrl-C, or the CI stopped the job.
    #[error("interrupted")]
    Interrupted,
    /// What a command was carried out by, or read, says what it means.
    #[error(transparent)]
    Caused(AnyError),
}

impl<E: Into<AnyError>> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::Caused(error.into())
    }
}

/// What to do where a registry did not answer, and nothing more is known.
const REACH: &str =
    "check the address, the network and your login, then retry; `boxwright doctor` tests each";
/// What to do where no request failed.
const TEST: &str = "`boxwright doctor` tests the registry and the engine";

impl CliError {
    /// Returns the exit code.
    pub fn exit_code(&self) -> u8 {
        match self.explain().kind {
            ErrorKind::Usage => exit::USAGE,
            ErrorKind::Missing => exit::MISSING,
            ErrorKind::Unreachable => exit::UNREACHABLE,
            ErrorKind::Refused => exit::REFUSED,
            ErrorKind::Partly => exit::PARTLY,
            ErrorKind::Failed => exit::FAILED,
            ErrorKind::Interrupted => exit::INTERRUPTED,
        }
    }

    /// Returns it with its causes, each said once.
    pub fn text(&self) -> String {
        chain(self)
    }

    /// Says what it means.
    pub fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Caused(error) => match error.explain() {
                meaning @ Explanation { kind: ErrorKind::Unreachable, hint: None, .. } => {
                    let hint = if meaning.request.is_some() { REACH } else { TEST };
                    Explanation { hint: Some(hint.to_owned()), ..meaning }
                }
                meaning => meaning,
            },
            Self::NoConfig { .. } => {
                ErrorKind::Usage.hint("`boxwright init` writes one from the Dockerfiles it finds")
            }
            Self::Planted { .. } => ErrorKind::Usage
                .hint("it was found above the current directory; if it is meant, name it by `-f`"),
            // A disk that is full is nobody's wrong setting.
            Self::Io { source, .. } | Self::Output(source)
                if source.kind() == io::ErrorKind::StorageFull =>
            {
                ErrorKind::Failed.hint("`df` says which disk is full")
            }
            Self::Io { .. } | Self::Usage(_) => ErrorKind::Usage.into(),
            Self::Unknown { what, name, known } => ErrorKind::Usage.hint(meant(what, name, known)),
            Self::OtherTrust { .. } => ErrorKind::Refused.hint(
                "look at what it changes; if it is as it should be, check that revision out and build there",
            ),
            Self::Untrusted { .. } => ErrorKind::Refused
                .hint("run it from a push, schedule or manual event of this repository, or from your own terminal"),
            Self::NotKnown { .. } => ErrorKind::Refused.hint(
                "whoever owns the job says BOXWRIGHT_TRUST=trusted, for jobs that strangers cannot cause, or --push always for this call",
            ),
            Self::Never { .. } => {
                ErrorKind::Refused.hint("take --push never, or BOXWRIGHT_PUSH=never, away")
            }
            Self::NoPush => ErrorKind::Refused.hint(
                "the credentials need the right to push; without --push always present boxes are used",
            ),
            Self::NotForgotten { .. } => ErrorKind::Refused.into(),
            Self::Moved => ErrorKind::Refused.hint("run the command again to plan from what stands now"),
            Self::Output(_) | Self::CutOff => ErrorKind::Failed.into(),
            Self::Interrupted => ErrorKind::Interrupted.into(),
        }
    }
}

/// Names what a misspelt name comes near, and all that is known.
fn meant(what: &str, name: &str, known: &[String]) -> String {
    let words: Vec<&str> = known.iter().map(String::as_str).collect();
    let all = match (what, words.is_empty()) {
        ("command", _) => "`boxwright --help` lists all".to_owned(),
        (_, true) => "boxwright.toml declares none".to_owned(),
        (_, false) => format!("boxwright.toml declares {}", words.join(", ")),
    };
    match nearest(name, &words) {
        Some(near) => format!("did you mean `{near}`? {all}"),
        None => all,
    }
}

#[cfg(test)]
mod tests;
