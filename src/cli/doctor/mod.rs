//! `doctor`: what is wrong with the configuration, the engine, the registry, credentials, clock
//! and files, and what to do about it.
//!
//! Everything is looked at, whatever else is broken, each for a limited time. Nothing is left
//! behind: an upload that is begun is given up, a file that is made is removed, and in a run that
//! is not trusted nothing is begun at all. Credentials are never shown, only where they are from.

mod check;
mod engine;
mod files;
mod registry;
mod settings;

use anstyle::Style;
use serde::Serialize;

use self::check::{Check, State, bounded, many};
use super::args::{Format, Global};
use super::error::{CliError, exit};
use super::json;
use super::table::Table;
use super::terminal::{BAD, DIM, GOOD, NOTE, Terminal};

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
