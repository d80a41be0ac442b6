//! `plan`: what stands, what would be built, and why.

use std::collections::{BTreeMap, BTreeSet};

use super::args::{Format, Global, Plan, Tell};
use super::ci::{self, BoxFact, Outputs, Trust};
use super::error::{CliError, exit};
use super::findings;
use super::json::{self, BoxRow, Report, SourceRow};
use super::session::{self, Computed, Session};
use super::sources;
use super::table::Table;
use super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal};
use crate::exec::{Keyed, Ledger, Reason, all_known, observe_all, reasons};
use crate::model::size;
use crate::plan::{Action, Row, Seen, State, plan};

/// What a plan is made of.
pub struct Planned {
    pub computed: Computed,
    pub seen: BTreeMap<String, Seen>,
    pub rows: Vec<Row>,
    /// What moved in boxes that are missing.
    pub moved: BTreeMap<String, Reason>,
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
    all_known(&seen)?;
    let wanted: Vec<_> = wanted.into_iter().map(|(want, _)| want).collect();
    let mut rows = plan(&wanted, &seen);
    let is_missing = |name: &str| seen.get(name).is_some_and(|seen| seen.state == State::Missing);
    let missing: Vec<&Keyed> = computed.boxes.iter().filter(|keyed| is_missing(&keyed.wanted.name)).collect();
    let mut moved = BTreeMap::new();
    if !missing.is_empty() {
        let ledger = Ledger::new(session.ports().registry, &session.setting.ledger);
        let told = reasons(ledger, &loaded.project, &missing).await;
        for note in told.notes {
            terminal.say(&format!("note: {note}"));
        }
        moved = told.by_box;
    }
    for row in &mut rows {
        if let Some(reason) = moved.get(&row.name) {
            row.reason.clone_from(&reason.text);
        }
    }
    Ok(Planned { computed, seen, rows, moved })
}

pub async fn run(options: &Plan, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let mut session = Session::open(&loaded, global).await?;
    let planned = ask(&mut session, &loaded, &options.boxes, global, terminal).await?;
    match global.format {
        Format::Json => terminal.result(&json::text(&report(&planned, &session)))?,
        Format::Human => {
            terminal.result(&tree(&planned))?;
            findings::say(&planned.computed, terminal, |remark| remark.line.is_some());
            let since: BTreeSet<&str> = planned.moved.values().map(|one| one.since.as_str()).collect();
            if !since.is_empty() {
                let since: Vec<&str> = since.into_iter().collect();
                terminal.say(&format!("reasons are told against {}", since.join(", ")));
            }
            let count = planned.missing().count();
            terminal.say(&match count {
                0 => "nothing to build".to_owned(),
                1 => "1 box to build".to_owned(),
                _ => format!("{count} boxes to build"),
            });
        }
    }
    tell(&planned, &session, &options.tell)?;
    let is_missing = planned.missing().next().is_some();
    session.close(false).await?;
    Ok(if options.check && is_missing { exit::MISSING } else { exit::DONE })
}

/// Tells later steps and jobs. Whether the registry takes a push is not asked: nothing is written
/// to find out.
pub fn tell(planned: &Planned, session: &Session, to: &Tell) -> Result<(), CliError> {
    let fact = |(keyed, row): (&Keyed, &Row)| {
        let seen = planned.seen.get(&row.name)?;
        let digest = seen.state.digest().filter(|_| row.action == Action::Use);
        Some(BoxFact {
            name: row.name.clone(),
            tag: keyed.wanted.tag.with_generation(seen.generation).to_string(),
            digest: digest.map(ToString::to_string),
            image: digest.map(|digest| format!("{}@{digest}", keyed.wanted.repository)),
            result: if digest.is_some() { "present" } else { "missing" }.to_owned(),
            reason: row.reason.clone(),
            size: seen.size(),
            seconds: None,
        })
    };
    let boxes = planned.computed.boxes.iter().zip(&planned.rows).filter_map(fact).collect();
    let outputs = Outputs { can_push: session.ci.trust == Trust::Trusted, boxes };
    ci::publish(&outputs, &session.ci, &session.setting.run.to_string(), to.dotenv.as_deref())
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
        out.since = planned.moved.get(&row.name).map(|reason| reason.since.to_string());
        Some(out)
    });
    Report {
        schema: 1,
        run: session.setting.run.to_string(),
        boxes: boxes.collect(),
        source: Some(SourceRow::new(&session.setting.source)),
        ci: session.in_ci(),
        findings: Some(findings::rows(&planned.computed)),
    }
}

