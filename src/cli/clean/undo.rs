//! `clean --undo`: what a clean deleted is put back, as far as the registry still has it.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::super::args::{Format, Global};
use super::super::confirm::{Confirm, Decision};
use super::super::error::{CliError, exit};
use super::super::session::{Loaded, Session};
use super::super::table::Table;
use super::super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal};
use super::super::{ci, json};
use crate::exec::{UndoOptions, UndoReport, Undoable, Undone, undo_clean};
use crate::model::{Digest, RunId, chain};
use crate::retention::PutBack;

#[derive(Serialize)]
struct Report {
    schema: u32,
    run: String,
    applied: bool,
    interrupted: bool,
    /// The clean that is undone; nothing if none can be.
    undoes: Option<SweepRow>,
    /// Others that can be, the newest first.
    others: Vec<SweepRow>,
    images: Vec<Row>,
    /// Records of the clean that are not believed.
    set_aside: Vec<Aside>,
}

#[derive(Serialize)]
struct SweepRow {
    run: String,
    /// Until when what it deleted is kept.
    until: String,
}

/// One manifest, and what becomes of it.
#[derive(Serialize)]
struct Row {
    repository: String,
    /// Nothing for what has none: a part of what stood under a tag.
    tag: Option<String>,
    digest: Digest,
    action: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct Aside {
    tag: String,
    why: String,
}

/// Puts back what the clean of `run` deleted, or the newest one.
pub async fn undo(
    run: Option<&RunId>,
    confirm: &Confirm,
    loaded: &Loaded,
    session: Session,
    global: &Global,
    terminal: Terminal,
    cancel: &CancellationToken,
) -> Result<u8, CliError> {
    let mut undoing = UndoOptions {
        repositories: session.repositories(loaded)?,
        sightings: session.sightings(loaded)?,
        run: run.cloned(),
        apply: confirm.is_told(),
    };
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let mut report = undo_clean(session.ports(), &session.setting, &undoing, &emit, cancel).await?;
    let mut left = (exit::DONE, false);
    if !confirm.is_told() && !report.is_interrupted {
        let is_put = report.images.iter().any(|one| one.step == PutBack::Put);
        let is_wanted = is_put || report.ended > 0;
        let rows: Vec<Row> = report.images.iter().map(|one| row(one, false)).collect();
        match confirm.decide(is_wanted.then(|| table(&rows).render())).await? {
            Decision::Apply => {
                // That very clean, whatever others have been since.
                undoing.run = report.sweep.as_ref().map(|sweep| sweep.run.clone());
                undoing.apply = true;
                report = undo_clean(session.ports(), &session.setting, &undoing, &emit, cancel).await?;
            }
            Decision::Leave { code, is_shown } => left = (code, is_shown),
        }
    }
    progress.end();
    if let Some(error) = &report.unfinished {
        terminal.warn(&format!(
            "tombstones of what was put back may still stand: {}; run it again",
            chain(error)
        ));
    }
    for (tag, why) in &report.aside {
        terminal.warn(&format!("{}:{tag} is set aside: {why}", session.setting.ledger));
    }
    let rows: Vec<Row> = report.images.iter().map(|one| row(one, report.is_applied)).collect();
    let outcome = outcome(&report, confirm);
    ci::summarise(confirm.title(), &table(&rows), &outcome)?;
    match global.format {
        Format::Json => {
            let aside =
                |(tag, why): &(crate::model::Tag, String)| Aside { tag: tag.to_string(), why: why.clone() };
            let out = Report {
                schema: 1,
                run: session.setting.run.to_string(),
                applied: report.is_applied,
                interrupted: report.is_interrupted,
                undoes: report.sweep.as_ref().map(sweep),
                others: report.others.iter().map(sweep).collect(),
                images: rows,
                set_aside: report.aside.iter().map(aside).collect(),
            };
            terminal.result(&json::text(&out))?;
        }
        Format::Human => {
            if report.sweep.is_some() && !left.1 {
                terminal.result(&table(&rows).render())?;
            }
            terminal.say(&outcome);
        }
    }
    // Nothing is collected: what was put back is just what has to stay.
    session.close(false).await?;
    if report.is_interrupted { Err(CliError::Interrupted) } else { Ok(code(&report).max(left.0)) }
}

fn sweep(one: &Undoable) -> SweepRow {
    SweepRow { run: one.run.to_string(), until: one.until.rfc3339() }
}

fn row(one: &Undone, is_applied: bool) -> Row {
    let (action, reason) = match (&one.step, &one.failed) {
        (_, Some(why)) => ("failed", why.clone()),
        (PutBack::Put, None) if is_applied => ("restored", String::new()),
        (PutBack::Put, None) => ("restore", String::new()),
        (PutBack::Stands, None) => ("keep", "it stands".to_owned()),
        (PutBack::Gone(why), None) => ("gone", why.clone()),
        (PutBack::Refused(why), None) => ("refuse", why.clone()),
    };
    let tag = one.tag.as_ref().map(ToString::to_string);
    Row { repository: one.repository.clone(), tag, digest: one.digest.clone(), action, reason }
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["REPOSITORY", "TAG", "DIGEST", "ACTION", "REASON"]);
    for row in rows {
        let style = match row.action {
            "restore" | "restored" => NOTE,
            "keep" => GOOD,
            _ => BAD,
        };
        table.row([
            (BOLD, row.repository.clone()),
            (anstyle::Style::new(), row.tag.clone().unwrap_or_else(|| "-".to_owned())),
            (DIM, row.digest.short().to_owned()),
            (style, row.action.to_owned()),
            (DIM, row.reason.clone()),
        ]);
    }
    table
}

