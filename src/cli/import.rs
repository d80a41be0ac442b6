//! `import`: what `export` wrote, into the engine or into the registry.

use super::args::{Boxes, Format, Global, Import};
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
    if options.push {
        return into_registry(&archive, global, terminal).await;
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
        Format::Json => terminal.result(&json::text(&Report { schema: 1, boxes: rows })),
        Format::Human => terminal.result(&table(&rows).render()),
    }
    Ok(exit::DONE)
}

async fn into_registry(archive: &ArchiveFile, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let cancel = interrupt::token();
    let loaded = session::load(global)?;
    let names: Vec<String> = archive.contents().boxes().iter().map(|one| one.name.clone()).collect();
    let specs = loaded.choose(&Boxes { names, channel: None })?;
    let mut session = Session::open(&loaded, global).await?;
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
    build::print(&report, &computed.boxes, &session, global, terminal);
    session.close(false).await?;
    if report.is_interrupted {
        return Err(CliError::Interrupted);
    }
    Ok(build::code(&report))
}
