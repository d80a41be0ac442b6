//! `guard`: fails, and says what to do, if a box is missing.

use super::advice::{self, Missing};
use super::args::{Format, Global, Guard};
use super::error::{CliError, exit};
use super::json;
use super::plan::{ask, report, tell, tree};
use super::session::{self, Session};
use super::terminal::Terminal;

pub async fn run(options: &Guard, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let mut session = Session::open(&loaded, global).await?;
    let planned = ask(&mut session, &loaded, &options.boxes, global, terminal).await?;
    match global.format {
        Format::Json => terminal.result(&json::text(&report(&planned, &session)))?,
        Format::Human => terminal.result(&tree(&planned))?,
    }
    tell(&planned, &session, &options.tell)?;
    let missing: Vec<Missing<'_>> = planned
        .missing()
        .map(|(keyed, seen)| {
            let moved = planned.moved.get(&keyed.wanted.name);
            Missing { keyed, generation: seen.generation, moved }
        })
        .collect();
    let code = if missing.is_empty() {
        terminal.say("every box is there");
        exit::DONE
    } else {
        advice::say(&missing, &planned.computed, &session, terminal);
        exit::MISSING
    };
    session.close(false).await?;
    Ok(code)
}
