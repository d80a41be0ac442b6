//! `build`: build and push what is missing.

use std::collections::BTreeMap;

use super::advice::{self, Missing};
use super::args::{Build, Format, Global, Push, Tell};
use super::ci::{self, BoxFact, Outputs, Trust};
use super::computed::Computed;
use super::error::{CliError, exit};
use super::figures::duration;
use super::json::{self, BoxRow, Report, SourceRow};
use super::session::{self, Loaded, Session};
use super::table::Table;
use super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal};
use super::{at, interrupt};
use crate::exec::{
    BoxReport, BuildOptions, BuildReport, Failure, Ledger, Outcome, Reason, ResolvedBox, build, build_local,
    reasons,
};

pub async fn run(options: &Build, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    if options.local && options.writing.push == Push::Always {
        return Err(CliError::Usage("--push always cannot be used with --local".to_owned()));
    }
    let cancel = interrupt::token();
    // Held until the end: what was checked out is gone with it.
    let (checkout, loaded) = match &options.at {
        Some(revision) => {
            let (checkout, loaded) = at::load(global, revision).await?;
            (Some(checkout), loaded)
        }
        None => (None, session::load(global)?),
    };
    clash(&loaded, &options.tell)?;
    let mut session = Session::open_to_write(&loaded, global, options.writing.push).await?;
    if options.local {
        // What is for this machine alone is no reason to believe it more.
        if let Trust::Unknown(why) = session.ci.trust.clone() {
            session.deny_secrets(&why);
        }
        session.make_read_only("--local".to_owned());
    } else if options.writing.push == Push::Always {
        session.may_write("--push always")?;
    }
    let specs = loaded.choose(&options.boxes)?;
    let computed = session.compute(&loaded, specs, global, terminal).await?;
    if let (Some(checkout), Some(revision)) = (&checkout, &options.at) {
        let is_lent = options.lend_secrets;
        if is_lent && !at::may_lend(checkout, &loaded, &computed.boxes, revision, terminal)? {
            terminal.say("nothing was built");
            session.close(false).await?;
            return Ok(exit::DONE);
        }
        if !is_lent || session.is_lending() {
            session.lend_revision(&loaded, (!is_lent).then_some(at::LENDS_NONE));
        }
    }
    let build_options = BuildOptions {
        jobs: usize::from(options.jobs),
        wait: options.wait,
        no_cache: options.no_cache,
        fail_fast: options.failing.fail_fast,
    };
    let (ports, engine) = (session.ports(), session.engine());
    let (setting, boxes) = (&session.setting, &computed.boxes);
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let report = match options.local {
        true => build_local(ports.registry, engine, setting, boxes, &build_options, &emit, &cancel).await?,
        false => build(ports, engine, setting, boxes, &build_options, &emit, &cancel).await?,
    };
    show(&report, &session, &loaded, &computed, global, terminal).await?;
    tell(&report, &computed, &session, &options.tell)?;
    let can_push = report.can_push;
    let code = end(session, report).await?;
    if options.writing.push == Push::Always && !can_push {
        return Err(CliError::NoPush);
    }
    Ok(code)
}

/// Boxes whose variables for later jobs would be one are told apart before anything is built.
pub fn clash(loaded: &Loaded, to: &Tell) -> Result<(), CliError> {
    let names = loaded.project.boxes.iter().map(|spec| spec.name.as_str());
    match ci::variables_clash(names).filter(|_| to.dotenv.is_some()) {
        Some((a, b)) => Err(CliError::Usage(format!("--dotenv: boxes {a} and {b} would have one variable"))),
        None => Ok(()),
    }
}

/// Prints the result, and what to do about boxes that may not be built here.
pub async fn show(
    report: &BuildReport,
    session: &Session,
    loaded: &Loaded,
    computed: &Computed,
    global: &Global,
    terminal: Terminal,
) -> Result<(), CliError> {
    match global.format {
        Format::Json => terminal.result(&json::text(&as_json(report, &computed.boxes, session)))?,
        Format::Human => {
            let (boxes, width) = (&computed.boxes, Terminal::width());
            let whole = table(report, boxes, true);
            let table = if whole.fits(width) { whole } else { table(report, boxes, false) };
            terminal.result(&table.fit(width))?;
        }
    }
    for (name, one) in &report.boxes {
        if let Outcome::Failed(failure) = &one.outcome {
            annotate(name, failure, global, terminal);
        }
    }
    let is_forbidden = |keyed: &&ResolvedBox| {
        matches!(outcome(report, keyed), Some(Outcome::Forbidden(_) | Outcome::Skipped(_)))
    };
    if report.boxes.values().any(|one| matches!(one.outcome, Outcome::Forbidden(_))) {
        let missing: Vec<&ResolvedBox> = computed.boxes.iter().filter(is_forbidden).collect();
        let told = reasons(
            Ledger::new(session.ports().registry, &session.setting.ledger),
            &loaded.project,
            &missing,
        )
        .await;
        let moved: &BTreeMap<String, Reason> = &told.by_box;
        let missing: Vec<Missing<'_>> = missing
            .into_iter()
            .filter_map(|keyed| {
                let generation = report.boxes.get(&keyed.wanted.name)?.generation;
                Some(Missing { keyed, generation, moved: moved.get(&keyed.wanted.name) })
            })
            .collect();
        advice::say(&missing, computed, session, terminal);
    }
    Ok(())
}

