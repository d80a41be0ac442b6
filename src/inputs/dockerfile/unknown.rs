//! What a Dockerfile says that is not known here: another version of the frontend, or another
//! frontend, may take it, and read anything for it.

use super::error::{DockerfileError, nearest};
use super::flags;
use super::instruction::{Instruction, KEYWORDS, UNKNOWN};
use super::mount;
use super::source::DockerfileSource;
use crate::model::printable;

/// The first part of an instruction that is not known, fit to follow "nothing is known about".
pub(super) fn part(
    source: &DockerfileSource,
    instruction: &Instruction,
) -> Result<Option<String>, DockerfileError> {
    let keyword = instruction.keyword;
    if keyword == UNKNOWN {
        let written = instruction.written();
        let hint = nearest(&written.to_uppercase(), KEYWORDS);
        return Ok(Some(said(&format!("the instruction `{}`", printable(written, 40)), hint)));
    }
    if let Some(flag) = flags::unknown(instruction) {
        let hint = nearest(&flag.name, flags::names(keyword)).map(|near| format!("--{near}"));
        return Ok(Some(said(&format!("`{keyword} --{}`", printable(&flag.name, 40)), hint)));
    }
    if keyword == "RUN" {
        for flag in instruction.flags.iter().filter(|flag| flag.name == "mount") {
            if let Some(unknown) = mount::read(source, instruction, flag)?.unknown {
                return Ok(Some(format!("`{}` in --mount", printable(&unknown, 40))));
            }
        }
    }
    Ok(None)
}

fn said(what: &str, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{what} (did you mean `{hint}`?)"),
        None => what.to_owned(),
    }
}
