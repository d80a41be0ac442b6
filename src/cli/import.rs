//! `import`: what `export` wrote, into the engine or into the registry.

use super::args::{Boxes, Format, Global, Import, Push};
use super::error::{CliError, exit};
use super::export::{ArchiveRow, Report, table};
use super::progress::Progress;
use super::session::{self, Session};
use super::terminal::Terminal;
use super::{build, interrupt, json};
use crate::adapter::archive::{ArchiveFile, Limits};
use crate::exec::{load, push};
use crate::port::Archive as _;

pub async fn run(options: &Import, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let cancel = interrupt::token();
    let path = options.archive.clone();
    terminal.say(&format!("checking {}", path.display()));
    let opening = tokio::task::spawn_blocking(move || ArchiveFile::open(&path, &Limits::default()));
    let archive = tokio::select! {
        opened = opening => opened.map_err(|_| CliError::CutOff)??,
        () = cancel.cancelled() => return Err(CliError::Interrupted),
    };
    if let Some(when) = options.push {
        let push = when.unwrap_or(options.push_when);
        return into_registry(&archive, push, global, terminal).await;
    }
    let progress = Progress::new(terminal);
    let emit = |event| progress.event(event);
    let engine = session::engine_alone()?;
    tokio::select! {
        loaded = load(&engine, &archive, &emit) => loaded?,
        () = cancel.cancelled() => return Err(CliError::Interrupted),
    }
    progress.end();
    let rows = ArchiveRow::list(archive.contents(), "loaded");
    match global.format {
        Format::Json => terminal.result(&json::text(&Report { schema: 1, boxes: rows }))?,
        Format::Human => terminal.result(&table(&rows).render())?,
    }
    Ok(exit::DONE)
}

async fn into_registry(
    archive: &ArchiveFile,
    push_when: Push,
    global: &Global,
    terminal: Terminal,
) -> Result<u8, CliError> {
    let cancel = interrupt::token();
    let loaded = session::load(global)?;
    let names: Vec<String> = archive.contents().boxes().iter().map(|one| one.name.clone()).collect();
    let specs = loaded.choose(&Boxes { names, channel: None })?;
    let mut session = Session::open_uncached(&loaded, global, push_when).await?;
    // Who wrote the archive is not known here: only a run that is trusted may vouch for it.
    session.may_write("import --push")?;
    let computed = session.compute(&loaded, specs, global, terminal).await?;
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let report = push(session.ports(), &session.setting, &computed.boxes, archive, &emit, &cancel).await;
    let report = match report {
        Ok(report) => report,
        Err(error) => {
            session.close(false).await?;
            return Err(error.into());
        }
    };
    build::show(&report, &session, &loaded, &computed, global, terminal).await?;
    build::end(session, report).await
}
