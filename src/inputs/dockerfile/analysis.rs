//! Puts the parts together: from a Dockerfile and a box's settings to what the box depends on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::DockerfileError;
use super::facts::{Analysis, BoxInputs, Frontend};
use super::findings::{Finding, FindingKind};
use super::globals::{self, Globals};
use super::images::UnreachableStage;
use super::need::{Need, NeedKind};
use super::scope::Scope;
use super::source::DockerfileSource;
use super::stages::Stages;
use super::triggers::Inherited;
use super::walk::Walk;
use super::{canonical, lines};
use crate::inputs::manifest;

/// Analyses a Dockerfile for one box and one platform.
pub fn analyse(source: &DockerfileSource, inputs: &BoxInputs) -> Result<Analysis, DockerfileError> {
    let lines::Parsed { directives, escape, mut instructions } = lines::parse(source)?;
    let globals = Globals::take(source, &mut instructions, &inputs.args, &inputs.platform, escape)?;
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
    let idle = idle
        .map(|(_, (stage, end))| UnreachableStage { span: stage.from.start..end, name: stage.name.clone() });
    let idle = idle.collect();
    let scope = walk.scopes.get(&target).cloned();
    let scope = scope.unwrap_or_else(|| Arc::new(Scope::new(true, &globals.budget)));
    let handed = Inherited::new(source, escape, &stages.stages[target].body, &scope);
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
