//! What is asked of a Dockerfile, and what it says: the input and the result of an analysis, and what
//! of it enters the manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::at::At;
use super::findings::Finding;
use super::images::{ImageUse, UnreachableStage};
use super::need::Need;
use super::reads::Reads;
use super::source::DockerfileSource;
use super::triggers::Inherited;
use crate::inputs::manifest::{self, BuildOptions, InputManifest};
use crate::model::Platform;

/// What the configuration says about a box, as far as its Dockerfile is concerned.
#[derive(Debug, Clone)]
pub struct BoxInputs {
    /// The stage to build; the last one if none is named.
    pub target: Option<String>,
    /// The platform to build for.
    pub platform: Platform,
    /// Build arguments with their values, pins filled in.
    pub args: BTreeMap<String, String>,
    /// Named contexts: names in `FROM` and `--from` behind which something else stands; the
    /// Dockerfile is rewritten to it.
    pub contexts: BTreeSet<String>,
    /// What those of the named contexts hand on that are boxes analysed before.
    pub parents: BTreeMap<String, Inherited>,
}

/// A secret, or an ssh agent, that a reachable stage mounts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// Its id.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// Its first use; the first that needs it if one does.
    pub at: At,
}

/// The image that reads the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontend {
    /// Its name. It is an image's, whatever contexts there are.
    pub name: String,
    /// The bytes of the name in the file; nothing if the argument `BUILDKIT_SYNTAX` gives it.
    pub span: Option<Range<usize>>,
}

impl Frontend {
    /// Finds the name in the line of a directive; line 0 stands for the argument.
    pub(super) fn new(source: &DockerfileSource, syntax: &str, line: u32) -> Self {
        let name = syntax.split_whitespace().next().unwrap_or_default().to_owned();
        let lines = || source.text().split_inclusive('\n');
        let index = (line as usize).checked_sub(1);
        let span = index.and_then(|index| {
            let start: usize = lines().take(index).map(str::len).sum();
            let text = lines().nth(index)?;
            let after = text.find('=')? + 1;
            let at = start + after + text.get(after..)?.find(&name)?;
            Some(at..at + name.len())
        });
        Self { name, span }
    }
}

/// What a box's Dockerfile says about the box.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// The stage to build: its name in lower case, or `#` and its position among the
    /// reachable stages.
    pub target: String,
    /// The parser directives by lower-case name.
    pub directives: BTreeMap<String, String>,
    /// The global arguments in use and the reachable stages' instructions, in canonical text.
    pub instructions: Vec<manifest::Instruction>,
    /// The given build arguments that the reachable stages can see; they enter the key.
    pub arguments: BTreeMap<String, String>,
    /// Given proxy settings that no reachable stage declares. They are passed to the build and
    /// enter no key, as they enter neither the engine's cache nor the image's history.
    pub proxies: BTreeMap<String, String>,
    /// Given build arguments that no stage and no global `ARG` declares.
    pub unused: Vec<String>,
    /// The names of arguments that some stage or the file declares.
    pub declared: BTreeSet<String>,
    /// The image of the frontend, if the engine's own is not used.
    pub frontend: Option<Frontend>,
    /// What the reachable stages can read from the context.
    pub reads: Reads,
    /// Every place at which a reachable stage names an image.
    pub images: Vec<ImageUse>,
    /// The stages that are not reachable.
    pub idle: Vec<UnreachableStage>,
    /// The secrets that reachable stages mount, by name.
    pub secrets: Vec<Secret>,
    /// The ssh agents that reachable stages mount, by id.
    pub ssh: Vec<Secret>,
    /// What the engine must be able to do.
    pub needs: Vec<Need>,
    /// What the target hands on to a build that stands on it.
    pub handed: Inherited,
    /// Remarks.
    pub findings: Vec<Finding>,
}

impl InputManifest {
    /// Starts a manifest from an analysis: target, directives, instructions, arguments and
    /// secrets. The rest is empty and for the caller to fill in.
    pub fn from_analysis(analysis: &Analysis, platform: Platform) -> Self {
        Self {
            epoch: String::new(),
            platform,
            target: analysis.target.clone(),
            directives: analysis.directives.clone(),
            instructions: analysis.instructions.clone(),
            arguments: analysis.arguments.clone(),
            parents: BTreeMap::new(),
            images: BTreeMap::new(),
            contexts: BTreeMap::new(),
            pins: BTreeMap::new(),
            secrets: analysis.secrets.iter().map(|secret| secret.name.clone()).collect(),
            options: BuildOptions::default(),
            entries: Vec::new(),
        }
    }
}