/// Draws the boxes as a tree, each below the first box that it stands on.
pub fn tree(planned: &Planned) -> String {
    let width = Terminal::width();
    let whole = table(planned, true);
    // On a narrow terminal all else is worth more than the digits of keys.
    if whole.fits(width) { whole } else { table(planned, false) }.fit(width)
}

fn table(planned: &Planned, has_tags: bool) -> Table {
    let heading = ["BOX", "STATE", "ACTION", "SIZE", if has_tags { "TAG" } else { "REASON" }, "REASON"];
    let mut table = Table::new(&heading[..heading.len() - usize::from(!has_tags)]);
    for (lead, index) in branches(&planned.computed.boxes) {
        let Some((keyed, row)) = planned.computed.boxes.get(index).zip(planned.rows.get(index)) else {
            continue;
        };
        let Some(seen) = planned.seen.get(&row.name) else { continue };
        let style = match seen.state {
            State::Present { .. } => GOOD,
            State::Missing => NOTE,
            State::Broken { .. } | State::Unknown { .. } => BAD,
        };
        let (size, reason) = match &seen.state {
            State::Present { digest, recorded } => {
                let is_used = row.action == Action::Use;
                (size(recorded.size), if is_used { digest.short().to_owned() } else { row.reason.clone() })
            }
            _ => (String::new(), row.reason.clone()),
        };
        // The tree shows the first parent; others are said.
        let others = keyed.wanted.parents.iter().skip(1).map(|parent| format!("also on {parent}"));
        let reasons: Vec<String> = [reason].into_iter().chain(others).chain(sources::marks(keyed)).collect();
        let start = [
            (BOLD, format!("{lead}{}", row.name)),
            (style, seen.state.word().to_owned()),
            (anstyle::Style::new(), action(row).to_owned()),
            (DIM, size),
        ];
        let tag = keyed.wanted.tag.with_generation(seen.generation).to_string();
        let tag = has_tags.then_some((anstyle::Style::new(), tag));
        table.cells(start.into_iter().chain(tag).chain([(DIM, reasons.join(", "))]).collect());
    }
    table
}

/// Returns each box's place in the list with the lines that lead to it, parents first.
fn branches(boxes: &[Keyed]) -> Vec<(String, usize)> {
    let parents: Vec<Option<usize>> = boxes
        .iter()
        .map(|keyed| {
            let first = keyed.wanted.parents.first()?;
            boxes.iter().position(|other| other.wanted.name == *first)
        })
        .collect();
    grown(&parents)
}

/// As [`branches`], from the place of each one's parent.
fn grown(parents: &[Option<usize>]) -> Vec<(String, usize)> {
    let below = |parent: Option<usize>| (0..parents.len()).filter(move |index| parents[*index] == parent);
    let mut rows = Vec::new();
    // A stack in place of recursion: what is to come, with the lines before it.
    let mut waiting: Vec<(String, String, usize)> =
        below(None).map(|index| (String::new(), String::new(), index)).collect();
    waiting.reverse();
    while let Some((lead, rest, index)) = waiting.pop() {
        rows.push((lead, index));
        let children: Vec<usize> = below(Some(index)).collect();
        for (number, child) in children.iter().enumerate().rev() {
            let is_last = number + 1 == children.len();
            let (turn, line) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            waiting.push((format!("{rest}{turn}"), format!("{rest}{line}"), *child));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_drawn_parents_first() {
        // base ← build ← test, base ← docs ← site, alone
        let parents = [None, Some(0), Some(0), Some(1), Some(2), None];
        let rows: Vec<String> =
            grown(&parents).into_iter().map(|(lead, index)| format!("{lead}{index}")).collect();
        assert_eq!(rows, ["0", "├─ 1", "│  └─ 3", "└─ 2", "   └─ 4", "5"]);
    }
}
