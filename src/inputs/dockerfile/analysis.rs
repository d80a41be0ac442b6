//! Puts the parts together: from a Dockerfile and a box's settings to what the box depends on.

use std::collections::{BTreeMap, BTreeSet};

use super::canonical;
use super::error::DockerfileError;
use super::findings::{self, Finding, FindingKind};
use super::globals::{self, Globals};
use super::images::{ImageOrigin, ImageUse};
use super::instruction::Instruction;
use super::lines;
use super::mount::{self, Kind};
use super::needs::{self, Need, NeedKind};
use super::reads::{Collector, Reads};
use super::scope::Scope;
use super::source::DockerfileSource;
use super::stages::{Base, Stages, is_image};
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
    /// Named contexts: a `FROM` or `--from` name, and what stands behind it.
    pub contexts: BTreeMap<String, ContextKind>,
}

/// What stands behind a named context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextKind {
    /// A box or an outside image; the Dockerfile is rewritten to its digest.
    Image,
    /// A directory; the name stays, and the engine must know named contexts.
    Directory,
}

/// A secret that a reachable stage mounts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret {
    /// Its id.
    pub name: String,
    /// Whether the build fails without it.
    pub required: bool,
    /// The line of its first use, from 1.
    pub line: u32,
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
    /// Given build arguments that no stage and no global `ARG` declares.
    pub unused: Vec<String>,
    /// What the reachable stages can read from the context.
    pub reads: Reads,
    /// Every place at which a reachable stage names an image.
    pub images: Vec<ImageUse>,
    /// The secrets that reachable stages mount, by name.
    pub secrets: Vec<Secret>,
    /// The first line that mounts an ssh agent.
    pub ssh: Option<u32>,
    /// What the engine must be able to do.
    pub needs: Vec<Need>,
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
    let mut walk = Walk::new(source, inputs, &globals, &stages, escape);
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
    let target = match &stages.stages[target].name {
        Some(name) => name.clone(),
        None => format!("#{}", positions.get(&target).copied().unwrap_or_default()),
    };
    if let Some((syntax, line)) = directives.get("syntax") {
        walk.needs.push(Need { kind: NeedKind::Syntax(syntax.clone()), line: *line });
    }
    let arguments = walk.arguments(&used);
    let unused = walk.unused();
    for (line, remote) in &walk.reads.remotes {
        if !remote.checksum {
            let (kind, text) = (FindingKind::UncheckedAdd, remote.text.clone());
            walk.findings.push(Finding { kind, line: *line, text });
        }
    }
    walk.findings.sort_by_key(|finding| finding.line);
    walk.findings.dedup();
    Ok(Analysis {
        target,
        directives: directives.into_iter().map(|(name, (value, _))| (name, value)).collect(),
        instructions: canonical,
        arguments,
        unused,
        reads: walk.reads.finish(),
        images: walk.images,
        secrets: walk.secrets.into_values().collect(),
        ssh: walk.ssh,
        needs: walk.needs,
        findings: walk.findings,
    })
}

