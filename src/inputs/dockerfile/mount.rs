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
    let syntax = |reason: String| DockerfileError::Syntax {
        at: source.at(instruction.logical.offset(flag.raw.start)),
        reason,
    };
    if flag.value.contains('"') {
        return Err(syntax("quotes within --mount are not supported".to_owned()));
    }
    let mut mount = Mount::default();
    let mut start = 0;
    for field in flag.value.split(',') {
        let (key, value) = field.split_once('=').map_or((field, None), |(key, value)| (key, Some(value)));
        let place = start + field.len() - value.map_or(0, str::len);
        start += field.len() + 1;
        let text = || value.filter(|value| !value.is_empty()).map(str::to_owned);
        match key.to_lowercase().as_str() {
            "type" => {
                mount.kind = match value.unwrap_or_default().to_lowercase().as_str() {
                    "bind" => Kind::Bind,
                    "cache" => Kind::Cache,
                    "tmpfs" => Kind::Tmpfs,
                    "secret" => Kind::Secret,
                    "ssh" => Kind::Ssh,
                    other => return Err(syntax(format!("unsupported mount type `{other}`"))),
                };
            }
            "from" => {
                mount.from = text().map(|name| {
                    let end = flag.places[place + name.len() - 1] + 1;
                    (name, flag.places[place]..end)
                });
            }
            "source" | "src" => mount.source = text(),
            "target" | "dst" | "destination" => mount.target = text(),
            "id" => mount.id = text(),
            "required" => {
                mount.required = value.is_none_or(|value| value.eq_ignore_ascii_case("true") || value == "1")
            }
            "readonly" | "ro" | "readwrite" | "rw" | "size" | "sharing" | "mode" | "uid" | "gid" | "env" => {}
            other => return Err(syntax(format!("unexpected key `{other}` in --mount"))),
        }
    }
    if mount.kind == Kind::Tmpfs {
        mount.from = None;
    }
    if matches!(mount.kind, Kind::Secret | Kind::Ssh) && mount.from.is_some() {
        return Err(syntax("secret and ssh mounts take no `from`".to_owned()));
    }
    Ok(mount)
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
