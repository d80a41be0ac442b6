//! What a box hands on to a build that stands on it: its environment, and its `ONBUILD`
//! triggers, which run there once.

use super::at::At;
use super::error::DockerfileError;
use super::instruction::Instruction;
use super::mount;
use super::scope::Scope;
use super::source::DockerfileSource;

/// What is known of a box when another one stands on it.
#[derive(Debug, Clone)]
pub struct Inherited {
    pub(super) source: DockerfileSource,
    pub(super) escape: char,
    /// The environment of its image.
    pub(super) scope: Scope,
    /// The instructions after `ONBUILD`.
    pub(super) triggers: Vec<Instruction>,
}

impl Inherited {
    /// What a stage hands on whose instructions leave this scope.
    pub(super) fn new(source: &DockerfileSource, escape: char, body: &[Instruction], scope: &Scope) -> Self {
        let triggers = body.iter().filter_map(|instruction| instruction.trigger.as_deref().cloned());
        Self { source: source.clone(), escape, scope: scope.handed(), triggers: triggers.collect() }
    }

    /// Returns the triggers that copy from a stage or an image of the other build: where they
    /// stand, and the name.
    pub fn copies(&self) -> Result<Vec<(At, String)>, DockerfileError> {
        let mut out = Vec::new();
        for trigger in &self.triggers {
            let at = || self.source.at(trigger.start);
            match trigger.keyword {
                "COPY" => {
                    let from = trigger.flag("from").map(|flag| flag.value.clone());
                    out.extend(from.filter(|from| !from.is_empty()).map(|from| (at(), from)));
                }
                "RUN" => {
                    for flag in trigger.flags.iter().filter(|flag| flag.name == "mount") {
                        let from = mount::read(&self.source, trigger, flag)?.from;
                        out.extend(from.map(|(name, _)| (at(), name)));
                    }
                }
                _ => {}
            }
        }
        Ok(out)
    }
}
