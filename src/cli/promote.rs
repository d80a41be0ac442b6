//! `promote`: give all boxes of a set one tag.

use serde::Serialize;

use super::args::{Format, From, Global, Promote};
use super::computed::Computed;
use super::confirm::{Confirm, Decision};
use super::error::{CliError, exit};
use super::session::{self, Loaded, Session};
use super::table::Table;
use super::terminal::{BOLD, DIM, GOOD, NOTE, Terminal};
use super::{ci, interrupt, json};
use crate::config::Channel;
use crate::exec::{
    Aside, History, Ledger, PromoteError, PromoteOptions, PromoteReport, PromotionSource, RunContext,
    history, promote, promote_to, vet,
};
use crate::model::{Digest, PromotionRecord, Repository, Tag};
use crate::plan::{Rollback, StepState};

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    run: &'a str,
    tag: &'a str,
    channel: &'a str,
    seq: u32,
    applied: bool,
    boxes: Vec<BoxRow<'a>>,
}

#[derive(Serialize)]
struct BoxRow<'a> {
    name: &'a str,
    repository: String,
    key: String,
    digest: &'a Digest,
    before: Option<&'a Digest>,
    action: &'static str,
}

pub async fn run(options: &Promote, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let channel = channel_of(&loaded, &options.tag)?;
    let confirm = Confirm::new(format!("boxwright promote {}", options.tag), options.confirming, terminal);
    let mut session = Session::open_uncached(&loaded, global, options.writing.push).await?;
    confirm.may_write(&session, "a promotion")?;
    let specs = loaded.project.boxes_of(&channel.name);
    let promote_options = PromoteOptions {
        tag: options.tag.clone(),
        channel: channel.name.clone(),
        immutable: channel.immutable,
        allow_older: options.allow_older,
        // What is kept elsewhere is said there.
        keep: options.to.is_none().then(|| channel.keep.clone()),
        shown: None,
        apply: true,
    };
    let code = match &options.from {
        Some(from) => {
            let names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            let set = taken(&session, &loaded, from, &names, terminal).await?;
            let (taken, target) = (Rollback::of(set), target(options, &loaded, &session)?);
            let content = PromotionSource::Recorded(&taken);
            carry_out(&session, content, target.as_ref(), promote_options, &confirm, global, terminal).await?
        }
        None => {
            let computed = session.compute(&loaded, specs, global, terminal).await?;
            if session.in_ci().is_none() {
                terminal.say(&origin(&computed));
            }
            let (content, target) =
                (PromotionSource::Built(&computed.boxes), target(options, &loaded, &session)?);
            carry_out(&session, content, target.as_ref(), promote_options, &confirm, global, terminal).await?
        }
    };
    session.close(false).await?;
    Ok(code)
}

/// Says what a person promotes from, who may have forgotten which branch is checked out.
fn origin(computed: &Computed) -> String {
    let Computed { tree, .. } = computed;
    let branch = tree.branch.as_deref().map_or("no branch".to_owned(), |branch| format!("branch {branch}"));
    let dirty = if tree.source.dirty { ", with inputs that are not committed" } else { "" };
    format!("promoting from {branch}, {}{dirty}", tree.source)
}

/// Returns what holds where the images are promoted to, if that is elsewhere.
fn target(options: &Promote, loaded: &Loaded, session: &Session) -> Result<Option<RunContext>, CliError> {
    let Some(to) = &options.to else { return Ok(None) };
    let registry = to.trim_end_matches('/').to_owned();
    let ledger = Repository::new(&registry, &loaded.project.ledger)
        .map_err(|error| CliError::Usage(format!("--to {to}: {error}")))?;
    if registry == session.setting.registry {
        return Err(CliError::Usage(format!("--to {to}: the images are there already")));
    }
    Ok(Some(RunContext { registry, ledger, ..session.setting.clone() }))
}

/// Returns the one channel that a tag belongs to.
pub fn channel_of<'a>(loaded: &'a Loaded, tag: &Tag) -> Result<&'a Channel, CliError> {
    let channels = &loaded.project.channels;
    let matching: Vec<_> =
        channels.values().filter(|channel| channel.pattern.is_match(tag.as_str())).collect();
    match matching.as_slice() {
        [channel] => Ok(*channel),
        [] => {
            let known: Vec<String> = channels.values().map(as_declared).collect();
            let text = format!("tag {tag} belongs to no channel; declared are: {}", known.join(", "));
            Err(CliError::Usage(text))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|channel| channel.name.as_str()).collect();
            Err(CliError::Usage(format!("tag {tag} belongs to several channels: {}", names.join(", "))))
        }
    }
}

/// A channel with its tags, as the configuration spells them.
fn as_declared(channel: &Channel) -> String {
    let pattern = channel.pattern.as_str();
    let written = pattern.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$")).unwrap_or(pattern);
    format!("{} ({written})", channel.name)
}

