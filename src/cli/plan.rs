//! `plan`: what stands, what would be built, and why.

use std::collections::BTreeMap;

use super::args::{Format, Global, Plan};
use super::error::{CliError, exit};
use super::json::{self, BoxRow, Report};
use super::session::{self, Computed, Session};
use super::sources;
use super::table::Table;
use super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal};
use crate::exec::{BuildError, observe_all};
use crate::plan::{Action, Row, Seen, State, plan};

/// What a plan is made of.
pub struct Planned {
    pub computed: Computed,
    pub seen: BTreeMap<String, Seen>,
    pub rows: Vec<Row>,
}

impl Planned {
    /// Returns the boxes that would be built.
    pub fn missing(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.action == Action::Build)
    }
}

/// Asks the registry and plans; a box that is unknown is an error.
pub async fn ask(
    session: &mut Session,
    loaded: &session::Loaded,
    boxes: &super::args::Boxes,
    global: &Global,
    terminal: Terminal,
) -> Result<Planned, CliError> {
    let specs = loaded.choose(boxes)?;
    let computed = session.compute(loaded, specs, global, terminal).await?;
    let wanted: Vec<_> =
        computed.boxes.iter().map(|keyed| (keyed.wanted.clone(), keyed.spec.platform.clone())).collect();
    let seen = observe_all(session.ports().registry, &session.setting.ledger, &wanted).await;
    for (name, seen) in &seen {
        if let State::Unknown { why } = &seen.state {
            return Err(BuildError::Unknown { name: name.clone(), why: why.clone() }.into());
        }
    }
    let wanted: Vec<_> = wanted.into_iter().map(|(want, _)| want).collect();
    let rows = plan(&wanted, &seen);
    Ok(Planned { computed, seen, rows })
}

pub async fn run(options: &Plan, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let mut session = Session::open(&loaded, global).await?;
    let planned = ask(&mut session, &loaded, &options.boxes, global, terminal).await?;
    match global.format {
        Format::Json => terminal.result(&json::text(&report(&planned, &session))),
        Format::Human => {
            terminal.result(&table(&planned).render());
            let count = planned.missing().count();
            terminal.say(&match count {
                0 => "nothing to build".to_owned(),
                1 => "1 box to build".to_owned(),
                _ => format!("{count} boxes to build"),
            });
        }
    }
    let is_missing = planned.missing().next().is_some();
    session.close(false).await?;
    Ok(if options.check && is_missing { exit::MISSING } else { exit::DONE })
}

fn action(row: &Row) -> &'static str {
    match row.action {
        Action::Use => "use",
        Action::Build => "build",
        Action::Stop => "skipped",
    }
}

pub fn report(planned: &Planned, session: &Session) -> Report {
    let boxes = planned.computed.boxes.iter().zip(&planned.rows).filter_map(|(keyed, row)| {
        let seen = planned.seen.get(&row.name)?;
        let mut out = BoxRow::new(keyed, &keyed.wanted.tag.with_generation(seen.generation));
        out.state = Some(seen.state.word());
        out.digest = seen.state.digest().cloned();
        out.action = Some(action(row));
        out.reason = Some(row.reason.clone());
        Some(out)
    });
    Report { schema: 1, run: session.setting.run.to_string(), boxes: boxes.collect() }
}

pub fn table(planned: &Planned) -> Table {
    let mut table = Table::new(&["BOX", "STATE", "ACTION", "TAG", "REASON"]);
    for (keyed, row) in planned.computed.boxes.iter().zip(&planned.rows) {
        let Some(seen) = planned.seen.get(&row.name) else { continue };
        let style = match seen.state {
            State::Present { .. } => GOOD,
            State::Missing => NOTE,
            State::Broken { .. } | State::Unknown { .. } => BAD,
        };
        let reason = match &seen.state {
            State::Present { digest, .. } if row.action == Action::Use => digest.short().to_owned(),
            _ => row.reason.clone(),
        };
        table.row([
            (BOLD, row.name.clone()),
            (style, seen.state.word().to_owned()),
            (anstyle::Style::new(), action(row).to_owned()),
            (anstyle::Style::new(), keyed.wanted.tag.with_generation(seen.generation).to_string()),
            (DIM, [&[reason][..], &sources::marks(keyed)].concat().join(", ")),
        ]);
    }
    table
}
