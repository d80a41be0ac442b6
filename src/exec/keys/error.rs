//! Why a key cannot be computed.

use std::io;
use std::path::PathBuf;

use crate::config::{ConfigError, SECRET_HINT};
use crate::exec::keys::directory::DirectoryError;
use crate::inputs::{At, DockerfileError, DockerignoreError, RewriteError};
use crate::model::{ErrorKind, Explained, Explanation, ImageNameError, RepositoryError, TagError};
use crate::port::ContextError;

/// Why a key cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The Dockerfile cannot be used.
    #[error("box {name}")]
    Dockerfile { name: String, source: DockerfileError },
    /// There is no Dockerfile.
    #[error("box {name}: there is no {}", path.display())]
    NoDockerfile { name: String, path: PathBuf },
    /// The `.dockerignore` cannot be used.
    #[error("box {name}")]
    Dockerignore { name: String, source: DockerignoreError },
    /// There is no context directory.
    #[error("box {name}: the context {} is not a directory", path.display())]
    NoContext { name: String, path: PathBuf },
    /// A path that a symbolic link leads out of the repository.
    #[error("box {name}: {} leads out of {}", path.display(), root.display())]
    Outside { name: String, path: PathBuf, root: PathBuf },
    /// The context cannot be read.
    #[error("box {name}")]
    Context { name: String, source: ContextError },
    /// A source in the Dockerfile that names nothing in the context.
    #[error("box {name}: {at}: `{pattern}` {}{}", nothing(leads.as_ref()), at.excerpt())]
    NothingMatches {
        name: String,
        /// Where it is named.
        at: At,
        /// The source as it was written.
        pattern: String,
        /// What it is, if links lead elsewhere from there.
        leads: Option<String>,
    },
    /// A pinned file is not there.
    #[error("pin {pin}")]
    PinFile {
        pin: String,
        /// The file, and where the configuration names it.
        source: ConfigError,
    },
    /// A pinned file does not hold the value, or files that must agree do not.
    #[error("pin {pin}")]
    PinValue {
        pin: String,
        /// What is wrong: in the file, or in what the configuration looks for in it.
        source: ConfigError,
    },
    /// A floating pin or image has no entry in the lock, or one for something else.
    #[error("{what} is not in boxwright.lock")]
    NotLocked {
        /// `pin NAME` or `image NAME`.
        what: String,
    },
    /// A name in a Dockerfile that names no image.
    #[error("box {name}: {at}: {why}{}", at.excerpt())]
    Image { name: String, at: At, why: ImageNameError },
    /// Prefix and key do not make a tag.
    #[error("box {name}: the prefix does not make a tag")]
    Tag { name: String, source: TagError },
    /// Registry and name do not make a repository.
    #[error("box {name}")]
    Repository { name: String, source: RepositoryError },
    /// The configuration gives an argument that nothing declares.
    #[error("box {name}: no ARG in {file} declares {}", args.join(", "))]
    Unused { name: String, file: String, args: Vec<String> },
    /// An argument for every box looks like a secret, and this box declares it.
    #[error("box {name}: argument {} looks like a secret; arguments are stored in the image and in the ledger", args.join(", "))]
    SecretArgument { name: String, args: Vec<String> },
    /// A directory that stands for an image, or a working copy, cannot be used.
    #[error("{what}")]
    Directory {
        /// `box NAME: context NAME` or `--source NAME`.
        what: String,
        source: DirectoryError,
    },
    /// A build needs a secret or an ssh agent that its box does not declare.
    #[error(
        "box {name}: {at}: this step needs the {what} `{id}`, which the box does not declare{}",
        at.excerpt()
    )]
    Undeclared {
        name: String,
        at: At,
        /// `secret` or `ssh agent`.
        what: &'static str,
        id: String,
    },
    /// The file of a secret is part of the build context.
    #[error("box {name}: secret {id}: {} is sent with the build context, and so enters the key", path.display())]
    SecretSent { name: String, id: String, path: PathBuf },
    /// A box it stands on hands on a trigger that copies from an image or a stage.
    #[error(
        "box {name}: {at} of its parent {parent} is an ONBUILD trigger that copies from `{from}`{}",
        at.excerpt()
    )]
    Trigger {
        name: String,
        parent: String,
        /// The trigger in the parent's Dockerfile.
        at: At,
        /// What it copies from.
        from: String,
    },
    /// What a build reads holds a git repository, another one in each clone.
    #[error("box {name}: the build reads {}, which is another one in each clone", paths.join(", "))]
    Git {
        name: String,
        /// Where, in the context.
        paths: Vec<String>,
    },
    /// The Dockerfile cannot be sent with its parents' digests.
    #[error("box {name}")]
    Rewrite { name: String, source: RewriteError },
}