fn count(report: &UndoReport, is_counted: impl Fn(&Undone) -> bool) -> usize {
    report.images.iter().filter(|one| is_counted(one)).count()
}

/// Tells whether it stays away.
fn is_lost(one: &Undone) -> bool {
    one.failed.is_some() || matches!(one.step, PutBack::Gone(_) | PutBack::Refused(_))
}

/// How it ended, in figures.
fn outcome(report: &UndoReport, confirm: &Confirm) -> String {
    let Some(sweep) = &report.sweep else {
        return "nothing to undo: no clean has deleted anything that is still kept".to_owned();
    };
    let run = &sweep.run;
    let put = count(report, |one| one.step == PutBack::Put && one.failed.is_none());
    let stands = count(report, |one| one.step == PutBack::Stands);
    let lost = count(report, is_lost);
    let others = match &report.others[..] {
        [] => String::new(),
        others => {
            let names: Vec<String> = others.iter().take(5).map(|one| one.run.to_string()).collect();
            format!("; other cleans that can be undone: {}", names.join(", "))
        }
    };
    let done = match (report.is_applied, put) {
        (true, _) => format!("clean by run {run}: {put} put back, {stands} stand, {lost} cannot be put back"),
        (false, 0) if report.ended > 0 => format!(
            "clean by run {run}: {stands} stand, {} of them ended by that clean; {}",
            report.ended,
            confirm.not_applied()
        ),
        (false, 0) => {
            format!("clean by run {run}: nothing to put back, {stands} stand, {lost} cannot be put back")
        }
        (false, _) => format!(
            "clean by run {run}: {put} to be put back, {stands} stand, {lost} cannot be put back; {}",
            confirm.not_applied()
        ),
    };
    format!("{done}{others}")
}

fn code(report: &UndoReport) -> u8 {
    let is_partly = report.unfinished.is_some() || report.images.iter().any(is_lost);
    match report.is_applied && is_partly {
        true => exit::PARTLY,
        false => exit::DONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_put_back_decides_the_exit_code() {
        let one = |step, failed: Option<&str>| Undone {
            repository: "base".to_owned(),
            tag: None,
            digest: Digest::of(b"x"),
            step,
            failed: failed.map(str::to_owned),
        };
        let check = |is_applied, images: &[Undone], action: &str, expect| {
            let report = UndoReport {
                sweep: None,
                others: Vec::new(),
                images: images.to_vec(),
                ended: 0,
                aside: Vec::new(),
                is_applied,
                is_interrupted: false,
                unfinished: None,
            };
            assert_eq!(code(&report), expect, "{images:?}");
            assert!(images.iter().all(|one| row(one, is_applied).action == action), "{images:?}");
        };
        let gone = PutBack::Gone("a blob".to_owned());
        check(false, &[one(PutBack::Put, None)], "restore", exit::DONE);
        check(true, &[one(PutBack::Put, None)], "restored", exit::DONE);
        check(true, &[one(PutBack::Put, Some("500"))], "failed", exit::PARTLY);
        check(true, &[one(PutBack::Stands, None)], "keep", exit::DONE);
        check(false, &[one(gone.clone(), None)], "gone", exit::DONE);
        check(true, &[one(gone, None)], "gone", exit::PARTLY);
        check(true, &[one(PutBack::Refused("taken".to_owned()), None)], "refuse", exit::PARTLY);
    }
}
