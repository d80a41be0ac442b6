//! The JSON of results: the fields may grow, and are never renamed.

use std::fmt::Write as _;

use serde::Serialize;

use super::ci::{self, Ci};
use super::findings::FindingRow;
use crate::exec::ResolvedBox;
use crate::model::{ContentTag, Digest, Source, is_plain};

/// What `keys`, `plan` and `build` print.
#[derive(Debug, Serialize)]
pub struct Report {
    pub schema: u32,
    pub run: String,
    pub boxes: Vec<BoxRow>,
    /// Where they come from; not where nobody was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceRow>,
    /// What the CI says about the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci: Option<Ci>,
    /// Of a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<Vec<FindingRow>>,
}

/// Where boxes come from, as far as git and the CI can say.
#[derive(Debug, Serialize)]
pub struct SourceRow {
    pub revision: Option<String>,
    pub time: Option<String>,
    /// Whether inputs differ from the commit; nothing where that is unknown.
    pub dirty: Option<bool>,
    /// Why it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

impl SourceRow {
    pub fn new(source: &Source) -> Self {
        Self {
            revision: source.revision.clone(),
            time: source.time.map(|time| time.rfc3339()),
            dirty: source.unread.is_none().then_some(source.dirty),
            unknown: source.unread.clone(),
        }
    }
}

/// One box of a [`Report`].
#[derive(Debug, Serialize)]
pub struct BoxRow {
    pub name: String,
    pub repository: String,
    pub key: String,
    pub tag: String,
    pub platforms: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    pub digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The instruction that failed: file, line and column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// Where the log of the failed build stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<String>,
    /// The promoted tag that the reason is told against.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    pub parents: Vec<String>,
    /// Working copies that it depends on.
    pub local: Vec<String>,
    pub lease_until: Option<String>,
    pub seconds: Option<f64>,
}

impl BoxRow {
    /// Fills what the key alone tells.
    pub fn new(keyed: &ResolvedBox, tag: &ContentTag) -> Self {
        Self {
            name: keyed.wanted.name.clone(),
            repository: keyed.wanted.repository.to_string(),
            key: keyed.wanted.key().to_string(),
            tag: tag.to_string(),
            platforms: vec![keyed.spec.platform.to_string()],
            state: None,
            digest: None,
            action: None,
            reason: None,
            place: None,
            log: None,
            since: None,
            parents: keyed.wanted.parents.clone(),
            local: keyed.local.iter().cloned().collect(),
            lease_until: None,
            seconds: None,
        }
    }
}

/// Writes a value as indented JSON with a final newline.
pub fn text(value: &impl Serialize) -> String {
    // These values hold strings, numbers and lists: nothing that JSON cannot.
    let text = serde_json::to_string_pretty(value);
    text.map_or_else(|error| error.to_string(), |text| escaped(&text) + "\n")
}

/// Escapes what only strings can hold: what draws on a terminal, and what a runner that reads along
/// would take for a command.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || is_plain(c) {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    ci::commands(&out, "\\u005b")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_command_of_a_runner_stands_in_json() {
        let value =
            "a ##[add-path]b ##vso[task.x]c ##TeamCity[x '##' ##\u{7f}\u{9b}\u{202e}\u{e0041}\u{feff}é漢";
        let text = text(&value);
        for hostile in
            ["##[", "##vso[", "##TeamCity[", "\u{7f}", "\u{9b}", "\u{202e}", "\u{e0041}", "\u{feff}"]
        {
            assert!(!text.contains(hostile), "{text}");
        }
        assert!(text.contains("é漢"));
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), value);
    }
}
