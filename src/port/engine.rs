//! The container engine, by what it is: it builds, keeps images, and runs commands in them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::blob::{BlobSource, BlobStream};
use crate::model::{
    Digest, Entry, ErrorKind, Explained, Explanation, Platform, Repository, SecretValue, Tag,
};

/// What builds images. Dropping the future of [`Builder::build`] cancels it.
#[async_trait]
pub trait Builder: Send + Sync {
    /// Asks whether an engine answers that can build; returns its version.
    async fn check(&self) -> Result<String, EngineError>;

    /// Builds an image without giving it a name.
    async fn build(
        &self,
        request: &BuildRequest,
        events: &(dyn Fn(BuildEvent) + Send + Sync),
    ) -> Result<ImageId, EngineError>;
}

/// Where an engine keeps its images. Dropping the future of [`ImageStore::push`] cancels it.
#[async_trait]
pub trait ImageStore: Send + Sync {
    /// Tells how much room there is for what is built and pulled; nothing if that is kept where
    /// this machine cannot look.
    async fn room(&self) -> Result<Option<DiskSpace>, EngineError> {
        Ok(None)
    }

    /// Returns the size of an image's layers as they are kept, in bytes.
    async fn size(&self, image: &ImageId) -> Result<u64, EngineError>;

    /// Gives an image a name, `NAME:TAG`.
    async fn name(&self, image: &ImageId, reference: &str) -> Result<(), EngineError>;

    /// Looks for an image by a name that [`ImageStore::name`] gave.
    async fn find(&self, reference: &str) -> Result<Option<ImageId>, EngineError>;

    /// Pushes an image; returns the digest that the engine says the registry now holds.
    async fn push(
        &self,
        image: &ImageId,
        repository: &Repository,
        tag: &Tag,
        events: &(dyn Fn(PushEvent) + Send + Sync),
    ) -> Result<Digest, EngineError>;

    /// Hands out an image.
    async fn save(&self, _: &ImageId) -> Result<SavedImage, EngineError> {
        let detail = "this engine hands out none".to_owned();
        Err(EngineError::Engine { action: "save an image", detail })
    }

    /// Takes in images from a tar stream as `docker load` does, and looks whether it then has
    /// these references. A stream that ends in an error leaves nothing behind.
    async fn load(
        &self,
        references: &[String],
        tar: BlobStream<'static, io::Error>,
    ) -> Result<(), EngineError>;
}

/// What runs commands in images.
#[async_trait]
pub trait Runtime: Send + Sync {
    /// Runs a command in a container and returns its exit code. The container is gone
    /// when this returns, also after `cancel`.
    async fn run(
        &self,
        request: &RunRequest,
        output: &(dyn Fn(RunOutput) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<i64, EngineError>;
}

/// An image in the engine's own store: the digest of its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageId(pub Digest);

/// An image out of the engine's own store.
pub struct SavedImage {
    /// Its configuration, whose digest is the image's id.
    pub config: Bytes,
    /// Its layers as they are unpacked, the lowest first.
    pub layers: Vec<Arc<dyn BlobSource>>,
}

/// What is left of a file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskSpace {
    /// A directory on it.
    pub path: PathBuf,
    /// What may still be written, in bytes.
    pub free: u64,
}

/// Everything that a build depends on.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The Dockerfile as it is sent.
    pub dockerfile: Vec<u8>,
    /// The directory that `entries` stand in.
    pub root: PathBuf,
    /// What is sent, exactly, sorted by path bytes.
    pub entries: Vec<Entry>,
    /// The stage to build; the last one if none is named.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// The namespace of cache mounts; the one of builds without any if it is empty.
    pub namespace: String,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// The platform to build for.
    pub platform: Platform,
    /// The network mode of `RUN` steps; the engine's default if none is named.
    pub network: Option<String>,
    /// Additional `host:address` lines.
    pub extra_hosts: Vec<String>,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// Whether to ignore the engine's build cache.
    pub no_cache: bool,
    /// What `RUN --mount=type=secret` finds, by id.
    pub secrets: BTreeMap<String, SecretValue>,
    /// The agent that `RUN --mount=type=ssh` reaches.
    pub ssh: Option<AgentForward>,
    /// Directories that the Dockerfile names as images.
    pub contexts: Vec<ContextImage>,
}

impl BuildRequest {
    /// Builds the last stage of a Dockerfile, with nothing but what stands in the context.
    pub fn plain(dockerfile: &[u8], root: PathBuf, entries: Vec<Entry>, platform: Platform) -> Self {
        Self {
            dockerfile: dockerfile.to_vec(),
            root,
            entries,
            target: None,
            args: BTreeMap::new(),
            namespace: String::new(),
            labels: BTreeMap::new(),
            platform,
            network: None,
            extra_hosts: Vec::new(),
            shm_size: None,
            no_cache: false,
            secrets: BTreeMap::new(),
            ssh: None,
            contexts: Vec::new(),
        }
    }
}

