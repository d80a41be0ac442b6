//! `promote`: give all boxes of a set one tag.

use serde::Serialize;

use super::args::{Format, Global, Promote};
use super::error::{CliError, exit};
use super::json;
use super::session::{self, Session};
use super::table::Table;
use super::terminal::{BOLD, DIM, GOOD, NOTE, Terminal};
use crate::exec::{PromoteOptions, PromoteReport, promote};
use crate::model::Digest;
use crate::plan::StepState;

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
    let matching: Vec<_> = loaded
        .project
        .channels
        .values()
        .filter(|channel| channel.pattern.is_match(options.tag.as_str()))
        .collect();
    let channel = match matching.as_slice() {
        [channel] => *channel,
        [] => {
            let known: Vec<String> = loaded
                .project
                .channels
                .values()
                .map(|channel| format!("{} ({})", channel.name, channel.pattern))
                .collect();
            let text =
                format!("tag {} belongs to no channel; declared are: {}", options.tag, known.join(", "));
            return Err(CliError::Usage(text));
        }
        several => {
            let names: Vec<&str> = several.iter().map(|channel| channel.name.as_str()).collect();
            return Err(CliError::Usage(format!(
                "tag {} belongs to several channels: {}",
                options.tag,
                names.join(", ")
            )));
        }
    };
    let apply = !options.plan && (options.yes || !channel.immutable);
    let mut session = Session::open(&loaded, global).await?;
    let specs = loaded.project.boxes_of(&channel.name);
    let computed = session.compute(&loaded, specs, global, terminal).await?;
    let promote_options = PromoteOptions {
        tag: options.tag.clone(),
        channel: channel.name.clone(),
        immutable: channel.immutable,
        allow_older: options.allow_older,
        apply,
    };
    let progress = session.progress();
    let emit = |event| progress.event(event);
    let report = promote(session.ports(), &session.setting, &computed.boxes, &promote_options, &emit).await?;
    match global.format {
        Format::Json => {
            let run = session.setting.run.to_string();
            let out = Report {
                schema: 1,
                run: &run,
                tag: options.tag.as_str(),
                channel: &channel.name,
                seq: report.seq,
                applied: apply,
                boxes: rows(&report, apply),
            };
            terminal.result(&json::text(&out));
        }
        Format::Human => {
            terminal.result(&table(&report, apply).render());
            let tag = &options.tag;
            terminal.say(&if report.was_done {
                format!("nothing to do: {tag} stands as promotion {}", report.seq)
            } else if apply {
                format!("{tag} stands as promotion {}", report.seq)
            } else {
                format!("nothing was done; `boxwright promote {tag} --yes` does it")
            });
        }
    }
    session.close(false).await?;
    Ok(exit::DONE)
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
