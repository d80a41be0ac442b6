//! What an engine's frontend must be able to do.

use std::fmt;

use super::instruction::Instruction;

/// Something that not every engine's own frontend can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What.
    pub kind: NeedKind,
    /// The line that needs it, from 1.
    pub line: u32,
}

/// What a Dockerfile may need beyond the frontend of Docker Engine 20.10 (Dockerfile 1.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NeedKind {
    /// Here-documents (1.4).
    Heredoc,
    /// `--link` (1.4).
    Link,
    /// `--parents` (1.7-labs, 1.20).
    Parents,
    /// `--exclude` (1.7-labs, 1.19).
    Exclude,
    /// `ADD --checksum` (1.6).
    Checksum,
    /// `ADD --keep-git-dir`, or a git address as a source (1.5, 1.1-labs).
    AddGit,
    /// `ADD --unpack` (1.17).
    Unpack,
    /// A `# syntax=` line: this frontend is fetched from a registry.
    Syntax(String),
}

impl fmt::Display for NeedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heredoc => "a here-document",
            Self::Link => "`--link`",
            Self::Parents => "`--parents`",
            Self::Exclude => "`--exclude`",
            Self::Checksum => "`ADD --checksum`",
            Self::AddGit => "`ADD` from git",
            Self::Unpack => "`ADD --unpack`",
            Self::Syntax(_) => "a `# syntax=` line",
        })
    }
}

/// The needs of one instruction.
pub(super) fn instruction(instruction: &Instruction, out: &mut Vec<Need>) {
    let line = instruction.line;
    let inner = instruction.trigger.as_deref().unwrap_or(instruction);
    if !inner.heredocs.is_empty() {
        out.push(Need { kind: NeedKind::Heredoc, line });
    }
    if !matches!(inner.keyword, "ADD" | "COPY") {
        return;
    }
    for flag in &inner.flags {
        let kind = match flag.name.as_str() {
            "link" if flag.value != "false" => NeedKind::Link,
            "parents" if flag.value != "false" => NeedKind::Parents,
            "exclude" => NeedKind::Exclude,
            "checksum" => NeedKind::Checksum,
            "keep-git-dir" => NeedKind::AddGit,
            "unpack" => NeedKind::Unpack,
            _ => continue,
        };
        out.push(Need { kind, line });
    }
}