/// Collects while it goes through the reachable stages in order.
struct Walk<'a> {
    source: &'a DockerfileSource,
    inputs: &'a BoxInputs,
    globals: &'a Globals,
    stages: &'a Stages,
    escape: char,
    scopes: BTreeMap<usize, Scope>,
    /// Names that reachable stages declare or use from the global scope.
    names: BTreeSet<String>,
    reads: Collector,
    images: Vec<ImageUse>,
    secrets: BTreeMap<String, Secret>,
    ssh: Option<u32>,
    needs: Vec<Need>,
    findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    fn new(
        source: &'a DockerfileSource,
        inputs: &'a BoxInputs,
        globals: &'a Globals,
        stages: &'a Stages,
        escape: char,
    ) -> Self {
        let secret_args = inputs.args.keys().filter(|name| findings::is_secret(name));
        let finding =
            |name: &String| Finding { kind: FindingKind::SecretArgument, line: 0, text: name.clone() };
        Self {
            source,
            inputs,
            globals,
            stages,
            escape,
            scopes: BTreeMap::new(),
            names: BTreeSet::new(),
            reads: Collector::default(),
            images: Vec::new(),
            secrets: BTreeMap::new(),
            ssh: None,
            needs: Vec::new(),
            findings: secret_args.map(finding).collect(),
        }
    }

    fn stage(&mut self, index: usize) -> Result<(), DockerfileError> {
        let stages = self.stages;
        let stage = &stages.stages[index];
        self.from(&stage.from, &stage.base)?;
        let mut scope = match stage.base {
            Base::Scratch => Scope::new(false),
            Base::Stage(base) => self.scopes.get(&base).map_or_else(|| Scope::new(true), Scope::inherited),
            Base::Context(_) | Base::Outside(_) | Base::Unknown { .. } => Scope::new(true),
        };
        for instruction in stages.effective(index) {
            self.instruction(instruction, index, &scope)?;
            scope.apply(self.source, instruction, self.globals, self.inputs, self.escape)?;
        }
        for instruction in &stage.body {
            needs::instruction(instruction, &mut self.needs);
            findings::instruction(instruction, self.escape, &mut self.findings);
        }
        self.scopes.insert(index, scope);
        Ok(())
    }

    fn from(&mut self, from: &Instruction, base: &Base) -> Result<(), DockerfileError> {
        let words = from.words();
        let texts = words.first().map(|word| from.logical.text[word.clone()].to_owned());
        let platform = from.flag("platform").map(|flag| flag.value.clone());
        for text in texts.into_iter().chain(platform) {
            let expansion = super::shell::Lexer::new(self.escape).expand(&text, self.globals);
            let expansion = expansion
                .map_err(|reason| DockerfileError::Syntax { at: self.source.at(from.start), reason })?;
            self.names.extend(expansion.used);
        }
        if let Some(word) = words.into_iter().next() {
            self.image(from, word, base)?;
        }
        Ok(())
    }

    fn image(
        &mut self,
        instruction: &Instruction,
        range: std::ops::Range<usize>,
        base: &Base,
    ) -> Result<(), DockerfileError> {
        let line = instruction.line;
        let origin = match base {
            Base::Scratch | Base::Stage(_) => return Ok(()),
            Base::Unknown { text, variable } => {
                return Err(DockerfileError::UndecidableImage {
                    at: self.source.at(instruction.start),
                    text: crate::model::printable(text, 120),
                    variable: variable.clone(),
                });
            }
            Base::Context(name) if !is_image(self.inputs, name) => {
                self.needs.push(Need { kind: NeedKind::NamedContext, line });
                ImageOrigin::Context(name.clone())
            }
            Base::Context(name) => ImageOrigin::Context(name.clone()),
            Base::Outside(name) => {
                findings::image(name, line, &mut self.findings);
                ImageOrigin::Outside(name.clone())
            }
        };
        let span = instruction.logical.span(&range);
        let found = ImageUse { origin, span, line, keyword: instruction.keyword };
        // A trigger is written once and can run in several stages.
        if !self.images.contains(&found) {
            self.images.push(found);
        }
        Ok(())
    }

    fn instruction(
        &mut self,
        instruction: &Instruction,
        stage: usize,
        scope: &Scope,
    ) -> Result<(), DockerfileError> {
        if instruction.keyword == "ARG" {
            for (name, _) in globals::arguments(self.source, instruction, self.escape)? {
                self.names.insert(name);
            }
        }
        for (range, base) in self.stages.copies(self.source, instruction, stage)? {
            self.image(instruction, range, &base)?;
        }
        self.reads.add(self.source, instruction, scope, self.escape)?;
        if instruction.keyword == "RUN" {
            for flag in instruction.flags.iter().filter(|flag| flag.name == "mount") {
                let mount = mount::read(self.source, instruction, flag)?;
                let line = instruction.line;
                if mount.kind == Kind::Ssh {
                    self.ssh.get_or_insert(line);
                }
                if let (Kind::Secret, Some(name)) = (mount.kind, mount.secret()) {
                    let secret = Secret { name: name.to_owned(), required: false, line };
                    self.secrets.entry(name.to_owned()).or_insert(secret).required |= mount.required;
                }
            }
        }
        Ok(())
    }

    /// The global arguments in use, one canonical line for each.
    fn global_lines(&self, used: &BTreeSet<String>) -> Vec<manifest::Instruction> {
        let declared = self.globals.declared.iter().filter(|declared| used.contains(&declared.name));
        declared
            .map(|declared| {
                let default = declared.default.as_ref().map(|default| format!("={default}"));
                let text = format!("ARG {}{}", declared.name, default.unwrap_or_default());
                manifest::Instruction { text, line: Some(declared.line) }
            })
            .collect()
    }

    fn arguments(&self, used: &BTreeSet<String>) -> BTreeMap<String, String> {
        let enters =
            |name: &str| !globals::is_proxy(name) && (used.contains(name) || globals::is_implicit(name));
        let given = self.inputs.args.iter().filter(|(name, _)| enters(name));
        given.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn unused(&self) -> Vec<String> {
        let mut declared: BTreeSet<String> =
            self.globals.declared.iter().map(|declared| declared.name.clone()).collect();
        for instruction in self.stages.stages.iter().flat_map(|stage| &stage.body) {
            let inner = instruction.trigger.as_deref().unwrap_or(instruction);
            if inner.keyword == "ARG" {
                let names = globals::arguments(self.source, inner, self.escape).unwrap_or_default();
                declared.extend(names.into_iter().map(|(name, _)| name));
            }
        }
        let known = |name: &str| {
            declared.contains(name)
                || globals::is_proxy(name)
                || globals::is_predefined(name)
                || globals::is_implicit(name)
        };
        self.inputs.args.keys().filter(|name| !known(name)).cloned().collect()
    }
}
