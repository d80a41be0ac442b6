//! The way through the reachable stages, one instruction after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::error::DockerfileError;
use super::facts::{BoxInputs, Secret};
use super::findings::{self, Finding, FindingKind};
use super::globals::{self, Globals};
use super::images::{ImageOrigin, ImageUse};
use super::instruction::Instruction;
use super::mount::{self, Kind};
use super::need::Need;
use super::reads::Collector;
use super::scope::Scope;
use super::shell::Lexer;
use super::source::DockerfileSource;
use super::stages::{Base, Stages};
use super::triggers::Inherited;
use super::{needs, unknown};
use crate::inputs::manifest;

/// Collects while it goes through the reachable stages in order.
pub(super) struct Walk<'a> {
    source: &'a DockerfileSource,
    inputs: &'a BoxInputs,
    globals: &'a Globals,
    stages: &'a Stages,
    escape: char,
    /// What each stage leaves.
    pub scopes: BTreeMap<usize, Arc<Scope>>,
    /// Names that reachable stages declare or use from the global scope.
    pub names: BTreeSet<String>,
    pub reads: Collector,
    pub images: Vec<ImageUse>,
    /// Where they stand.
    named: BTreeSet<(usize, usize)>,
    pub secrets: BTreeMap<String, Secret>,
    pub ssh: BTreeMap<String, Secret>,
    pub needs: Vec<Need>,
    pub findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    pub fn new(
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
            named: BTreeSet::new(),
            secrets: BTreeMap::new(),
            ssh: BTreeMap::new(),
            needs: Vec::new(),
            findings: secret_args.map(finding).collect(),
        }
    }

    /// Goes through one stage; what it stands on comes before it.
    pub fn stage(&mut self, index: usize) -> Result<(), DockerfileError> {
        let stages = self.stages;
        let stage = &stages.stages[index];
        self.from(&stage.from, &stage.base)?;
        let budget = &self.globals.budget;
        let mut scope = match &stage.base {
            Base::Scratch => Scope::new(false, budget),
            Base::Stage(base) => {
                self.scopes.get(base).map_or_else(|| Scope::new(true, budget), Scope::inherited)
            }
            Base::Context(name) => match self.inputs.parents.get(name) {
                Some(handed) => {
                    let mut scope = handed.scope.within(budget);
                    self.triggers(name, handed, stage.from.line, &mut scope)?;
                    scope
                }
                None => Scope::new(true, budget),
            },
            Base::Outside(_) | Base::Unknown { .. } => Scope::new(true, budget),
        };
        for instruction in stages.effective(index) {
            self.unknown(instruction)?;
            self.instruction(instruction, index, &scope)?;
            scope.apply(self.source, instruction, self.globals, &self.inputs.args, self.escape)?;
        }
        for instruction in &stage.body {
            needs::instruction(self.source, instruction, &mut self.needs);
            findings::instruction(instruction, self.escape, &mut self.findings);
        }
        self.scopes.insert(index, Arc::new(scope));
        Ok(())
    }

    /// Remarks on what is not known of an instruction, which may read anything.
    fn unknown(&mut self, instruction: &Instruction) -> Result<(), DockerfileError> {
        if let Some(part) = unknown::part(self.source, instruction)? {
            self.reads.whole(instruction.line, format!("nothing is known about {part}"));
            let (kind, line) = (FindingKind::Unknown, instruction.line);
            self.findings.push(Finding { kind, line, text: part });
        }
        Ok(())
    }

    fn from(&mut self, from: &Instruction, base: &Base) -> Result<(), DockerfileError> {
        self.unknown(from)?;
        let words = from.words();
        let texts = words.first().map(|word| from.logical.text[word.clone()].to_owned());
        let platform = from.flag("platform").filter(|flag| !flag.value.is_empty());
        for text in texts.iter().chain(platform.map(|flag| &flag.value)) {
            let expansion = Lexer::new(self.escape).expand(text, self.globals);
            let at = || self.source.at(from.start);
            let expansion = expansion.map_err(|reason| DockerfileError::Syntax { at: at(), reason });
            self.names.extend(expansion?.used);
        }
        if let Some(word) = words.into_iter().next() {
            self.image(from, word, base)?;
        }
        Ok(())
    }

    fn image(
        &mut self,
        instruction: &Instruction,
        range: Range<usize>,
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
            Base::Context(name) => ImageOrigin::Context(name.clone()),
            Base::Outside(name) => {
                findings::image(name, line, &mut self.findings);
                ImageOrigin::Outside(name.clone())
            }
        };
        let span = instruction.logical.span(&range);
        let found = ImageUse { origin, span, line, keyword: instruction.keyword };
        // A trigger is written once and can run in several stages.
        if self.named.insert((found.span.start, found.span.end)) {
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
        self.caches(instruction)?;
        self.mounts(self.source, instruction)
    }

    /// Remarks on the caches that an instruction mounts.
    fn caches(&mut self, instruction: &Instruction) -> Result<(), DockerfileError> {
        for flag in instruction.flags.iter().filter(|flag| flag.name == "mount") {
            let mount = mount::read(self.source, instruction, flag)?;
            if let (Kind::Cache, Some(text)) = (mount.kind, mount.id.or(mount.target)) {
                let (kind, line) = (FindingKind::CacheMount, instruction.line);
                self.findings.push(Finding { kind, line, text });
            }
        }
        Ok(())
    }

    /// Collects the secrets and agents that an instruction mounts.
    fn mounts(
        &mut self,
        source: &DockerfileSource,
        instruction: &Instruction,
    ) -> Result<(), DockerfileError> {
        if instruction.keyword != "RUN" {
            return Ok(());
        }
        for flag in instruction.flags.iter().filter(|flag| flag.name == "mount") {
            let mount = mount::read(source, instruction, flag)?;
            let at = source.at(instruction.logical.offset(flag.raw.start));
            let (known, name) = match mount.kind {
                Kind::Secret => (&mut self.secrets, mount.secret()),
                Kind::Ssh => (&mut self.ssh, Some(mount.agent())),
                Kind::Bind | Kind::Cache | Kind::Tmpfs => continue,
            };
            let Some(name) = name else { continue };
            let secret = Secret { name: name.to_owned(), required: mount.required, at };
            let known = known.entry(name.to_owned()).or_insert_with(|| secret.clone());
            // Of several uses the first one that needs it is told of.
            if secret.required && !known.required {
                *known = secret;
            }
        }
        Ok(())
    }

    /// Runs the triggers of the box that a stage stands on, which `name` stands for. Those
    /// that copy from elsewhere are none of a context's.
    fn triggers(
        &mut self,
        name: &str,
        handed: &Inherited,
        line: u32,
        scope: &mut Scope,
    ) -> Result<(), DockerfileError> {
        // A frontend reads them without the parent's directives.
        if (handed.escape != '\\' || self.escape != '\\') && !handed.triggers.is_empty() {
            self.reads.whole(line, format!("`{name}` has ONBUILD triggers, and escapes differ"));
        }
        for trigger in &handed.triggers {
            let source = &handed.source;
            let place = format!("{}:{} is an ONBUILD trigger of `{name}`", source.name(), trigger.line);
            if trigger.keyword == "ARG" {
                let declared = globals::arguments(source, trigger, self.escape)?;
                self.names.extend(declared.into_iter().map(|(name, _)| name));
            }
            let mut reads = Collector::default();
            reads.add(source, trigger, scope, self.escape)?;
            self.reads.take(reads, line, &place);
            self.mounts(source, trigger)?;
            scope.apply(source, trigger, self.globals, &self.inputs.args, self.escape)?;
        }
        Ok(())
    }

    /// The global arguments in use, one canonical line for each.
    pub fn global_lines(&self, used: &BTreeSet<String>) -> Vec<manifest::Instruction> {
        let declared = self.globals.declared.iter().filter(|declared| used.contains(&declared.name));
        declared
            .map(|declared| {
                let default = declared.default.as_ref().map(|default| format!("={default}"));
                let text = format!("ARG {}{}", declared.name, default.unwrap_or_default());
                manifest::Instruction { text, line: Some(declared.line) }
            })
            .collect()
    }

    /// The given arguments that enter the key.
    pub fn arguments(&self, used: &BTreeSet<String>) -> BTreeMap<String, String> {
        let enters = |name: &str| used.contains(name) || globals::is_implicit(name);
        let given = self.inputs.args.iter().filter(|(name, _)| enters(name));
        given.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The names that some stage or the file declares.
    pub fn declared(&self) -> BTreeSet<String> {
        let mut declared: BTreeSet<String> =
            self.globals.declared.iter().map(|declared| declared.name.clone()).collect();
        let own = self.stages.stages.iter().flat_map(|stage| &stage.body);
        let handed = self.inputs.parents.values().flat_map(|handed| &handed.triggers);
        for instruction in own.chain(handed) {
            let inner = instruction.trigger.as_deref().unwrap_or(instruction);
            if inner.keyword == "ARG" {
                let names = globals::arguments(self.source, inner, self.escape).unwrap_or_default();
                declared.extend(names.into_iter().map(|(name, _)| name));
            }
        }
        declared
    }

    /// The given arguments that nothing declares.
    pub fn unused(&self, declared: &BTreeSet<String>) -> Vec<String> {
        let known = |name: &str| {
            declared.contains(name)
                || globals::is_proxy(name)
                || globals::is_predefined(name)
                || globals::is_implicit(name)
        };
        self.inputs.args.keys().filter(|name| !known(name)).cloned().collect()
    }
}
