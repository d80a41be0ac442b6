//! The checked configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

use super::{Mirrors, PinFormat, Place, Template};
use crate::inputs::FindingKind;
use crate::model::{
    Digest, ImageName, Keep, Platform, Repository, RepositoryError, SecretSource, Share, Span, Tag,
};

/// Everything that `boxwright.toml` says, checked.
#[derive(Debug, Clone)]
pub struct Project {
    /// Where images are kept.
    pub registry: RegistryChoice,
    /// The name of the ledger's repository, without host.
    pub ledger: String,
    /// Where outside images are read.
    pub mirrors: Mirrors,
    /// How long a lease lasts, and so a temporary image.
    pub lease: Span,
    /// How clean waits, and when it stops instead.
    pub retention: Retention,
    /// What clean never deletes.
    pub protect: Protect,
    /// A word that enters every key; changing it rebuilds everything.
    pub epoch: String,
    /// The pins by name.
    pub pins: BTreeMap<String, Pin>,
    /// The boxes, parents before children.
    pub boxes: Vec<BoxSpec>,
    /// The channels by name.
    pub channels: BTreeMap<String, Channel>,
}

impl Project {
    /// Returns the box of that name.
    pub fn find(&self, name: &str) -> Option<&BoxSpec> {
        self.boxes.iter().find(|spec| spec.name == name)
    }

    /// Returns the names that a working copy can stand in for: git pins, directory contexts.
    pub fn replaceable(&self) -> BTreeSet<&str> {
        let is_git = |pin: &&Pin| matches!(pin.source, PinSource::Git { .. });
        let pins = self.pins.values().filter(is_git).map(|pin| pin.name.as_str());
        let contexts = self.boxes.iter().flat_map(|spec| &spec.contexts);
        let is_directory = |source: &ContextSource| matches!(source, ContextSource::Directory(_));
        let directories = contexts.filter(|(_, source)| is_directory(source));
        pins.chain(directories.map(|(name, _)| name.as_str())).collect()
    }

    /// Returns the variables that hold secrets, which no child process is to see.
    pub fn secret_variables(&self) -> BTreeSet<String> {
        let sources = self.boxes.iter().flat_map(|spec| spec.secrets.values());
        let variable = |source: &SecretSource| match source {
            SecretSource::Env(name) => Some(name.clone()),
            SecretSource::File(_) => None,
        };
        sources.filter_map(variable).collect()
    }

    /// Puts the home directory in place of a leading `~/` in the paths of secrets.
    pub fn expand_home(&mut self, home: &Path) {
        for source in self.boxes.iter_mut().flat_map(|spec| spec.secrets.values_mut()) {
            if let SecretSource::File(path) = source
                && let Ok(below) = path.strip_prefix("~")
            {
                *path = home.join(below);
            }
        }
    }

    /// Returns the channel whose tags match `tag`.
    pub fn channel_of(&self, tag: &Tag) -> Option<&Channel> {
        self.channels.values().find(|channel| channel.pattern.is_match(tag.as_str()))
    }

    /// Returns the names of the boxes a promotion to `channel` moves: all that are not
    /// reserved for other channels, and what those stand on.
    pub fn boxes_of<'a>(&'a self, channel: &str) -> Vec<&'a BoxSpec> {
        let wanted = |spec: &&BoxSpec| spec.only.is_empty() || spec.only.iter().any(|only| only == channel);
        let names: Vec<&str> = self.boxes.iter().filter(wanted).map(|spec| spec.name.as_str()).collect();
        self.closure(&names)
    }

    /// Returns the named boxes and everything they stand on, parents first.
    pub fn closure<'a>(&'a self, names: &[&str]) -> Vec<&'a BoxSpec> {
        let mut wanted: Vec<&str> = names.to_vec();
        // Children come after their parents, so one pass from the end finds all ancestors.
        for spec in self.boxes.iter().rev() {
            if wanted.contains(&spec.name.as_str()) {
                wanted.extend(spec.parents());
            }
        }
        self.boxes.iter().filter(|spec| wanted.contains(&spec.name.as_str())).collect()
    }
}

/// Where images are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryChoice {
    /// In a store beside the configuration, served on loopback.
    Embedded,
    /// In a registry: a host, with or without the first words of the repositories' names.
    Remote(String),
}

impl std::str::FromStr for RegistryChoice {
    type Err = RepositoryError;

    fn from_str(text: &str) -> Result<Self, RepositoryError> {
        if text == "embedded" {
            return Ok(Self::Embedded);
        }
        let text = text.trim_end_matches('/');
        Repository::new(text, "box")?;
        Ok(Self::Remote(text.to_owned()))
    }
}

