//! `plan`: what stands, what would be built, and why.

use std::collections::{BTreeMap, BTreeSet};

use super::advice::{self, Missing};
use super::args::{Format, Global, PlanOf, Tell};
use super::ci::{self, BoxFact, Outputs, Trust};
use super::computed::Computed;
use super::error::{CliError, exit};
use super::json::{self, BoxRow, Report, SourceRow};
use super::session::{self, Session};
use super::table::Table;
use super::terminal::{BAD, BOLD, DIM, GOOD, NOTE, Terminal};
use super::{findings, sources};
use crate::exec::{BuildError, Ledger, Reason, ResolvedBox, all_known, observe_all, reasons};
use crate::model::size;
use crate::plan::{Decision, Seen, State, plan};

/// What a plan is made of.
pub struct Planned {
    pub computed: Computed,
    pub seen: BTreeMap<String, Seen>,
    /// What is to be done about each of the computed boxes.
    pub decisions: Vec<Decision>,
    /// What moved in boxes that are missing.
    pub moved: BTreeMap<String, Reason>,
}

impl Planned {
    /// Returns the boxes with what was seen of them and what is to be done.
    fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.computed.boxes.iter().zip(&self.decisions).filter_map(|(keyed, decision)| {
            let name = &keyed.wanted.name;
            let moved = self.moved.get(name);
            let why = moved.map_or_else(|| decision.why(), |reason| reason.text.clone());
            Some(Row { keyed, seen: self.seen.get(name)?, decision, why })
        })
    }

    /// Returns the boxes that are not there as they should be.
    pub fn missing(&self) -> impl Iterator<Item = (&ResolvedBox, &Seen)> {
        self.rows().filter(|row| row.decision.is_build()).map(|row| (row.keyed, row.seen))
    }
}

/// One box of a plan.
struct Row<'a> {
    keyed: &'a ResolvedBox,
    seen: &'a Seen,
    decision: &'a Decision,
    /// What moved, or else why it is decided so.
    why: String,
}

impl Row<'_> {
    fn name(&self) -> &str {
        &self.keyed.wanted.name
    }

    fn tag(&self) -> String {
        self.keyed.wanted.tag.with_generation(self.seen.generation).to_string()
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
    all_known(&seen).map_err(BuildError::from)?;
    let decisions = plan(wanted.iter().map(|(want, _)| want), &seen, !session.is_read_only());
    let is_missing = |name: &str| seen.get(name).is_some_and(|seen| seen.state == State::Missing);
    let missing: Vec<&ResolvedBox> =
        computed.boxes.iter().filter(|keyed| is_missing(&keyed.wanted.name)).collect();
    let mut moved = BTreeMap::new();
    if !missing.is_empty() {
        let ledger = Ledger::new(session.ports().registry, &session.setting.ledger);
        let told = reasons(ledger, &loaded.project, &missing).await;
        for note in told.notes {
            terminal.say(&format!("note: {note}"));
        }
        moved = told.by_box;
    }
    Ok(Planned { computed, seen, decisions, moved })
}

/// Plans; with `is_check` it fails, and says what to do, if anything would be built.
pub async fn run(
    options: &PlanOf,
    is_check: bool,
    global: &Global,
    terminal: Terminal,
) -> Result<u8, CliError> {
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
                terminal.say(&format!("compared with {}", since.join(", ")));
            }
            terminal.say(&sum(&planned.decisions));
        }
    }
    tell(&planned, &session, &options.tell)?;
    let moved = |keyed: &ResolvedBox| planned.moved.get(&keyed.wanted.name);
    let missing: Vec<Missing<'_>> = planned
        .missing()
        .map(|(keyed, seen)| Missing { keyed, generation: seen.generation, moved: moved(keyed) })
        .collect();
    let is_failed = is_check && !missing.is_empty();
    if is_failed {
        advice::say(&missing, &planned.computed, &session, terminal);
    }
    session.close(false).await?;
    Ok(if is_failed { exit::MISSING } else { exit::DONE })
}