fn nothing(leads: Option<&String>) -> String {
    match leads {
        None => "matches nothing in the context".to_owned(),
        Some(leads) => format!("is, or stands below, {leads}; nothing in the context is there"),
    }
}

impl Explained for KeysError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Dockerfile { source, .. } => source.explain(),
            Self::Dockerignore { source, .. } => source.explain(),
            Self::PinValue { source, .. } => source.explain(),
            Self::PinFile { source, .. } => {
                Explanation { hint: Some("paths of pins are relative to boxwright.toml".to_owned()), ..source.explain() }
            }
            Self::Context { source: ContextError::Io { source, .. }, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => ErrorKind::Failed
                    .hint("make it readable, or leave it out of the context by .dockerignore"),
                _ => ErrorKind::Failed.into(),
            },
            Self::Context { source, .. } => source.explain(),
            Self::NoDockerfile { .. } => ErrorKind::Usage.hint(
                "`dockerfile = \"…\"` of the box says where it is; without one it is `Dockerfile` in the box's context",
            ),
            Self::NoContext { .. } => {
                ErrorKind::Usage.hint("`context = \"…\"` of the box says where it is, from boxwright.toml")
            }
            Self::NothingMatches { at, .. } => placed(
                at,
                "paths are relative to the box's context, and what .dockerignore excludes is not in it",
            ),
            Self::Outside { .. } => ErrorKind::Usage
                .hint("a box is built from files in or below the directory of boxwright.toml"),
            Self::Unused { .. } => {
                ErrorKind::Usage.hint("declare it in a stage that the box uses, or take it out of `args`")
            }
            Self::NotLocked { .. } => ErrorKind::Usage
                .hint("run `boxwright lock` and commit boxwright.lock: every build then uses the same"),
            Self::SecretArgument { .. } => ErrorKind::Usage.hint(SECRET_HINT),
            Self::Git { .. } => ErrorKind::Usage.hint(
                "name `**/.git` in .dockerignore; or say that it is meant, by `allow = [\"git-directory\"]` of the box",
            ),
            Self::SecretSent { .. } => {
                ErrorKind::Usage.hint("list it in .dockerignore, or keep it outside the context")
            }
            Self::Undeclared { name, at, what, id } => placed(at, declare(name, what, id)),
            Self::Trigger { at, .. } => placed(
                at,
                "copy it in the box's own Dockerfile, where its digest and instructions enter the key",
            ),
            Self::Image { at, .. } => ErrorKind::Usage.at(&at.file, at.line),
            Self::Tag { .. } | Self::Repository { .. } | Self::Rewrite { .. } | Self::Directory { .. } => {
                ErrorKind::Usage.into()
            }
        }
    }
}

fn placed(at: &At, hint: impl Into<String>) -> Explanation<'_> {
    Explanation { hint: Some(hint.into()), ..ErrorKind::Usage.at(&at.file, at.line) }
}

/// Says how a secret or an ssh agent is declared.
fn declare(name: &str, what: &str, id: &str) -> String {
    let line = match (what, id) {
        ("secret", _) => {
            format!("secrets = {{ \"{id}\" = {{ env = \"VARIABLE\" }} }}, or {{ file = \"PATH\" }}")
        }
        (_, "default") => "ssh = true, which lends the agent at SSH_AUTH_SOCK".to_owned(),
        _ => format!("ssh = [\"{id}\"], which lends the agent at SSH_AUTH_SOCK"),
    };
    format!("declare it in [box.{name}]: {line}")
}
