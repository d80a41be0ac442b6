//! The flags that instructions take (BuildKit, `frontend/dockerfile/instructions`).

use super::error::{DockerfileError, nearest};
use super::instruction::{Flag, Instruction};
use super::needs::NeedKind;
use super::source::DockerfileSource;

/// What a flag is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    Text,
    /// Text, and the flag may be repeated.
    List,
    /// Nothing, `true` or `false`.
    Bool,
}

/// A flag: its name, its value, and what the engine must be able to do for it.
type Known = (&'static str, Value, Option<NeedKind>);

/// The flags of an instruction; nothing if frontends do not look at them.
fn of(keyword: &str) -> Option<&'static [Known]> {
    use Value::{Bool, List, Text};
    Some(match keyword {
        "ADD" => &[
            ("chmod", Text, None),
            ("chown", Text, None),
            ("checksum", Text, Some(NeedKind::Checksum)),
            ("exclude", List, Some(NeedKind::Exclude)),
            ("keep-git-dir", Bool, Some(NeedKind::AddGit)),
            ("link", Bool, Some(NeedKind::Link)),
            ("unpack", Bool, Some(NeedKind::Unpack)),
        ],
        "COPY" => &[
            ("chmod", Text, None),
            ("chown", Text, None),
            ("from", Text, None),
            ("exclude", List, Some(NeedKind::Exclude)),
            ("link", Bool, Some(NeedKind::Link)),
            ("parents", Bool, Some(NeedKind::Parents)),
        ],
        "FROM" => &[("platform", Text, None)],
        "HEALTHCHECK" => &[
            ("interval", Text, None),
            ("retries", Text, None),
            ("start-interval", Text, Some(NeedKind::StartInterval)),
            ("start-period", Text, None),
            ("timeout", Text, None),
        ],
        "RUN" => &[
            ("mount", List, None),
            ("device", List, Some(NeedKind::Device)),
            ("network", Text, Some(NeedKind::Network)),
            ("security", Text, Some(NeedKind::Security)),
        ],
        "ARG" | "STOPSIGNAL" => return None,
        _ => &[],
    })
}

/// What a flag needs of the engine, if the flag is known.
pub(super) fn need(keyword: &str, name: &str) -> Option<NeedKind> {
    let (.., need) = of(keyword)?.iter().find(|(known, ..)| *known == name)?;
    need.clone()
}

/// The first flag that no frontend we know of takes.
pub(super) fn unknown(instruction: &Instruction) -> Option<&Flag> {
    let known = of(instruction.keyword)?;
    instruction.flags.iter().find(|flag| !known.iter().any(|(name, ..)| *name == flag.name))
}

/// Refuses flags that no frontend takes so. Another frontend than the engine's own (`is_own`
/// tells) may know flags that are not known here.
pub(super) fn check(
    source: &DockerfileSource,
    instruction: &Instruction,
    is_own: bool,
) -> Result<(), DockerfileError> {
    let Some(known) = of(instruction.keyword) else { return Ok(()) };
    let wrong = |flag: &Flag, reason: String| {
        let at = source.at(instruction.logical.offset(flag.raw.start));
        Err(DockerfileError::Syntax { at, reason })
    };
    for (index, flag) in instruction.flags.iter().enumerate() {
        let (keyword, name) = (instruction.keyword, flag.name.as_str());
        let Some((_, value, _)) = known.iter().find(|(known, ..)| *known == name) else {
            if !is_own {
                continue;
            }
            let near = nearest(name, known.iter().map(|(known, ..)| *known));
            let near = near.map_or_else(String::new, |near| format!(" (did you mean `--{near}`?)"));
            return wrong(flag, format!("{keyword} takes no flag `--{name}`{near}"));
        };
        let is_given = instruction.logical.text[flag.raw.clone()].contains('=');
        if *value != Value::Bool && !is_given {
            return wrong(flag, format!("`--{name}` needs a value: `--{name}=…`"));
        }
        if *value == Value::Bool && is_given && !matches!(flag.value.as_str(), "true" | "false") {
            return wrong(flag, format!("`--{name}` takes `true` or `false`, not `{}`", flag.value));
        }
        if *value != Value::List && instruction.flags[..index].iter().any(|before| before.name == name) {
            return wrong(flag, format!("`--{name}` is given twice"));
        }
    }
    Ok(())
}
