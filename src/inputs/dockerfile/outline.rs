//! The stages of a Dockerfile at a glance, for proposing boxes.

use std::collections::{BTreeMap, BTreeSet};

use super::BoxInputs;
use super::error::DockerfileError;
use super::globals::Globals;
use super::lines;
use super::source::DockerfileSource;
use super::stages::{Base, Stages};
use crate::model::Platform;

/// One stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageOutline {
    /// Its name in lower case, if it has one.
    pub name: Option<String>,
    /// The line it begins on, from 1.
    pub line: u32,
    /// What it stands on.
    pub from: StageBase,
}

/// What a stage stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StageBase {
    /// Nothing.
    Scratch,
    /// An earlier stage of the file, by position.
    Stage(usize),
    /// An image, by its name with arguments expanded.
    Image(String),
}

/// Lists the stages of a Dockerfile with no arguments given.
pub fn outline(source: &DockerfileSource, platform: &Platform) -> Result<Vec<StageOutline>, DockerfileError> {
    let inputs = BoxInputs {
        target: None,
        platform: platform.clone(),
        args: BTreeMap::new(),
        contexts: BTreeSet::new(),
        parents: BTreeMap::new(),
    };
    let lines::Parsed { escape, mut instructions, .. } = lines::parse(source)?;
    let globals = Globals::take(source, &mut instructions, &inputs.args, &inputs.platform, escape)?;
    let stages = Stages::new(source, instructions, &globals, &inputs, escape)?;
    let outline = stages.stages.iter().map(|stage| StageOutline {
        name: stage.name.clone(),
        line: stage.from.line,
        from: match &stage.base {
            Base::Scratch => StageBase::Scratch,
            Base::Stage(index) => StageBase::Stage(*index),
            Base::Context(name) | Base::Outside(name) => StageBase::Image(name.clone()),
            Base::Unknown { text, .. } => StageBase::Image(text.clone()),
        },
    });
    Ok(outline.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stages_and_what_they_stand_on() {
        let text = "ARG DEBIAN=debian:12\nFROM $DEBIAN AS base\nRUN x\nFROM base AS Build\nFROM scratch\n";
        let source = DockerfileSource::new("Dockerfile", text.as_bytes()).unwrap();
        let stages = outline(&source, &"linux/amd64".parse().unwrap()).unwrap();
        let names: Vec<_> =
            stages.iter().map(|stage| (stage.name.as_deref(), stage.line, &stage.from)).collect();
        let debian = StageBase::Image("debian:12".to_owned());
        assert_eq!(
            names,
            [
                (Some("base"), 2, &debian),
                (Some("build"), 4, &StageBase::Stage(0)),
                (None, 5, &StageBase::Scratch),
            ]
        );
    }
}
