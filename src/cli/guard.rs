//! `guard`: fails, and says what to do, if a box is missing.

use super::args::{Boxes, Format, Global};
use super::error::{CliError, exit};
use super::json;
use super::plan::{ask, report, tree};
use super::session::{self, Session};
use super::terminal::{BAD, NOTE, Terminal, paint};

pub async fn run(options: &Boxes, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let mut session = Session::open(&loaded, global).await?;
    let planned = ask(&mut session, &loaded, options, global, terminal).await?;
    match global.format {
        Format::Json => terminal.result(&json::text(&report(&planned, &session))),
        Format::Human => terminal.result(&tree(&planned)),
    }
    let missing: Vec<&str> = planned.missing().map(|row| row.name.as_str()).collect();
    let code = if missing.is_empty() {
        terminal.say("every box is there");
        exit::DONE
    } else {
        for name in &missing {
            let keyed = planned.computed.boxes.iter().find(|keyed| keyed.wanted.name == *name);
            let seen = planned.seen.get(*name);
            let Some((keyed, seen)) = keyed.zip(seen) else { continue };
            let tag = keyed.wanted.tag.with_generation(seen.generation);
            let image = format!("{}:{tag}", keyed.wanted.repository);
            terminal.warn(&format!("{} {name}: {image}", paint(BAD, "missing:")));
        }
        let revision = session.setting.source.revision.as_deref().unwrap_or("this revision");
        terminal.warn(&format!(
            "{} somebody who may push there runs `boxwright build {}` on {revision}; then run this job again",
            paint(NOTE, "hint:"),
            missing.join(" ")
        ));
        exit::MISSING
    };
    session.close(false).await?;
    Ok(code)
}
