//! What an engine's frontend must be able to do.

use super::flags;
use super::instruction::Instruction;
use super::need::{Need, NeedKind};
use super::source::DockerfileSource;

/// The needs of one instruction.
pub(super) fn instruction(source: &DockerfileSource, instruction: &Instruction, out: &mut Vec<Need>) {
    let inner = instruction.trigger.as_deref().unwrap_or(instruction);
    if !inner.heredocs.is_empty() {
        out.push(Need { kind: NeedKind::Heredoc, at: source.at(instruction.start) });
    }
    for flag in &inner.flags {
        if let Some(kind) = flags::need(inner.keyword, &flag.name) {
            out.push(Need { kind, at: source.at(inner.logical.offset(flag.raw.start)) });
        }
    }
}
