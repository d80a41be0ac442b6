//! One thing that was looked at, and what came of it.

use std::time::Duration;

use serde::Serialize;

use crate::cli::error::exit;

/// How long one check may take.
const LIMIT: Duration = Duration::from_secs(15);

/// What was found out about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub state: State,
    /// What was looked at.
    pub check: &'static str,
    /// What was seen.
    pub finding: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// The exit code that a problem stands for.
    #[serde(skip)]
    pub code: u8,
}

impl Check {
    pub(super) fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self { state: State::Ok, check, finding: finding.into(), remedy: None, code: exit::DONE }
    }

    pub(super) fn warning(
        check: &'static str,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: State::Warning, remedy: Some(remedy.into()), ..Self::ok(check, finding) }
    }

    pub(super) fn problem(
        check: &'static str,
        code: u8,
        finding: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { state: State::Problem, code, ..Self::warning(check, finding, remedy) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warning,
    Problem,
}

/// Waits for a check, or says that it took too long.
pub(super) async fn bounded<T>(check: &'static str, work: impl Future<Output = T>) -> Result<T, Check> {
    tokio::time::timeout(LIMIT, work).await.map_err(|_| {
        let finding = format!("no result within {} s", LIMIT.as_secs());
        Check::problem(check, exit::UNREACHABLE, finding, "it hangs or is very slow; try it by hand")
    })
}

/// Counts things whose name takes an s.
pub(super) fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
