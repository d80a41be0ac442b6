//! `clean`: what nothing keeps is condemned, and later deleted.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use self::plan::PlanFile;
use super::args::{Clean, Confirming, Format, Global};
use super::confirm::{Confirm, Decision};
use super::error::{CliError, exit};
use super::session::{self, Loaded, Session};
use super::table::Table;
use super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal};
use super::{ci, interrupt, json};
use crate::config::Channel;
use crate::exec::{self, CleanError, CleanOptions, CleanReport, clean};
use crate::model::{Digest, Share, Span, Tag, TaggedDigest, Timestamp};
use crate::protocol::{Deletion, least_grace};
use crate::retention::{ChannelPolicy, Goes, Held, Policies, UNKEPT};

mod forget;
mod plan;
mod undo;

#[derive(Serialize)]
struct Report {
    schema: u32,
    run: String,
    now: String,
    applied: bool,
    interrupted: bool,
    images: Vec<Row>,
    expired_leases: usize,
    old_records: usize,
    /// Records that stop every deletion, for they cannot be read and may keep anything.
    stopped: Vec<forget::Row>,
    /// Other tags of the ledger that cannot be read.
    set_aside: Vec<forget::Row>,
}

/// One tag, and what becomes of it.
#[derive(Serialize)]
pub struct Row {
    pub repository: String,
    /// Nothing for what has none: a part of what stood under a tag.
    pub tag: Option<String>,
    /// Nothing if it was not read: it is kept, or would be looked at first, whatever it is.
    pub digest: Option<Digest>,
    pub action: &'static str,
    pub reason: String,
}

pub async fn run(options: &Clean, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let cancel = interrupt::token();
    let loaded = session::load(global)?;
    let plan = options.apply.as_deref().map(PlanFile::read).transpose()?;
    let session = Session::open_to_write(&loaded, global, options.writing.push).await?;
    let confirm = confirm(options, plan.is_some(), terminal);
    confirm.may_write(&session, "cleaning")?;
    if let Some(run) = &options.undo {
        return undo::undo(run.as_ref(), &confirm, &loaded, session, global, terminal, &cancel).await;
    }
    if !options.forget.is_empty() {
        return forget(options, &confirm, &loaded, session, terminal, &cancel).await;
    }
    let ledger = session.setting.ledger.to_string();
    let ahead = match &plan {
        Some(plan) if plan.ledger != ledger => {
            return Err(CliError::Usage(format!("the plan is for {}, not for {ledger}", plan.ledger)));
        }
        Some(plan) => plan.ahead(),
        None => ahead(options, &session).await?,
    };
    let mut clean_options = clean_options(&loaded, &session, options, plan.as_ref(), ahead, terminal).await?;
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let carry = async |options: &CleanOptions| {
        let report = clean(session.ports(), &session.setting, options, &emit, &cancel).await;
        progress.end();
        report
    };
    // What is agreed to, or applied later, has to be known as a whole.
    clean_options.is_thorough = options.plan_out.is_some() || confirm.is_asking();
    clean_options.apply = confirm.is_told();
    let mut report = carry(&clean_options).await?;
    let mut left = (exit::DONE, false);
    if !confirm.is_told() && !report.is_interrupted {
        let actions = report.clean.actions();
        let shown = (!is_done(&report)).then(|| table(moving(&rows(&report))).render());
        match confirm.decide(shown).await? {
            Decision::Apply => {
                // Exactly what was agreed to, or nothing.
                (clean_options.apply, clean_options.planned) = (true, Some(actions));
                report = carry(&clean_options).await?;
            }
            Decision::Leave { code, is_shown } => left = (code, is_shown),
        }
    }
    let written = options.plan_out.as_ref().filter(|_| !report.is_interrupted);
    if let Some(path) = written {
        PlanFile::new(ledger, &report.clean, report.now, ahead).write(path)?;
    }
    let rows = rows(&report);
    forget::tell(&report, &session.setting.ledger, terminal);
    let mut outcome = outcome(&report, &confirm);
    if let Some(path) = written {
        outcome = format!("wrote the plan to {}: {outcome}", path.display());
    }
    ci::summarise(confirm.title(), &table(moving(&rows)), &outcome)?;
    match global.format {
        Format::Json => {
            let (stopped, set_aside) = forget::rows(&report);
            let out = Report {
                schema: 1,
                run: session.setting.run.to_string(),
                now: report.now.rfc3339(),
                applied: report.is_applied,
                interrupted: report.is_interrupted,
                expired_leases: report.expired,
                old_records: report.records,
                stopped,
                set_aside,
                images: rows,
            };
            terminal.result(&json::text(&out))?;
        }
        Format::Human => {
            if !left.1 {
                terminal.result(&table(rows.iter()).render())?;
            }
            if !report.is_interrupted {
                terminal.say(&outcome);
            }
            if report.has_deleted() && clean_options.undo > Span::default() && !session.is_embedded() {
                let (undo, run) = (clean_options.undo, &session.setting.run);
                terminal.say(&format!("for {undo} `boxwright clean --undo {run}` can put images back"));
            }
        }
    }
    if report.is_interrupted && report.is_applied {
        terminal.warn(&outcome);
    }
    session.close(report.is_applied && !report.is_interrupted).await?;
    if report.is_interrupted {
        return Err(CliError::Interrupted);
    }
    Ok(if report.is_applied { code(&report, options) } else { left.0 })
}

