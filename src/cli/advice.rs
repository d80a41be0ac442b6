//! What to do about boxes that are missing where they may not be built.

use super::computed::Computed;
use super::session::Session;
use super::terminal::{BAD, NOTE, Terminal, paint};
use crate::exec::{Reason, ResolvedBox};
use crate::model::Generation;

/// A box that is missing.
pub struct Missing<'a> {
    pub keyed: &'a ResolvedBox,
    /// The generation that would be built.
    pub generation: Generation,
    /// What moved since it was last promoted.
    pub moved: Option<&'a Reason>,
}

/// Says which keys are missing, what moved them, and what someone with push access runs.
pub fn say(missing: &[Missing<'_>], computed: &Computed, session: &Session, terminal: Terminal) {
    let mut names = Vec::new();
    for Missing { keyed, generation, moved } in missing {
        let name = &keyed.wanted.name;
        names.push(name.as_str());
        let image = format!("{}:{}", keyed.wanted.repository, keyed.wanted.tag.with_generation(*generation));
        terminal.warn(&format!("{} {name}: {image}", paint(BAD, "missing:")));
        let why = match moved {
            Some(Reason { text, since }) => format!("since {since}: {text}"),
            None => "no earlier promotion to compare with".to_owned(),
        };
        terminal.warn(&format!("  {why}"));
        terminal.annotate(&format!("box {name} is missing"), None, &format!("{image}, {why}"));
    }
    let names = names.join(" ");
    let command = match &session.setting.source.revision {
        Some(revision) if computed.differing.is_empty() => {
            format!("`boxwright build --at {revision} {names}` in a clone of this repository")
        }
        Some(revision) => {
            format!("`boxwright build {names}` on {revision} with the changes that are not committed")
        }
        None => format!("`boxwright build {names}` on this revision"),
    };
    let hint = paint(NOTE, "hint:");
    terminal.warn(&format!("{hint} ask someone with push access to run {command}, then re-run this job"));
    terminal
        .warn(&format!("{hint} `boxwright build --local` builds it for this machine alone, pushing nothing"));
}