/// Marks a failure at the instruction that failed, with what it printed last.
fn annotate(name: &str, failure: &Failure, global: &Global, terminal: Terminal) {
    let last = failure.step.iter().flat_map(|step| step.last.clone());
    let text = std::iter::once(failure.why()).chain(last).collect::<Vec<_>>().join("\n");
    let place =
        failure.error.explain().place.map(|(file, line)| (session::from_workspace(global, file), line));
    let place = place.as_ref().map(|(file, line)| (file.as_str(), *line));
    terminal.annotate(&format!("box {name} failed"), place, &text);
}

fn outcome<'a>(report: &'a BuildReport, keyed: &ResolvedBox) -> Option<&'a Outcome> {
    report.boxes.get(&keyed.wanted.name).map(|one| &one.outcome)
}

/// Tells later steps and jobs.
pub fn tell(report: &BuildReport, computed: &Computed, session: &Session, to: &Tell) -> Result<(), CliError> {
    let fact = |keyed: &ResolvedBox| {
        let name = &keyed.wanted.name;
        let one = report.boxes.get(name)?;
        let pushed = one.digest.as_ref().map(|digest| format!("{}@{digest}", keyed.wanted.repository));
        Some(BoxFact {
            name: name.clone(),
            tag: keyed.wanted.tag.with_generation(one.generation).to_string(),
            digest: one.digest.as_ref().map(ToString::to_string),
            image: pushed.or_else(|| report.local.get(name).cloned()),
            result: match &one.outcome {
                Outcome::Used => "present",
                Outcome::Forbidden(_) => "missing",
                other => other.word(),
            }
            .to_owned(),
            reason: one.reason.clone(),
            size: report.sizes.get(name).copied(),
            seconds: Some(one.seconds),
        })
    };
    let boxes = computed.boxes.iter().filter_map(fact).collect();
    let outputs = Outputs { can_push: report.can_push, boxes };
    ci::publish(&outputs, &session.ci, &session.setting.run.to_string(), to.dotenv.as_deref())
}

/// Closes the session; returns the exit code.
pub async fn end(session: Session, report: BuildReport) -> Result<u8, CliError> {
    session.close(false).await?;
    if report.is_interrupted {
        return Err(CliError::Interrupted);
    }
    report.unreachable().map_or_else(|| Ok(code(&report)), |error| Err(error.clone().into()))
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

fn as_json(report: &BuildReport, boxes: &[ResolvedBox], session: &Session) -> Report {
    let rows = boxes.iter().filter_map(|keyed| {
        let one = report.boxes.get(&keyed.wanted.name)?;
        let mut row = BoxRow::new(keyed, &keyed.wanted.tag.with_generation(one.generation));
        row.state = Some(one.seen.state.word());
        row.digest = one.digest.clone();
        row.action = Some(one.outcome.word());
        row.reason = Some(one.reason.clone());
        row.lease_until = report.lease_until.filter(|_| one.digest.is_some()).map(|until| until.rfc3339());
        if let Outcome::Failed(Failure { step, .. }) = &one.outcome {
            row.place = step.as_ref().and_then(|step| Some(step.at.as_ref()?.to_string()));
            row.log = session.progress().log(&row.name).map(|path| path.display().to_string());
        }
        row.seconds = Some((one.seconds * 1000.0).round() / 1000.0);
        Some(row)
    });
    let run = session.setting.run.to_string();
    let source = Some(SourceRow::new(&session.setting.source));
    Report { schema: 1, run, boxes: rows.collect(), source, ci: session.in_ci(), findings: None }
}

fn table(report: &BuildReport, boxes: &[ResolvedBox], is_wide: bool) -> Table {
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
        let image = match (digest, report.local.get(&keyed.wanted.name)) {
            (Some(digest), _) if is_wide => format!("{}@{digest}", keyed.wanted.repository),
            (Some(digest), _) => digest.short().to_owned(),
            (None, Some(local)) => local.clone(),
            (None, None) => reason.lines().next().unwrap_or_default().to_owned(),
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