/// A directory that a Dockerfile names as an image. The engine holds that image while the
/// build lasts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextImage {
    /// The name in the Dockerfile, which no other image has: `HOST/NAME:TAG`.
    pub reference: String,
    /// The directory that `entries` stand in.
    pub root: PathBuf,
    /// What it holds, exactly, sorted by path bytes.
    pub entries: Vec<Entry>,
}

/// An ssh agent of this machine, lent to a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentForward {
    /// The ids that mounts may ask for.
    pub ids: BTreeSet<String>,
    /// Where the agent listens.
    pub socket: PathBuf,
}

/// What a build tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step began, ended or was found in the cache.
    Step {
        /// Tells steps apart.
        id: String,
        /// The step as the engine names it, such as `[base 2/3] RUN make`.
        name: String,
        /// What became of it.
        state: StepState,
    },
    /// A step printed something: any bytes, lines not kept whole.
    Log {
        /// The step.
        id: String,
        /// What it printed.
        bytes: Bytes,
        /// Whether it went to its standard error.
        is_error: bool,
    },
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// It began.
    Started,
    /// It ended well.
    Done,
    /// It was not run: the engine had its result.
    Cached,
    /// It failed.
    Failed {
        /// What the engine said.
        error: String,
    },
}

/// What a push tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushEvent {
    /// The layer, as the engine abbreviates it.
    pub layer: String,
    /// The bytes sent so far.
    pub sent: u64,
    /// The bytes to send, if known.
    pub total: Option<u64>,
}

/// A command to run in an image.
#[derive(Debug, Clone)]
pub struct RunRequest {
    pub image: RunImage,
    /// The platform to run.
    pub platform: Platform,
    /// The command and its arguments; the image's own if empty.
    pub command: Vec<String>,
    /// The directory of this machine that is mounted.
    pub source: PathBuf,
    /// Where it is mounted, which is the working directory too.
    pub mount: String,
    /// `uid:gid`; the image's own user if none is named.
    pub user: Option<String>,
    /// Environment, `NAME=value`.
    pub env: Vec<String>,
    /// Whether the command gets a terminal.
    pub tty: bool,
    /// Whether the command reads this process's standard input.
    pub stdin: bool,
    /// The network mode; the engine's default if none is named.
    pub network: Option<String>,
    /// Labels of the container.
    pub labels: BTreeMap<String, String>,
}

/// The image that a command runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunImage {
    /// One of a registry; it is pulled if the engine does not hold it.
    Pushed { repository: Repository, digest: Digest },
    /// One that only the engine holds.
    Local(ImageId),
}

/// What a command printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunOutput {
    /// To its standard output.
    Stdout(Bytes),
    /// To its standard error.
    Stderr(Bytes),
}

/// Why the engine did not do it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// No engine answers.
    #[error("no container engine answers at {address}: {detail}")]
    Unreachable { address: String, detail: String },
    /// It answers, but cannot do what is needed.
    #[error("the container engine {version} is too old: {need}")]
    TooOld { version: String, need: String },
    /// A build step failed.
    #[error("build failed at {step}: {detail}")]
    BuildFailed {
        /// The step, as the engine names it.
        step: String,
        detail: String,
    },
    /// The context could not be sent.
    #[error("failed to send the build context")]
    Context(#[from] super::ContextError),
    /// A push or a pull failed.
    #[error("failed to {action} {reference}: {detail}")]
    Transfer {
        /// `push` or `pull`.
        action: &'static str,
        reference: String,
        detail: String,
        /// Whether the registry refused it for want of rights.
        is_denied: bool,
    },
    /// The engine is out of disk space.
    #[error("the container engine has no space left: {detail}")]
    DiskFull { detail: String },
    /// The engine refused, or answered what it should not.
    #[error("the container engine failed to {action}: {detail}")]
    Engine { action: &'static str, detail: String },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// What to do about an engine whose disk is full.
pub const DISK_HINT: &str = "`docker system df` says what takes it, `docker system prune` frees some";

impl EngineError {
    /// Tells whether a push may work a little later: pushes of one layer at once can make a
    /// registry lose sight of it, and the engine does not repeat what a registry answers with 5xx.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Transfer { is_denied: false, .. })
    }
}

impl Explained for EngineError {
    fn explain(&self) -> Explanation<'_> {
        match self {
            Self::Unreachable { .. } => ErrorKind::Unreachable.hint(
                "is the engine running, and may you use its socket? `docker version` tells; DOCKER_HOST names another one",
            ),
            Self::TooOld { .. } => ErrorKind::Unreachable.into(),
            Self::DiskFull { .. } => ErrorKind::Failed.hint(DISK_HINT),
            Self::BuildFailed { .. } | Self::Context(_) | Self::Transfer { .. } | Self::Engine { .. } => {
                ErrorKind::Failed.into()
            }
            Self::Interrupted => ErrorKind::Interrupted.into(),
        }
    }
}