/// A plan that was written or read is no question: what is read is applied, what is written is not.
fn confirm(options: &Clean, is_planned: bool, terminal: Terminal) -> Confirm {
    let Confirming { dry_run, yes } = options.confirming;
    let confirming = Confirming { dry_run, yes: yes || (is_planned && !dry_run) };
    if options.undo.is_some() {
        return Confirm::new("boxwright clean --undo".to_owned(), confirming, terminal);
    }
    let confirm = Confirm::new("boxwright clean".to_owned(), confirming, terminal).or_report();
    match &options.plan_out {
        Some(path) => confirm.by(format!("boxwright clean --apply {}", path.display())),
        None => confirm,
    }
}

/// Looks as a sweep does, and removes of what it cannot read what a person named.
async fn forget(
    options: &Clean,
    confirm: &Confirm,
    loaded: &Loaded,
    session: Session,
    terminal: Terminal,
    cancel: &CancellationToken,
) -> Result<u8, CliError> {
    // Nothing is deleted but these, however much would be.
    let look = Clean { max_delete: Some(Share::ALL), ..options.clone() };
    let clean_options = clean_options(loaded, &session, &look, None, Span::default(), terminal).await?;
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let report = clean(session.ports(), &session.setting, &clean_options, &emit, cancel).await?;
    progress.end();
    let is_applied = forget::forget(&options.forget, &report, &session, confirm, terminal).await?;
    session.close(is_applied).await?;
    Ok(exit::DONE)
}