/// Tells later steps and jobs. Whether the registry takes a push is not asked: nothing is written
/// to find out.
fn tell(planned: &Planned, session: &Session, to: &Tell) -> Result<(), CliError> {
    let fact = |row: Row<'_>| {
        let digest = match row.decision {
            Decision::Use(digest) => Some(digest),
            _ => None,
        };
        BoxFact {
            name: row.name().to_owned(),
            tag: row.tag(),
            digest: digest.map(ToString::to_string),
            image: digest.map(|digest| format!("{}@{digest}", row.keyed.wanted.repository)),
            result: if digest.is_some() { "present" } else { "missing" }.to_owned(),
            reason: row.why.clone(),
            size: row.seen.size(),
            seconds: None,
        }
    };
    let boxes = planned.rows().map(fact).collect();
    let outputs = Outputs { can_push: session.ci.trust == Trust::Trusted, boxes };
    ci::publish(&outputs, &session.ci, &session.setting.run.to_string(), to.dotenv.as_deref())
}

/// Says how much there is to do.
fn sum(decisions: &[Decision]) -> String {
    let count = |is: fn(&Decision) -> bool| decisions.iter().filter(|decision| is(decision)).count();
    let build = count(|one| matches!(one, Decision::Build(_) | Decision::Refuse(_)));
    let waiting = count(|one| matches!(one, Decision::Wait { .. }));
    let boxes = if build == 1 { "1 box".to_owned() } else { format!("{build} boxes") };
    match (build, waiting) {
        (0, _) => "nothing to build".to_owned(),
        (_, 0) => format!("{boxes} to build"),
        (_, 1) => format!("{boxes} to build, and 1 that stands on what comes out"),
        _ => format!("{boxes} to build, and {waiting} that stand on what comes out"),
    }
}

fn report(planned: &Planned, session: &Session) -> Report {
    let boxes = planned.rows().map(|row| {
        let tag = row.keyed.wanted.tag.with_generation(row.seen.generation);
        let mut out = BoxRow::new(row.keyed, &tag);
        out.state = Some(row.seen.state.word());
        out.digest = row.seen.state.digest().cloned();
        out.action = Some(row.decision.word());
        out.since = planned.moved.get(row.name()).map(|reason| reason.since.to_string());
        out.reason = Some(row.why);
        out
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
fn tree(planned: &Planned) -> String {
    let width = Terminal::width();
    let whole = table(planned, true);
    // On a narrow terminal all else is worth more than the digits of keys.
    if whole.fits(width) { whole } else { table(planned, false) }.fit(width)
}

fn table(planned: &Planned, has_tags: bool) -> Table {
    let heading = ["BOX", "STATE", "ACTION", "SIZE", if has_tags { "TAG" } else { "REASON" }, "REASON"];
    let mut table = Table::new(&heading[..heading.len() - usize::from(!has_tags)]);
    let mut rows: Vec<Option<Row<'_>>> = planned.rows().map(Some).collect();
    for (lead, index) in branches(&planned.computed.boxes) {
        let Some(Row { keyed, seen, decision, why }) = rows.get_mut(index).and_then(Option::take) else {
            continue;
        };
        let style = match seen.state {
            State::Present { .. } => GOOD,
            State::Missing => NOTE,
            State::Broken { .. } | State::Unknown(_) => BAD,
        };
        let reason = match decision {
            Decision::Use(digest) => digest.short().to_owned(),
            _ => why,
        };
        let size = seen.size().map(size).unwrap_or_default();
        // The tree shows the first parent; others are said.
        let others = keyed.wanted.parents.iter().skip(1).map(|parent| format!("also on {parent}"));
        let reasons: Vec<String> = [reason].into_iter().chain(others).chain(sources::marks(keyed)).collect();
        let start = [
            (BOLD, format!("{lead}{}", keyed.wanted.name)),
            (style, seen.state.word().to_owned()),
            (anstyle::Style::new(), decision.word().to_owned()),
            (DIM, size),
        ];
        let tag = keyed.wanted.tag.with_generation(seen.generation).to_string();
        let tag = has_tags.then_some((anstyle::Style::new(), tag));
        table.cells(start.into_iter().chain(tag).chain([(DIM, reasons.join(", "))]).collect());
    }
    table
}

/// Returns each box's place in the list with the lines that lead to it, parents first.
fn branches(boxes: &[ResolvedBox]) -> Vec<(String, usize)> {
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
