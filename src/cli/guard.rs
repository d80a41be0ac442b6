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
        .filter_map(|row| {
            let keyed = planned.computed.boxes.iter().find(|keyed| keyed.wanted.name == row.name)?;
            let generation = planned.seen.get(&row.name)?.generation;
            Some(Missing { keyed, generation, moved: planned.moved.get(&row.name) })
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