/// Gathers what decides: the configuration, and what it says to ask outside.
pub async fn clean_options(
    loaded: &Loaded,
    session: &Session,
    options: &Clean,
    plan: Option<&PlanFile>,
    ahead: Span,
    terminal: Terminal,
) -> Result<CleanOptions, CliError> {
    let project = &loaded.project;
    let policy = |channel: &Channel| ChannelPolicy {
        name: channel.name.clone(),
        pattern: channel.pattern.clone(),
        keep: channel.keep.clone(),
    };
    let policies: Policies = project.channels.values().map(policy).collect();
    let remote = session.remotes(loaded);
    let (refs, errors) = exec::refs(&remote, &policies).await;
    for error in errors {
        terminal.warn(&format!("{error}; every tag whose ref it may have is kept"));
    }
    let mut texts = Vec::new();
    for file in &project.protect.files {
        let absent = || {
            let source = std::io::ErrorKind::NotFound.into();
            CliError::Io { action: "read", path: loaded.root.join(file), source }
        };
        let text = session::beside(&loaded.root, file)?.ok_or_else(absent)?;
        texts.push((file.display().to_string(), text));
    }
    let mut protected = exec::protected(&remote, &texts, &project.protect.urls).await?;
    let named = project.protect.digests.iter();
    protected.extend(named.map(|digest| (digest.clone(), "is protected".to_owned())));
    let settle = session.settle(loaded);
    Ok(CleanOptions {
        repositories: session.repositories(loaded)?,
        policies,
        refs,
        protected,
        protectors: project.protect.repositories.clone(),
        grace: least_grace(project.retention.grace, settle),
        settle,
        ahead,
        sightings: session.sightings(loaded)?,
        records: project.retention.records,
        undo: project.retention.undo,
        max_delete: options.max_delete.or(project.retention.max_delete),
        min: project.retention.min,
        planned: plan.map(PlanFile::actions),
        is_thorough: false,
        apply: false,
    })
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
    let now = now.map_err(CleanError::from)?;
    if time < now {
        return Err(usage("lies in the past; clean can only look ahead"));
    }
    Ok(time.since(now))
}

/// Lists every tag with what becomes of it.
pub fn rows(report: &CleanReport) -> Vec<Row> {
    let row = |repository: &str, tag: &Tag, digest: Option<&Digest>, action, reason: String| Row {
        repository: repository.to_owned(),
        tag: Some(tag.to_string()),
        digest: digest.cloned(),
        action,
        reason,
    };
    let held =
        |held: &Held, action, reason| row(&held.repository, &held.tag, held.digest.as_ref(), action, reason);
    let condemn = if report.is_applied { "condemned" } else { "condemn" };
    let marked = |image: &TaggedDigest, reason: &str| {
        row(&image.repository, &image.tag, Some(&image.digest), condemn, reason.to_owned())
    };
    let clean = &report.clean;
    let mut rows: Vec<Row> =
        clean.kept.iter().map(|kept| held(&kept.seen, "keep", kept.reason.clone())).collect();
    rows.extend(clean.condemn.iter().flat_map(|one| &one.images).map(|image| marked(image, UNKEPT)));
    rows.extend(
        clean.announce.iter().flat_map(|one| one.images.iter().map(|image| marked(image, &one.reason))),
    );
    rows.extend(clean.unread.iter().map(|one| held(one, "condemn", UNKEPT.to_owned())));
    for (index, doomed) in report.clean.delete.iter().enumerate() {
        let marked = doomed.reason.clone();
        let (does, did) = match doomed.goes {
            Goes::Image | Goes::Part => ("delete", "deleted"),
            Goes::Tag => ("untag", "untagged"),
        };
        let (action, reason) = match report.deletions.get(index) {
            None if report.is_applied => ("left", marked),
            None => (does, marked),
            Some(Deletion::Done) => (did, marked),
            Some(Deletion::Changed) => ("keep", "changed since it was condemned".to_owned()),
            Some(Deletion::Unsupported) => ("keep", "the registry does not delete".to_owned()),
            Some(Deletion::Refused(why)) => ("keep", format!("cannot be deleted: {why}")),
            Some(Deletion::Failed(why)) => ("failed", why.clone()),
        };
        let TaggedDigest { repository, tag, digest } = &doomed.seen;
        let row = row(repository, tag, Some(digest), action, reason);
        let tag = row.tag.filter(|_| doomed.goes != Goes::Part);
        rows.push(Row { tag, ..row });
    }
    rows.sort_by(|a, b| (&a.repository, &a.tag, &a.digest).cmp(&(&b.repository, &b.tag, &b.digest)));
    rows
}

/// What a plan is about.
fn moving(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| row.action != "keep")
}

