//! Why a Dockerfile cannot be used.

use super::at::At;
use crate::model::{ErrorKind, Explained, Explanation, printable};

/// How many characters of a Dockerfile's own text an error shows at a time.
const SHOWN: usize = 300;

/// Why a Dockerfile cannot be analysed. Every variant says where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerfileError {
    /// Its bytes are not text.
    #[error("{at}: not UTF-8{}", at.excerpt())]
    NotText {
        /// The first odd byte.
        at: At,
    },
    /// BuildKit would refuse it as well.
    #[error("{at}: {}{}", printable(reason, SHOWN), at.excerpt())]
    Syntax {
        at: At,
        /// A lower-case fragment.
        reason: String,
    },
    /// A stage or stage index that does not exist, or not before the instruction that uses it.
    #[error("{at}: stage `{}` {}{}", printable(name, SHOWN), printable(reason, SHOWN), at.excerpt())]
    Stage {
        /// Where it is used.
        at: At,
        name: String,
        /// A lower-case fragment.
        reason: String,
    },
    /// The target is not among the stages.
    #[error(
        "{file}: no stage `{}`{}; the stages are {}",
        printable(target, SHOWN),
        hint(nearest),
        list(stages)
    )]
    UnknownTarget {
        /// The Dockerfile's name.
        file: String,
        /// The target that was asked for.
        target: String,
        /// A stage that looks like it.
        nearest: Option<String>,
        /// All named stages, in order.
        stages: Vec<String>,
    },
    /// An image name that depends on something only the build knows.
    #[error(
        "{at}: cannot tell which image `{}` names, because `{}` is only known during the build{}",
        printable(text, SHOWN),
        printable(variable, SHOWN),
        at.excerpt()
    )]
    UndecidableImage { at: At, text: String, variable: String },
}

impl Explained for DockerfileError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::NotText { at, .. }
            | Self::Syntax { at, .. }
            | Self::Stage { at, .. }
            | Self::UndecidableImage { at, .. } => ErrorKind::Usage.at(&at.file, at.line),
            Self::UnknownTarget { .. } => ErrorKind::Usage.into(),
        }
    }
}

fn hint(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |name| format!(" (did you mean `{}`?)", printable(name, SHOWN)))
}

fn list(stages: &[String]) -> String {
    if stages.is_empty() { "unnamed".to_owned() } else { printable(&stages.join(", "), SHOWN) }
}

/// The candidate that looks most like `name`, if any does.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let lower = name.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(score, _)| *score > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}
