//! `ONBUILD` triggers that a box hands on: they run in whatever is built on it, once.

use super::error::DockerfileError;
use super::instruction::Instruction;
use super::mount::{self, Kind};
use super::source::{At, DockerfileSource};

/// A trigger that reads something when another box is built on this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// Where it stands.
    pub at: At,
    /// Whether it can read the other build's context.
    pub reads: bool,
    /// The stage or image of the other build that it copies from.
    pub from: Option<String>,
}

/// Returns the triggers in a stage that read something. What exactly they read depends on the
/// build that they run in, so nothing is expanded here.
pub(super) fn of(source: &DockerfileSource, body: &[Instruction]) -> Result<Vec<Trigger>, DockerfileError> {
    let mut out = Vec::new();
    for trigger in body.iter().filter_map(|instruction| instruction.trigger.as_deref()) {
        let at = source.at(trigger.start);
        match trigger.keyword {
            "COPY" | "ADD" => {
                let from = trigger.flag("from").map(|flag| flag.value.clone());
                let from = from.filter(|from| !from.is_empty());
                out.push(Trigger { at, reads: from.is_none(), from });
            }
            "RUN" => {
                for flag in trigger.flags.iter().filter(|flag| flag.name == "mount") {
                    let mount = mount::read(source, trigger, flag)?;
                    let from = mount.from.map(|(name, _)| name);
                    let reads = mount.kind == Kind::Bind && from.is_none();
                    if reads || from.is_some() {
                        out.push(Trigger { at: at.clone(), reads, from });
                    }
                }
            }
            _ => {}
        }
    }
    Ok(out)
}
