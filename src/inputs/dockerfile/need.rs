//! What not every engine's frontend can do.

use std::fmt;

use super::at::At;

/// Something that not every engine's own frontend can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// What.
    pub kind: NeedKind,
    /// What needs it.
    pub at: At,
}

/// What a Dockerfile may need beyond the frontend of Docker Engine 20.10 (Dockerfile 1.2).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NeedKind {
    /// Here-documents (1.4).
    Heredoc,
    /// `--link` (1.4).
    Link,
    /// `RUN --network` (1.3).
    Network,
    /// `RUN --security` (1.20).
    Security,
    /// `RUN --device` (1.14-labs).
    Device,
    /// `HEALTHCHECK --start-interval` (1.6).
    StartInterval,
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

impl NeedKind {
    /// Returns the major version of the first Docker Engine whose own frontend may do it.
    pub fn least_engine(&self) -> u32 {
        match self {
            Self::Syntax(_) => 0,
            Self::Heredoc | Self::Link | Self::Network => 23,
            Self::AddGit | Self::Checksum | Self::StartInterval => 25,
            Self::Device | Self::Exclude | Self::Unpack => 28,
            Self::Parents | Self::Security => 29,
        }
    }
}

impl fmt::Display for NeedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Heredoc => "a here-document",
            Self::Link => "`--link`",
            Self::Network => "`RUN --network`",
            Self::Security => "`RUN --security`",
            Self::Device => "`RUN --device`",
            Self::StartInterval => "`HEALTHCHECK --start-interval`",
            Self::Parents => "`--parents`",
            Self::Exclude => "`--exclude`",
            Self::Checksum => "`ADD --checksum`",
            Self::AddGit => "`ADD` from git",
            Self::Unpack => "`ADD --unpack`",
            Self::Syntax(_) => "a `# syntax=` line",
        })
    }
}
