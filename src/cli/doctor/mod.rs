//! `doctor`: what is wrong with the configuration, the engine, the registry, credentials, clock
//! and files, and what to do about it.
//!
//! Everything is looked at, whatever else is broken, each for a limited time. Nothing is left
//! behind: an upload that is begun is given up, a file that is made is removed, and in a run that
//! is not trusted nothing is begun at all. Credentials are never shown, only where they are from.

mod engine;
mod files;
mod registry;
mod settings;

use std::time::Duration;

use anstyle::Style;
use serde::Serialize;

use super::args::{Format, Global};
use super::error::{CliError, exit};
use super::json;
use super::table::Table;
use super::terminal::{BAD, DIM, GOOD, NOTE, Terminal};

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Ok,
    Warning,
    Problem,
}

impl Check {
    fn ok(check: &'static str, finding: impl Into<String>) -> Self {
        Self { state: State::Ok, check, finding: finding.into(), remedy: None, code: exit::DONE }
    }

    fn warning(check: &'static str, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Warning, remedy: Some(remedy.into()), ..Self::ok(check, finding) }
    }

    fn problem(check: &'static str, code: u8, finding: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { state: State::Problem, code, ..Self::warning(check, finding, remedy) }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    checks: Vec<Check>,
}

pub async fn run(global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    terminal.say("looking at configuration, engine, registry, credentials, clock and files");
    let (mut checks, found) = settings::look(global).await;
    let (engine, registry, files) =
        tokio::join!(engine::look(&found), registry::look(&found), bounded("files", files::look(&found)));
    checks.extend(engine);
    checks.extend(registry);
    checks.extend(files.unwrap_or_else(|late| vec![late]));
    let code = checks.iter().find(|check| check.state == State::Problem).map_or(exit::DONE, |one| one.code);
    match global.format {
        Format::Json => terminal.result(&json::text(&Report { schema: 1, checks }))?,
        Format::Human => {
            terminal.result(&table(&checks).fit(Terminal::width()))?;
            terminal.say(&sum(&checks));
        }
    }
    Ok(code)
}

/// Waits for a check, or says that it took too long.
async fn bounded<T>(check: &'static str, work: impl Future<Output = T>) -> Result<T, Check> {
    tokio::time::timeout(LIMIT, work).await.map_err(|_| {
        let finding = format!("no result within {} s", LIMIT.as_secs());
        Check::problem(check, exit::UNREACHABLE, finding, "it hangs or is very slow; try it by hand")
    })
}

/// Counts things whose name takes an s.
fn many(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn table(checks: &[Check]) -> Table {
    let mut table = Table::new(&["STATE", "CHECK", "FINDING"]);
    for Check { state, check, finding, remedy, .. } in checks {
        let (style, word) = match state {
            State::Ok => (GOOD, "ok"),
            State::Warning => (NOTE, "warning"),
            State::Problem => (BAD, "problem"),
        };
        let mut lines = finding.lines();
        let first = lines.next().unwrap_or_default().to_owned();
        table.row([(style, word.to_owned()), (Style::new(), (*check).to_owned()), (Style::new(), first)]);
        let remedy = remedy.iter().map(|remedy| (DIM, format!("→ {remedy}")));
        for line in lines.map(|line| (Style::new(), line.to_owned())).chain(remedy) {
            table.row([(Style::new(), String::new()), (Style::new(), String::new()), line]);
        }
    }
    table
}

fn sum(checks: &[Check]) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (problems, warnings) = (count(State::Problem), count(State::Warning));
    match (problems, warnings) {
        (0, 0) => "nothing is wrong".to_owned(),
        (problems, warnings) => format!("{}, {}", many(problems, "problem"), many(warnings, "warning")),
    }
}
