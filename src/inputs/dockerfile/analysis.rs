//! Puts the parts together: from a Dockerfile and a box's settings to what the box depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::canonical;
use super::error::DockerfileError;
use super::findings::{Finding, FindingKind};
use super::globals::{self, Globals};
use super::images::{Idle, ImageUse};
use super::lines;
use super::needs::{Need, NeedKind};
use super::reads::Reads;
use super::scope::Scope;
use super::source::{At, DockerfileSource};
use super::stages::Stages;
use super::triggers::Handed;
use super::walk::Walk;
use crate::inputs::manifest;
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
    pub parents: BTreeMap<String, Handed>,
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
    fn new(source: &DockerfileSource, syntax: &str, line: u32) -> Self {
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
    pub idle: Vec<Idle>,
    /// The secrets that reachable stages mount, by name.
    pub secrets: Vec<Secret>,
    /// The ssh agents that reachable stages mount, by id.
    pub ssh: Vec<Secret>,
    /// What the engine must be able to do.
    pub needs: Vec<Need>,
    /// What the target hands on to a build that stands on it.
    pub handed: Handed,
    /// Remarks.
    pub findings: Vec<Finding>,
}

/// Analyses a Dockerfile for one box and one platform.
pub fn analyse(source: &DockerfileSource, inputs: &BoxInputs) -> Result<Analysis, DockerfileError> {
    let lines::Parsed { directives, escape, mut instructions } = lines::parse(source)?;
    let globals = Globals::take(source, &mut instructions, inputs, escape)?;
    let stages = Stages::new(source, instructions, &globals, inputs, escape)?;
    let target = stages.target(source, inputs.target.as_deref())?;
    let reachable = stages.reachable(source, target)?;
    let asked = inputs.args.get("BUILDKIT_SYNTAX").map(|syntax| (syntax.clone(), 0));
    let asked = asked.or_else(|| directives.get("syntax").cloned());
    let mut walk = Walk::new(source, inputs, &globals, &stages, escape);
    let (mut frontend, mut is_strange) = (None, false);
    if let Some((syntax, line)) = asked {
        is_strange = !is_docker_frontend(&syntax);
        frontend = Some(Frontend::new(source, &syntax, line));
        if is_strange {
            walk.reads.whole(line, format!("nothing is known about the frontend `{syntax}`"));
        }
        let before = source.text().split_inclusive('\n').take((line as usize).saturating_sub(1));
        let at = source.at(before.map(str::len).sum());
        walk.needs.push(Need { kind: NeedKind::Syntax(syntax), at });
    }
    for &index in &reachable {
        walk.stage(index)?;
    }
    let positions: BTreeMap<usize, usize> =
        reachable.iter().enumerate().map(|(position, index)| (*index, position)).collect();
    let used = globals.closure(std::mem::take(&mut walk.names));
    let mut canonical = walk.global_lines(&used);
    for &index in &reachable {
        let stage = &stages.stages[index];
        canonical.extend(std::iter::once(&stage.from).chain(&stage.body).map(|instruction| {
            let text = canonical::text(instruction, escape, &positions);
            manifest::Instruction { text, line: Some(instruction.line) }
        }));
    }
    if is_strange {
        // It may read what is a comment to others.
        canonical.push(manifest::Instruction { text: source.text().to_owned(), line: None });
    }
    let ends = stages.stages.iter().skip(1).map(|next| next.from.start).chain([source.text().len()]);
    let is_idle = |index: &usize| !is_strange && !reachable.contains(index);
    let idle = stages.stages.iter().zip(ends).enumerate().filter(|(index, _)| is_idle(index));
    let idle = idle.map(|(_, (stage, end))| Idle { span: stage.from.start..end, name: stage.name.clone() });
    let idle = idle.collect();
    let scope = walk.scopes.get(&target).cloned();
    let scope = scope.unwrap_or_else(|| Arc::new(Scope::new(true, &globals.budget)));
    let handed = Handed::new(source, escape, &stages.stages[target].body, &scope);
    // What it could not be read by is an error of this box, not of those that stand on it.
    handed.copies()?;
    let target = match &stages.stages[target].name {
        Some(name) => name.clone(),
        None => format!("#{}", positions.get(&target).copied().unwrap_or_default()),
    };
    let arguments = walk.arguments(&used);
    let is_open = |name: &String| globals::is_proxy(name) && !arguments.contains_key(name);
    let proxies = inputs.args.iter().filter(|(name, _)| is_open(name));
    let proxies = proxies.map(|(name, value)| (name.clone(), value.clone())).collect();
    let declared = walk.declared();
    let unused = walk.unused(&declared);
    for (line, remote) in &walk.reads.remotes {
        if !remote.checksum {
            let (kind, text) = (FindingKind::UncheckedAdd, remote.text.clone());
            walk.findings.push(Finding { kind, line: *line, text });
        }
        if remote.is_git() {
            walk.needs.push(Need { kind: NeedKind::AddGit, at: remote.at.clone() });
        }
    }
    walk.findings.sort_by_key(|finding| finding.line);
    walk.findings.dedup();
    Ok(Analysis {
        target,
        directives: directives.into_iter().map(|(name, (value, _))| (name, value)).collect(),
        instructions: canonical,
        arguments,
        proxies,
        unused,
        declared,
        frontend,
        reads: walk.reads.finish(),
        images: walk.images,
        idle,
        secrets: walk.secrets.into_values().collect(),
        ssh: walk.ssh.into_values().collect(),
        needs: walk.needs,
        handed,
        findings: walk.findings,
    })
}

/// Whether a frontend reads Dockerfiles as described here.
pub fn is_docker_frontend(syntax: &str) -> bool {
    let name = syntax.split_whitespace().next().unwrap_or_default();
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.split(['@', ':']).next().unwrap_or_default();
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}