impl std::fmt::Display for RegistryChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Remote(registry) => f.write_str(registry),
        }
    }
}

/// How clean waits, and when it stops instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retention {
    /// The name of the repository in which sweeps note what they saw, without host.
    pub ledger: Option<String>,
    /// The least time between condemning an image and deleting it.
    pub grace: Span,
    /// The time after which a write is seen by every reader.
    pub settle: Option<Span>,
    /// How long records of runs, and of promotions that were begun, stay.
    pub records: Span,
    /// How long what was deleted can be put back.
    pub undo: Span,
    /// The share of all tags that one call may let go.
    pub max_delete: Option<Share>,
    /// The number of tags that a repository which loses some must have left.
    pub min: u32,
}

/// What is never deleted, whatever the policies say: lists of digests. What cannot be read
/// protects everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protect {
    /// Digests.
    pub digests: Vec<Digest>,
    /// Files that name digests, relative to the configuration file.
    pub files: Vec<PathBuf>,
    /// Addresses that serve texts which name digests.
    pub urls: Vec<String>,
    /// Repositories whose tags name digests.
    pub repositories: Vec<Repository>,
}

/// A box: one image to build.
#[derive(Debug, Clone)]
pub struct BoxSpec {
    pub name: String,
    /// Its repository's name, without registry host.
    pub repository: String,
    /// The build context, relative to the configuration file.
    pub context: PathBuf,
    /// The Dockerfile, relative to the configuration file.
    pub dockerfile: PathBuf,
    /// The stage to build; the last one if none is named.
    pub target: Option<String>,
    /// The platform to build for.
    pub platform: Platform,
    /// Build arguments.
    pub args: BTreeMap<String, Template>,
    /// What stands for a name in `FROM`, `COPY --from` and `RUN --mount=from=`.
    pub contexts: BTreeMap<String, ContextSource>,
    /// The readable first part of the content tag.
    pub prefix: Option<Template>,
    /// The largest image that is pushed, in bytes.
    pub max_size: Option<u64>,
    /// How long its build may take.
    pub timeout: Option<Span>,
    /// The channels this box is reserved for; none means every one.
    pub only: Vec<String>,
    /// The network mode of `RUN` steps.
    pub network: Option<String>,
    /// Additional `host:address` lines.
    pub extra_hosts: Vec<String>,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: Option<u64>,
    /// The secrets that its build may mount, by id.
    pub secrets: BTreeMap<String, SecretSource>,
    /// The ids under which its build may mount the ssh agent.
    pub ssh: BTreeSet<String>,
    /// The findings that are silenced, for this box or for all.
    pub allow: BTreeSet<FindingKind>,
}

impl BoxSpec {
    /// Returns the names of the boxes this one stands on.
    pub fn parents(&self) -> impl Iterator<Item = &str> {
        self.contexts.values().filter_map(|source| match source {
            ContextSource::Box(name) => Some(name.as_str()),
            ContextSource::Image(_) | ContextSource::Directory(_) => None,
        })
    }

    /// Returns the names of the pins that its arguments and its prefix use.
    pub fn pins(&self) -> impl Iterator<Item = &str> {
        self.args.values().chain(&self.prefix).flat_map(Template::pins)
    }
}

/// What a name in a Dockerfile stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextSource {
    /// Another box.
    Box(String),
    /// An outside image.
    Image(ImageName),
    /// A directory, relative to the configuration file.
    Directory(PathBuf),
}

/// A named revision that enters keys.
#[derive(Debug, Clone)]
pub struct Pin {
    pub name: String,
    /// Where its value stands.
    pub source: PinSource,
    /// Where the configuration names its file.
    pub file_at: Place,
    /// Where the configuration says how to find the value in it.
    pub value_at: Place,
}

/// Where a pin's value stands.
#[derive(Debug, Clone)]
pub enum PinSource {
    /// In files of the repository, which must agree.
    Files {
        /// The files, relative to the configuration file.
        files: Vec<PathBuf>,
        /// How to find the value in them.
        format: PinFormat,
    },
    /// The commit that a ref of a git repository points to.
    Git {
        /// The remote, as git takes it.
        url: String,
        /// A branch, a tag, or a full ref name.
        reference: String,
    },
    /// The digest of an image.
    Image(ImageName),
    /// The checksum of what an address serves.
    Url(String),
}

/// A policy for promoted tags.
#[derive(Debug, Clone)]
pub struct Channel {
    pub name: String,
    /// The tags that belong to it, anchored at both ends.
    pub pattern: Regex,
    /// What clean keeps of it.
    pub keep: Keep,
    /// Whether a tag may never move.
    pub immutable: bool,
}
