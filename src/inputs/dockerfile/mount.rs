//! `RUN --mount=…` (BuildKit, `commands_runmount.go`).

use std::ops::Range;

use super::error::DockerfileError;
use super::instruction::{Flag, Instruction};
use super::source::DockerfileSource;

/// A mount, as far as it decides what a build reads. Values are not expanded yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Mount {
    pub kind: Kind,
    /// The name after `from=`, and its range in the logical line.
    pub from: Option<(String, Range<usize>)>,
    pub source: Option<String>,
    pub target: Option<String>,
    pub id: Option<String>,
    pub required: bool,
    /// A field that is not known here.
    pub unknown: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

/// Reads the value of a `--mount` flag.
pub(super) fn read(
    source: &DockerfileSource,
    instruction: &Instruction,
    flag: &Flag,
) -> Result<Mount, DockerfileError> {
    let mut mount = Mount::default();
    let Some(fields) = fields(&flag.value, &flag.places) else {
        mount.unknown = Some(flag.value.clone());
        return Ok(mount);
    };
    for (field, places) in fields {
        let (key, value) = field.split_once('=').map_or((&*field, None), |(key, value)| (key, Some(value)));
        let start = field.len() - value.map_or(0, str::len);
        let text = || value.filter(|value| !value.is_empty()).map(str::to_owned);
        match key.to_lowercase().as_str() {
            "type" => {
                mount.kind = match value.unwrap_or_default().to_lowercase().as_str() {
                    "bind" => Kind::Bind,
                    "cache" => Kind::Cache,
                    "tmpfs" => Kind::Tmpfs,
                    "secret" => Kind::Secret,
                    "ssh" => Kind::Ssh,
                    _ => {
                        mount.unknown = Some(field.clone());
                        Kind::Bind
                    }
                };
            }
            "from" => {
                mount.from = text().map(|name| {
                    let end = places[start + name.len() - 1] + 1;
                    (name, places[start]..end)
                });
            }
            "source" | "src" => mount.source = text(),
            "target" | "dst" | "destination" => mount.target = text(),
            "id" => mount.id = text(),
            "required" => {
                mount.required = value.is_none_or(|value| value.eq_ignore_ascii_case("true") || value == "1")
            }
            "readonly" | "ro" | "readwrite" | "rw" | "size" | "sharing" | "mode" | "uid" | "gid" | "env" => {}
            _ => mount.unknown = Some(field.clone()),
        }
    }
    if mount.kind == Kind::Tmpfs {
        mount.from = None;
    }
    if matches!(mount.kind, Kind::Secret | Kind::Ssh) && mount.from.is_some() {
        let at = source.at(instruction.logical.offset(flag.raw.start));
        let reason = "secret and ssh mounts take no `from`".to_owned();
        return Err(DockerfileError::Syntax { at, reason });
    }
    Ok(mount)
}

/// Splits a record of comma-separated values (Go, `encoding/csv`), with the place of each byte;
/// nothing if it is none.
fn fields(text: &str, places: &[usize]) -> Option<Vec<(String, Vec<usize>)>> {
    let mut fields = Vec::new();
    let mut at = 0;
    loop {
        let (mut bytes, mut stand) = (Vec::new(), Vec::new());
        let rest = text.as_bytes();
        if rest.get(at) == Some(&b'"') {
            at += 1;
            loop {
                match (rest.get(at)?, rest.get(at + 1)) {
                    (b'"', Some(b'"')) => at += 1,
                    (b'"', None | Some(b',')) => break,
                    (b'"', _) => return None,
                    _ => {}
                }
                bytes.push(rest[at]);
                stand.push(places[at]);
                at += 1;
            }
            at += 1;
        } else {
            let length = rest[at..].iter().position(|byte| *byte == b',').unwrap_or(rest.len() - at);
            bytes.extend(&rest[at..at + length]);
            stand.extend(&places[at..at + length]);
            if bytes.contains(&b'"') {
                return None;
            }
            at += length;
        }
        fields.push((String::from_utf8(bytes).ok()?, stand));
        match rest.get(at) {
            None => return Some(fields),
            Some(_) => at += 1,
        }
    }
}

impl Mount {
    /// The name under which a secret is asked for.
    pub fn secret(&self) -> Option<&str> {
        let base = |path: &String| path.rsplit('/').next().map(str::len).map(|length| path.len() - length);
        let target = self.target.as_ref().and_then(|path| Some(&path[base(path)?..]));
        self.id.as_deref().or(self.source.as_deref()).or(target)
    }

    /// The name under which an ssh agent is asked for.
    pub fn agent(&self) -> &str {
        self.id.as_deref().unwrap_or("default")
    }
}