fn table<'a>(rows: impl Iterator<Item = &'a Row>) -> Table {
    let mut table = Table::new(&["REPOSITORY", "TAG", "DIGEST", "ACTION", "REASON"]);
    for row in rows {
        let style = match row.action {
            "keep" => GOOD,
            "condemn" | "condemned" | "left" => NOTE,
            _ => BAD,
        };
        let short = row.digest.as_ref().map_or("-", Digest::short).to_owned();
        table.row([
            (BOLD, row.repository.clone()),
            (anstyle::Style::new(), row.tag.clone().unwrap_or_else(|| "-".to_owned())),
            (DIM, short),
            (style, row.action.to_owned()),
            (DIM, row.reason.clone()),
        ]);
    }
    table
}

/// Returns how many images are, or would be, condemned.
fn condemned(report: &CleanReport) -> usize {
    let clean = &report.clean;
    clean.condemn.iter().map(|one| one.images.len()).sum::<usize>()
        + clean.announce.iter().map(|one| one.images.len()).sum::<usize>()
        + clean.unread.len()
}

/// Tells whether there is nothing to condemn or delete.
fn is_done(report: &CleanReport) -> bool {
    condemned(report) + report.clean.delete.len() == 0
}

/// How it ended, in figures.
fn outcome(report: &CleanReport, confirm: &Confirm) -> String {
    let condemn = condemned(report);
    let delete = report.clean.delete.len();
    let kept = report.clean.kept.len();
    let done = report.done();
    if report.is_interrupted {
        let left = delete.saturating_sub(report.deletions.len());
        format!("stopped: {done} of {delete} deleted, {left} left; the same command does the rest")
    } else if is_done(report) {
        format!("nothing to do: {kept} kept")
    } else if report.is_applied && delete == 0 {
        format!("{kept} kept, {condemn} condemned")
    } else if report.is_applied {
        format!("{kept} kept, {condemn} condemned, {done} of {delete} deleted")
    } else {
        let plan = format!("{kept} kept, {condemn} to be condemned, {delete} to be deleted");
        format!("{plan}; {}", confirm.not_applied())
    }
}

fn code(report: &CleanReport, options: &Clean) -> u8 {
    let any = |wanted: fn(&Deletion) -> bool| report.deletions.iter().any(wanted);
    let is_stopped = report.is_applied && report.clean.stops().next().is_some();
    if is_stopped || any(|one| matches!(one, Deletion::Failed(_))) {
        exit::PARTLY
    } else if options.strict && any(|one| matches!(one, Deletion::Unsupported | Deletion::Refused(_))) {
        exit::REFUSED
    } else {
        exit::DONE
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;
    use crate::retention::Doomed;

    #[test]
    fn what_is_refused_is_kept_with_its_reason_and_fails_only_a_strict_call() {
        let seen =
            TaggedDigest { repository: "a".to_owned(), tag: "k".parse().unwrap(), digest: Digest::of(b"a") };
        let doomed = Doomed {
            seen,
            marked: Timestamp::default(),
            reason: "condemned".to_owned(),
            goes: Goes::Image,
            key: None,
            needs: Default::default(),
        };
        let clean = crate::retention::Clean { delete: vec![doomed], ..Default::default() };
        let refused = Deletion::Refused("more than 5000 downloads".to_owned());
        let (now, expired, records) = (Timestamp::default(), 0, 0);
        let (is_applied, is_interrupted) = (true, false);
        let mut report = CleanReport {
            clean,
            now,
            deletions: vec![refused],
            expired,
            records,
            is_applied,
            is_interrupted,
        };
        let [row] = &rows(&report)[..] else { panic!() };
        assert_eq!(
            (row.action, row.reason.as_str()),
            ("keep", "cannot be deleted: more than 5000 downloads")
        );
        let strict = Clean { strict: true, ..Clean::default() };
        assert_eq!((code(&report, &Clean::default()), code(&report, &strict)), (exit::DONE, exit::REFUSED));
        report.deletions.push(Deletion::Failed("500".to_owned()));
        assert_eq!(code(&report, &Clean::default()), exit::PARTLY);
    }
}
