//! `rebuild`: a new generation of keys whose recipe has not changed.

use std::collections::BTreeSet;

use serde::Serialize;

use super::args::{Boxes, Format, Global, Rebuild};
use super::build::{clash, end, show, tell};
use super::confirm::{Confirm, Decision};
use super::error::CliError;
use super::session::{self, Loaded, Session};
use super::terminal::{NOTE, Terminal, paint};
use super::{interrupt, json};
use crate::exec::{BuildOptions, Replaced, ResolvedBox, build, replace};
use crate::model::Span;

/// What would be made anew, in JSON.
#[derive(Serialize)]
struct Plan<'a> {
    schema: u32,
    run: String,
    applied: bool,
    boxes: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    /// The generation that stands; nothing if none does.
    generation: Option<u32>,
}

pub async fn run(options: &Rebuild, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let cancel = interrupt::token();
    let loaded = session::load(global)?;
    clash(&loaded, &options.tell)?;
    let mut session = Session::open_to_write(&loaded, global, options.writing.push).await?;
    let confirm =
        Confirm::new(format!("boxwright rebuild {}", options.names.join(" ")), options.confirming, terminal);
    confirm.may_write(&session, "a rebuild")?;
    let dependants = dependants(&loaded, &options.names);
    let mut names = options.names.clone();
    if options.dependants {
        names.extend(dependants.iter().cloned());
    }
    let specs = loaded.choose(&Boxes { names: names.clone(), channel: None })?;
    let computed = session.compute(&loaded, specs, global, terminal).await?;
    let chosen: Vec<&ResolvedBox> =
        computed.boxes.iter().filter(|keyed| names.contains(&keyed.wanted.name)).collect();
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let found = replace(session.ports(), &session.setting, &chosen, false, &emit).await?;
    if !dependants.is_empty() {
        let list = dependants.join(", ");
        terminal.warn(&match options.dependants {
            true => format!("boxes that depend on it are rebuilt with it: {list}"),
            false => format!(
                "boxes that depend on it ({list}) are rebuilt by the next build; --dependants rebuilds them now"
            ),
        });
    }
    let plan = words(&found, &session.setting.registry);
    match confirm.decide(Some(plan.clone())).await? {
        Decision::Apply if confirm.is_told() => terminal.warn_text(&plan),
        Decision::Apply => {
            // What was agreed to, or nothing.
            if replace(session.ports(), &session.setting, &chosen, false, &emit).await? != found {
                return Err(CliError::Moved);
            }
        }
        Decision::Leave { code, is_shown } => {
            match global.format {
                Format::Json => terminal.result(&json::text(&as_json(&found, &session)))?,
                Format::Human if is_shown => {}
                Format::Human => terminal.result(&plan)?,
            }
            terminal.warn(&confirm.not_applied());
            session.close(false).await?;
            return Ok(code);
        }
    }
    // A tombstone without a build makes everybody else build.
    session.engine().builder.check().await?;
    replace(session.ports(), &session.setting, &chosen, true, &emit).await?;
    let build_options = BuildOptions {
        jobs: usize::from(options.jobs),
        wait: Span::default(),
        // What a step fetches is what this is about.
        no_cache: true,
        fail_fast: options.failing.fail_fast,
    };
    let (ports, engine, boxes) = (session.ports(), session.engine(), &computed.boxes);
    let report = build(ports, engine, &session.setting, boxes, &build_options, &emit, &cancel).await?;
    show(&report, &session, &loaded, &computed, global, terminal).await?;
    tell(&report, &computed, &session, &options.tell)?;
    end(session, report).await
}

fn as_json<'a>(found: &'a [Replaced], session: &Session) -> Plan<'a> {
    let row = |one: &'a Replaced| Row { name: &one.name, generation: one.generation.map(|of| of.0) };
    let (run, boxes) = (session.setting.run.to_string(), found.iter().map(row).collect());
    Plan { schema: 1, run, applied: false, boxes }
}

/// Says what each box's new image takes the place of, a line a box.
fn words(found: &[Replaced], registry: &str) -> String {
    let line = |one: &Replaced| match one.generation {
        Some(generation) => {
            let next = generation.next().0;
            format!(
                "{} {}: generation {next} in {registry}, in place of {}",
                paint(NOTE, "rebuild"),
                one.name,
                generation.0
            )
        }
        None => format!("{} {}: it has no image yet, and is built", paint(NOTE, "rebuild"), one.name),
    };
    found.iter().map(|one| line(one) + "\n").collect()
}

/// Returns the boxes that stand on any of `names`, parents first, and are none of them.
fn dependants(loaded: &Loaded, names: &[String]) -> Vec<String> {
    let mut below: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    for spec in &loaded.project.boxes {
        if !below.contains(spec.name.as_str()) && spec.parents().any(|parent| below.contains(parent)) {
            below.insert(&spec.name);
            found.push(spec.name.clone());
        }
    }
    found
}
