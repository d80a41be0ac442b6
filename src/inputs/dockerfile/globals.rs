//! The arguments before the first `FROM`, and those that the platform predefines.

use std::collections::{BTreeMap, BTreeSet};

use super::error::DockerfileError;
use super::instruction::{Instruction, quoted_words};
use super::modifier::Value;
use super::shell::{Budget, Env, Lexer};
use super::source::DockerfileSource;
use crate::model::Platform;

/// One name of an `ARG` instruction.
#[derive(Debug, Clone)]
pub(super) struct Declared {
    pub name: String,
    /// As written, not expanded.
    pub default: Option<String>,
    pub line: u32,
    /// Names that the default uses.
    pub uses: BTreeSet<String>,
}

/// The global scope.
#[derive(Debug)]
pub(super) struct Globals {
    values: BTreeMap<String, Value>,
    /// In file order.
    pub declared: Vec<Declared>,
    /// Shared by all scopes of the file.
    pub budget: Budget,
}

impl Env for Globals {
    fn lookup(&self, name: &str) -> Value {
        self.values.get(name).cloned().unwrap_or(Value::Unset)
    }

    fn budget(&self) -> Option<&Budget> {
        Some(&self.budget)
    }
}

impl Globals {
    /// Takes the leading `ARG` instructions off `instructions` and evaluates them in order.
    pub fn take(
        source: &DockerfileSource,
        instructions: &mut Vec<Instruction>,
        given: &BTreeMap<String, String>,
        platform: &Platform,
        escape: char,
    ) -> Result<Self, DockerfileError> {
        let leading = instructions.iter().take_while(|instruction| instruction.keyword == "ARG").count();
        let mut this =
            Self { values: predefined(given, platform), declared: Vec::new(), budget: Budget::default() };
        for instruction in instructions.drain(..leading) {
            for (name, default) in arguments(source, &instruction, escape)? {
                let expansion = default
                    .as_ref()
                    .map(|default| Lexer::new(escape).expand(default, &this))
                    .transpose()
                    .map_err(|reason| DockerfileError::Syntax { at: source.at(instruction.start), reason })?;
                let uses = expansion.as_ref().map(|expansion| expansion.used.clone()).unwrap_or_default();
                let given = given.get(&name).map(|value| Value::Known(value.clone()));
                let value = given.or_else(|| {
                    let expansion = expansion?;
                    Some(if expansion.unknown.is_some() {
                        Value::Unknown
                    } else {
                        Value::Known(expansion.text)
                    })
                });
                if let Some(value) = value {
                    this.values.insert(name.clone(), value);
                }
                this.declared.push(Declared { name, default, line: instruction.line, uses });
            }
        }
        Ok(this)
    }

    /// These names and all that their defaults use.
    pub fn closure(&self, mut names: BTreeSet<String>) -> BTreeSet<String> {
        // A default can only use what stands before it, so one pass backwards is enough.
        for declared in self.declared.iter().rev() {
            if names.contains(&declared.name) {
                names.extend(declared.uses.iter().cloned());
            }
        }
        names
    }
}

/// The argument by which a build is told the namespace of its cache mounts.
const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// The names and defaults of an `ARG` instruction.
pub(super) fn arguments(
    source: &DockerfileSource,
    instruction: &Instruction,
    escape: char,
) -> Result<Vec<(String, Option<String>)>, DockerfileError> {
    let words = quoted_words(instruction.args_text(), escape);
    let syntax = |reason: &str| {
        Err(DockerfileError::Syntax { at: source.at(instruction.start), reason: reason.to_owned() })
    };
    if words.is_empty() {
        return syntax("ARG requires at least one argument");
    }
    let mut found = Vec::new();
    for word in words {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name.to_owned(), Some(default.to_owned())),
            None => (word, None),
        };
        if name.is_empty() {
            return syntax("ARG names cannot be blank");
        }
        if name == NAMESPACE {
            return syntax(
                "BUILDKIT_CACHE_MOUNT_NS differs between trusted and other runs, so no image may depend on it",
            );
        }
        found.push((name, default));
    }
    Ok(found)
}

/// Arguments that exist without being declared (Dockerfile reference, "Automatic platform
/// ARGs in the global scope"). The builder's own platform is not known here.
fn predefined(given: &BTreeMap<String, String>, platform: &Platform) -> BTreeMap<String, Value> {
    let mut values: BTreeMap<String, Value> = [
        ("TARGETPLATFORM", platform.as_str()),
        ("TARGETOS", platform.os()),
        ("TARGETARCH", platform.architecture()),
        ("TARGETVARIANT", platform.variant().unwrap_or_default()),
        ("TARGETOSVERSION", ""),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), Value::Known(value.to_owned())))
    .collect();
    for name in UNKNOWN {
        values.insert(name.to_owned(), Value::Unknown);
    }
    for (name, value) in &mut values {
        if let Some(given) = given.get(name) {
            *value = Value::Known(given.clone());
        }
    }
    values
}

const UNKNOWN: [&str; 6] =
    ["BUILDPLATFORM", "BUILDOS", "BUILDARCH", "BUILDVARIANT", "BUILDOSVERSION", "TARGETSTAGE"];

/// Whether the platform or the frontend defines this argument by itself.
pub(super) fn is_predefined(name: &str) -> bool {
    UNKNOWN.contains(&name)
        || matches!(name, "TARGETPLATFORM" | "TARGETOS" | "TARGETARCH" | "TARGETVARIANT" | "TARGETOSVERSION")
}

/// Whether this is a proxy setting, which a build gets without an `ARG` (Dockerfile reference,
/// "Predefined ARGs").
pub(super) fn is_proxy(name: &str) -> bool {
    ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy"]
        .iter()
        .any(|proxy| name.eq_ignore_ascii_case(proxy))
}

/// Whether the frontend reads this argument although no file declares it.
pub(super) fn is_implicit(name: &str) -> bool {
    name.starts_with("BUILDKIT_") || name == "SOURCE_DATE_EPOCH"
}
