//! `build`: build and push what is missing.

use super::args::{Build, Format, Global};
use super::error::{CliError, exit};
use super::interrupt;
use super::json::{self, BoxRow, Report};
use super::progress::duration;
use super::session::{self, Session};
use super::table::Table;
use super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal};
use crate::exec::{BoxReport, BuildOptions, BuildReport, Keyed, Outcome, build};

pub async fn run(options: &Build, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let cancel = interrupt::token();
    let loaded = session::load(global)?;
    let mut session = Session::open(&loaded, global).await?;
    let specs = loaded.choose(&options.boxes)?;
    let computed = session.compute(&loaded, specs, global, terminal).await?;
    let build_options =
        BuildOptions { jobs: usize::from(options.jobs), wait: options.wait, no_cache: options.no_cache };
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let report =
        build(session.ports(), &session.setting, &computed.boxes, &build_options, &emit, &cancel).await?;
    print(&report, &computed.boxes, &session, global, terminal);
    // An engine that answered is not asked again; one that never did is why boxes failed.
    let engine = match code(&report) {
        exit::FAILED => session.ports().engine.check().await.map(drop),
        _ => Ok(()),
    };
    session.close(false).await?;
    if report.is_interrupted {
        return Err(CliError::Interrupted);
    }
    engine?;
    Ok(code(&report))
}

/// Prints what became of the boxes.
pub fn print(report: &BuildReport, boxes: &[Keyed], session: &Session, global: &Global, terminal: Terminal) {
    match global.format {
        Format::Json => terminal.result(&json::text(&as_json(report, boxes, session))),
        Format::Human => {
            let width = Terminal::width();
            let whole = table(report, boxes, true);
            let table = if whole.fits(width) { whole } else { table(report, boxes, false) };
            terminal.result(&table.fit(width));
        }
    }
}

/// Returns the exit code for what became of the boxes.
pub fn code(report: &BuildReport) -> u8 {
    let outcomes = || report.boxes.values().map(|report| &report.outcome);
    if outcomes().any(|outcome| matches!(outcome, Outcome::Failed(_))) {
        exit::FAILED
    } else if report.missing().next().is_some() {
        exit::MISSING
    } else {
        exit::DONE
    }
}

fn as_json(report: &BuildReport, boxes: &[Keyed], session: &Session) -> Report {
    let rows = boxes.iter().filter_map(|keyed| {
        let one = report.boxes.get(&keyed.wanted.name)?;
        let mut row = BoxRow::new(keyed, &keyed.wanted.tag.with_generation(one.generation));
        row.state = Some(one.seen.state.word());
        row.digest = one.digest.clone();
        row.action = Some(one.outcome.word());
        row.reason = Some(one.reason.clone());
        row.lease_until = report.lease_until.filter(|_| one.digest.is_some()).map(|until| until.rfc3339());
        row.seconds = Some((one.seconds * 1000.0).round() / 1000.0);
        Some(row)
    });
    Report { schema: 1, run: session.setting.run.to_string(), boxes: rows.collect(), findings: None }
}

fn table(report: &BuildReport, boxes: &[Keyed], is_wide: bool) -> Table {
    let mut table = Table::new(&["BOX", "RESULT", "TIME", "IMAGE"]);
    for keyed in boxes {
        let Some(one) = report.boxes.get(&keyed.wanted.name) else { continue };
        let BoxReport { outcome, seconds, digest, reason, .. } = one;
        let style = match outcome {
            Outcome::Used => anstyle::Style::new(),
            Outcome::Built => GOOD,
            Outcome::Failed(_) | Outcome::Forbidden(_) => BAD,
            Outcome::Skipped(_) => NOTE,
        };
        let word = match outcome {
            Outcome::Used => "present",
            other => other.word(),
        };
        let image = match digest {
            Some(digest) if is_wide => format!("{}@{digest}", keyed.wanted.repository),
            Some(digest) => digest.short().to_owned(),
            None => reason.lines().next().unwrap_or_default().to_owned(),
        };
        table.row([
            (BOLD, keyed.wanted.name.clone()),
            (style, word.to_owned()),
            (DIM, duration(*seconds)),
            (DIM, image),
        ]);
    }
    table
}