/// Reads the promotion that is promoted from, which must hold all boxes of the channel.
async fn taken(
    session: &Session,
    loaded: &Loaded,
    from: &From,
    boxes: &[&str],
    terminal: Terminal,
) -> Result<PromotionRecord, CliError> {
    let ledger = Ledger::new(session.ports().registry, &session.setting.ledger);
    let past = history(ledger, &from.tag).await.map_err(PromoteError::from)?;
    tell_aside(&past, terminal);
    let wanted = |set: &&PromotionRecord| from.seq.is_none_or(|seq| set.seq == seq);
    let set = past.sets.iter().find(wanted).cloned().ok_or_else(|| PromoteError::NoSet {
        name: from.to_string(),
        why: "nothing was promoted under that name",
    })?;
    let holds = |name: &&&str| !set.boxes.iter().any(|member| member.name == **name);
    let left: Vec<String> = boxes.iter().filter(holds).map(|name| (*name).to_owned()).collect();
    if !left.is_empty() {
        let why = format!("not part of {}", set.name());
        return Err(PromoteError::Missing { names: left, why, channel: None }.into());
    }
    believe(session, loaded, &past, &set).await?;
    Ok(set)
}

/// Checks that a promotion names what it can have promoted.
pub async fn believe(
    session: &Session,
    loaded: &Loaded,
    past: &History,
    set: &PromotionRecord,
) -> Result<(), CliError> {
    let next = past.sets.iter().filter(|next| next.seq > set.seq).min_by_key(|next| next.seq);
    let (registry, setting) = (session.ports().registry, &session.setting);
    Ok(vet(registry, setting, set, next, &loaded.project.boxes).await?)
}

/// Says which records of a tag are not believed.
pub fn tell_aside(past: &History, terminal: Terminal) {
    for Aside { tag, why } in &past.aside {
        terminal.warn(&format!("{tag} in the ledger is set aside: {why}"));
    }
}

/// Promotes if that is confirmed, and prints what was or would be done.
pub async fn carry_out(
    session: &Session,
    content: PromotionSource<'_>,
    target: Option<&RunContext>,
    mut options: PromoteOptions,
    confirm: &Confirm,
    global: &Global,
    terminal: Terminal,
) -> Result<u8, CliError> {
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let (ports, setting, cancel) = (session.ports(), &session.setting, interrupt::token());
    let carry = async |options: &PromoteOptions| match target {
        Some(target) => promote_to(ports, setting, target, content, options, &emit, &cancel).await,
        None => promote(ports, setting, content, options, &emit, &cancel).await,
    };
    let (mut report, mut end) = (None, (exit::DONE, false));
    if !confirm.is_told() {
        options.apply = false;
        let plan = carry(&options).await?;
        let shown = (!plan.was_done).then(|| table(&plan, false).render());
        match confirm.decide(shown).await? {
            Decision::Apply => (options.apply, options.shown) = (true, Some(plan.promotion)),
            Decision::Leave { code, is_shown } => (report, end) = (Some(plan), (code, is_shown)),
        }
    }
    let (code, is_shown) = end;
    let report = match report {
        Some(plan) => plan,
        None => carry(&options).await?,
    };
    let PromoteOptions { tag, apply, .. } = &options;
    let outcome = if report.was_done {
        format!("{tag} is up to date (#{})", report.seq)
    } else if *apply {
        format!("promoted {tag} (#{})", report.seq)
    } else {
        confirm.not_applied()
    };
    let table = table(&report, *apply);
    ci::summarise(confirm.title(), &table, &outcome)?;
    match global.format {
        Format::Json => {
            let run = session.setting.run.to_string();
            let out = Report {
                schema: 1,
                run: &run,
                tag: tag.as_str(),
                channel: &options.channel,
                seq: report.seq,
                applied: *apply,
                boxes: rows(&report, *apply),
            };
            terminal.result(&json::text(&out))?;
        }
        Format::Human => {
            if !is_shown {
                terminal.result(&table.render())?;
            }
            // That nothing came of a call that ends so is no mere remark.
            if code == exit::DONE { terminal.say(&outcome) } else { terminal.warn(&outcome) }
        }
    }
    Ok(code)
}

fn rows(report: &PromoteReport, apply: bool) -> Vec<BoxRow<'_>> {
    let row = |step: &'_ crate::plan::Step| -> &'static str {
        match step.state {
            StepState::There => "there",
            StepState::Move if apply => "moved",
            StepState::Move => "move",
        }
    };
    let steps = report.promotion.steps.iter();
    steps
        .map(|step| BoxRow {
            name: &step.member.name,
            repository: step.member.repository.to_string(),
            key: step.member.tag.key().to_string(),
            digest: &step.member.digest,
            before: step.before.as_ref(),
            action: row(step),
        })
        .collect()
}

fn table(report: &PromoteReport, apply: bool) -> Table {
    let mut table = Table::new(&["BOX", "ACTION", "FROM", "TO"]);
    for row in rows(report, apply) {
        let style = match row.action {
            "there" => anstyle::Style::new(),
            "moved" => GOOD,
            _ => NOTE,
        };
        let before = row.before.map_or("nothing", Digest::short).to_owned();
        table.row([
            (BOLD, row.name.to_owned()),
            (style, row.action.to_owned()),
            (DIM, before),
            (anstyle::Style::new(), row.digest.to_string()),
        ]);
    }
    table
}
