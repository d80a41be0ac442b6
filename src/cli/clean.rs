//! `clean`: what nothing keeps is condemned, and later deleted.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::{Clean, Format, Global};
use super::error::{CliError, exit};
use super::json;
use super::session::{self, Session};
use super::table::Table;
use super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal};
use crate::config::Keep;
use crate::exec::{CleanOptions, CleanReport, Deletion, LedgerError, clean};
use crate::model::{Span, Timestamp};

#[derive(Serialize)]
struct Report {
    schema: u32,
    run: String,
    now: String,
    applied: bool,
    images: Vec<Row>,
    expired_leases: usize,
}

#[derive(Serialize)]
struct Row {
    repository: String,
    tag: String,
    digest: String,
    action: &'static str,
    reason: String,
}

pub async fn run(options: &Clean, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let session = Session::open(&loaded, global).await?;
    let ahead = ahead(options, &session).await?;
    let keep: BTreeMap<String, Option<(u32, Span)>> = loaded
        .project
        .channels
        .values()
        .map(|channel| {
            let keep = match channel.keep {
                Keep::Forever => None,
                Keep::Last { count, grace } => Some((count, grace)),
            };
            (channel.name.clone(), keep)
        })
        .collect();
    let clean_options = CleanOptions {
        repositories: session.repositories(&loaded)?,
        keep,
        grace: loaded.project.retention.grace,
        settle: session.settle(&loaded),
        ahead,
        apply: options.yes,
    };
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let report = clean(session.ports(), &session.setting, &clean_options, &emit).await?;
    let rows = rows(&report);
    match global.format {
        Format::Json => {
            let out = Report {
                schema: 1,
                run: session.setting.run.to_string(),
                now: report.now.rfc3339(),
                applied: report.is_applied,
                expired_leases: report.expired,
                images: rows,
            };
            terminal.result(&json::text(&out));
        }
        Format::Human => {
            terminal.result(&table(&rows).render());
            summary(&report, options, terminal);
        }
    }
    session.close(options.yes).await?;
    Ok(code(&report, options))
}

/// How far ahead `--now` looks; the past would make live leases look longer, and is refused.
async fn ahead(options: &Clean, session: &Session) -> Result<Span, CliError> {
    let Some(text) = &options.now else { return Ok(Span::default()) };
    let usage = |why: &str| CliError::Usage(format!("--now {text}: {why}"));
    if let Some(span) = text.strip_prefix('+') {
        return span.parse().map_err(|error: crate::model::SpanError| usage(&error.to_string()));
    }
    let time: Timestamp =
        text.parse().map_err(|()| usage("expected +DURATION or a time such as 2026-11-24T00:00:00Z"))?;
    let host = session.setting.ledger.host();
    let now = session.ports().registry.now(host).await;
    let now = now.map_err(|error| CliError::Clean(LedgerError::Registry(error).into()))?;
    if time < now {
        return Err(usage("lies in the past; clean can only look ahead"));
    }
    Ok(time.since(now))
}

fn rows(report: &CleanReport) -> Vec<Row> {
    let row = |seen: &crate::retention::Seen, action, reason: String| Row {
        repository: seen.repository.clone(),
        tag: seen.tag.to_string(),
        digest: seen.digest.to_string(),
        action,
        reason,
    };
    let mut rows: Vec<Row> =
        report.clean.kept.iter().map(|kept| row(&kept.seen, "keep", kept.reason.clone())).collect();
    for condemned in &report.clean.condemn {
        for image in &condemned.images {
            rows.push(Row {
                repository: image.repository.clone(),
                tag: image.tag.to_string(),
                digest: image.digest.to_string(),
                action: if report.is_applied { "condemned" } else { "condemn" },
                reason: "no policy, lease or tag keeps it".to_owned(),
            });
        }
    }
    for (index, doomed) in report.clean.delete.iter().enumerate() {
        let marked = format!("condemned {}", doomed.marked.human());
        let (action, reason) = match report.deletions.get(index) {
            None => ("delete", marked),
            Some(Deletion::Done) => ("deleted", marked),
            Some(Deletion::Changed) => ("keep", "changed since it was condemned".to_owned()),
            Some(Deletion::Unsupported) => ("keep", "the registry does not delete".to_owned()),
            Some(Deletion::Failed(why)) => ("failed", why.clone()),
        };
        rows.push(row(&doomed.seen, action, reason));
    }
    rows.sort_by(|a, b| (&a.repository, &a.tag).cmp(&(&b.repository, &b.tag)));
    rows
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["REPOSITORY", "TAG", "DIGEST", "ACTION", "REASON"]);
    for row in rows {
        let style = match row.action {
            "keep" => GOOD,
            "condemn" | "condemned" => NOTE,
            _ => BAD,
        };
        let short = row.digest.get(..19).unwrap_or(&row.digest).to_owned();
        table.row([
            (BOLD, row.repository.clone()),
            (anstyle::Style::new(), row.tag.clone()),
            (DIM, short),
            (style, row.action.to_owned()),
            (DIM, row.reason.clone()),
        ]);
    }
    table
}

fn summary(report: &CleanReport, options: &Clean, terminal: Terminal) {
    let condemn: usize = report.clean.condemn.iter().map(|one| one.images.len()).sum();
    let delete = report.clean.delete.len();
    let kept = report.clean.kept.len();
    if condemn + delete == 0 {
        terminal.say(&format!("nothing to do: {kept} kept"));
    } else if options.yes {
        let done = report.deletions.iter().filter(|one| **one == Deletion::Done).count();
        terminal.say(&format!("{kept} kept, {condemn} condemned, {done} of {delete} deleted"));
    } else {
        terminal.say(&format!(
            "{kept} kept, {condemn} to be condemned, {delete} to be deleted; nothing was done, `boxwright clean --yes` does it"
        ));
    }
}

fn code(report: &CleanReport, options: &Clean) -> u8 {
    let any = |wanted: fn(&Deletion) -> bool| report.deletions.iter().any(wanted);
    if any(|one| matches!(one, Deletion::Failed(_))) {
        exit::PARTLY
    } else if options.strict && any(|one| matches!(one, Deletion::Unsupported)) {
        exit::REFUSED
    } else {
        exit::DONE
    }
}
