//! The flags that instructions take (BuildKit, `frontend/dockerfile/instructions`).
//!
//! What they are given is the frontend's to judge: it knows the values that it takes.

use super::instruction::{Flag, Instruction};
use super::need::NeedKind;

/// A flag: its name, and what the engine must be able to do for it.
type Known = (&'static str, Option<NeedKind>);

/// The flags of an instruction; nothing if frontends do not look at them.
fn of(keyword: &str) -> Option<&'static [Known]> {
    Some(match keyword {
        "ADD" => &[
            ("chmod", None),
            ("chown", None),
            ("checksum", Some(NeedKind::Checksum)),
            ("exclude", Some(NeedKind::Exclude)),
            ("keep-git-dir", Some(NeedKind::AddGit)),
            ("link", Some(NeedKind::Link)),
            ("unpack", Some(NeedKind::Unpack)),
        ],
        "COPY" => &[
            ("chmod", None),
            ("chown", None),
            ("from", None),
            ("exclude", Some(NeedKind::Exclude)),
            ("link", Some(NeedKind::Link)),
            ("parents", Some(NeedKind::Parents)),
        ],
        "FROM" => &[("platform", None)],
        "HEALTHCHECK" => &[
            ("interval", None),
            ("retries", None),
            ("start-interval", Some(NeedKind::StartInterval)),
            ("start-period", None),
            ("timeout", None),
        ],
        "RUN" => &[
            ("mount", None),
            ("device", Some(NeedKind::Device)),
            ("network", Some(NeedKind::Network)),
            ("security", Some(NeedKind::Security)),
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

/// The flags of an instruction that are known, for a hint.
pub(super) fn names(keyword: &str) -> impl Iterator<Item = &'static str> {
    of(keyword).unwrap_or_default().iter().map(|(name, _)| *name)
}
