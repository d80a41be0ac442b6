//! Why a key cannot be computed.

use std::path::PathBuf;

use crate::config::ConfigError;
use crate::exec::keys::directory::DirectoryError;
use crate::inputs::{At, DockerfileError, DockerignoreError, RewriteError};
use crate::model::{ImageNameError, RepositoryError, TagError};
use crate::port::ContextError;

/// Why a key cannot be computed.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The Dockerfile cannot be used.
    #[error("box {name}")]
    Dockerfile {
        /// The box.
        name: String,
        /// What is wrong, and where.
        source: DockerfileError,
    },
    /// There is no Dockerfile.
    #[error("box {name}: there is no {}", path.display())]
    NoDockerfile {
        /// The box.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The `.dockerignore` cannot be used.
    #[error("box {name}")]
    Dockerignore {
        /// The box.
        name: String,
        /// What is wrong, and where.
        source: DockerignoreError,
    },
    /// There is no context directory.
    #[error("box {name}: the context {} is not a directory", path.display())]
    NoContext {
        /// The box.
        name: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A path that a symbolic link leads out of the repository.
    #[error("box {name}: {} leads out of {}", path.display(), root.display())]
    Outside {
        /// The box.
        name: String,
        /// The path.
        path: PathBuf,
        /// The directory it should be in.
        root: PathBuf,
    },
    /// The context cannot be read.
    #[error("box {name}")]
    Context {
        /// The box.
        name: String,
        /// What is wrong.
        source: ContextError,
    },
    /// A source in the Dockerfile that names nothing in the context.
    #[error("box {name}: {at}: `{pattern}` {}{}", nothing(leads.as_ref()), at.excerpt())]
    NothingMatches {
        /// The box.
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
        /// The pin.
        pin: String,
        /// The file, and where the configuration names it.
        source: ConfigError,
    },
    /// A pinned file does not hold the value, or files that must agree do not.
    #[error("pin {pin}")]
    PinValue {
        /// The pin.
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
    Image {
        /// The box.
        name: String,
        /// Where it stands.
        at: At,
        /// Why not.
        why: ImageNameError,
    },
    /// Prefix and key do not make a tag.
    #[error("box {name}: the prefix does not make a tag")]
    Tag {
        /// The box.
        name: String,
        /// Why not.
        source: TagError,
    },
    /// Registry and name do not make a repository.
    #[error("box {name}")]
    Repository {
        /// The box.
        name: String,
        /// Why not.
        source: RepositoryError,
    },
    /// The configuration gives an argument that nothing declares.
    #[error("box {name}: no ARG in {file} declares {}", args.join(", "))]
    Unused {
        /// The box.
        name: String,
        /// The Dockerfile.
        file: String,
        /// The arguments.
        args: Vec<String>,
    },
    /// An argument for every box looks like a secret, and this box declares it.
    #[error("box {name}: argument {} looks like a secret; arguments are stored in the image and in the ledger", args.join(", "))]
    SecretArgument {
        /// The box.
        name: String,
        /// The arguments.
        args: Vec<String>,
    },
    /// A directory that stands for an image, or a working copy, cannot be used.
    #[error("{what}")]
    Directory {
        /// `box NAME: context NAME` or `--source NAME`.
        what: String,
        /// Why not.
        source: DirectoryError,
    },
    /// A build needs a secret or an ssh agent that its box does not declare.
    #[error(
        "box {name}: {at}: this step needs the {what} `{id}`, which the box does not declare{}",
        at.excerpt()
    )]
    Undeclared {
        /// The box.
        name: String,
        /// The mount.
        at: At,
        /// `secret` or `ssh agent`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// The file of a secret is part of the build context.
    #[error("box {name}: secret {id}: {} is sent with the build context, and so enters the key", path.display())]
    SecretSent {
        /// The box.
        name: String,
        /// The secret's id.
        id: String,
        /// The file.
        path: PathBuf,
    },
    /// A box it stands on hands on a trigger that copies from an image or a stage.
    #[error(
        "box {name}: {at} of its parent {parent} is an ONBUILD trigger that copies from `{from}`{}",
        at.excerpt()
    )]
    Trigger {
        /// The box.
        name: String,
        /// The parent.
        parent: String,
        /// The trigger in the parent's Dockerfile.
        at: At,
        /// What it copies from.
        from: String,
    },
    /// What a build reads holds a git repository, another one in each clone.
    #[error("box {name}: the build reads {}, which is another one in each clone", paths.join(", "))]
    Git {
        /// The box.
        name: String,
        /// Where, in the context.
        paths: Vec<String>,
    },
    /// The Dockerfile cannot be sent with its parents' digests.
    #[error("box {name}")]
    Rewrite {
        /// The box.
        name: String,
        /// Why not.
        source: RewriteError,
    },
}

fn nothing(leads: Option<&String>) -> String {
    match leads {
        None => "matches nothing in the context".to_owned(),
        Some(leads) => format!("is, or stands below, {leads}; nothing in the context is there"),
    }
}
