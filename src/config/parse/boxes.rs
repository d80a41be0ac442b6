//! `[defaults]` and `[box.NAME]`, and the order that boxes stand in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::fields::{inside, inside_at, optional, place, text_or};
use super::{lint, secrets};
use crate::config::document::{ConfigError, Field, Section};
use crate::config::project::{BoxSpec, ContextSource};
use crate::config::template::Template;
use crate::inputs::FindingKind;
use crate::model::{Platform, Repository, Span};

pub(super) struct Defaults {
    context: PathBuf,
    dockerfile: Option<PathBuf>,
    platform: Platform,
    epoch_fields: Shared,
    pub allow: BTreeSet<FindingKind>,
}

/// What a box inherits as it stands.
#[derive(Clone, Default)]
struct Shared {
    network: Option<String>,
    max_size: Option<u64>,
    timeout: Option<Span>,
}

impl Defaults {
    pub fn read(section: Option<&Section<'_>>) -> Result<Self, ConfigError> {
        let mut defaults = Self {
            context: PathBuf::new(),
            dockerfile: None,
            platform: host_platform(),
            epoch_fields: Shared::default(),
            allow: BTreeSet::new(),
        };
        let Some(section) = section else { return Ok(defaults) };
        section.allow(&["context", "dockerfile", "platforms", "network", "max-size", "timeout"])?;
        if let Some(field) = section.field("context") {
            defaults.context = inside(&field)?;
        }
        if let Some(field) = section.field("dockerfile") {
            defaults.dockerfile = Some(inside(&field)?);
        }
        defaults.platform = platform(section, &defaults.platform)?;
        defaults.epoch_fields = shared(section, &Shared::default())?;
        Ok(defaults)
    }
}

/// `linux` and this machine's architecture in Go's names.
pub fn host_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "riscv64" => "riscv64",
        "powerpc64" => "ppc64le",
        "s390x" => "s390x",
        _ => "amd64",
    };
    format!("linux/{architecture}").parse().unwrap_or_else(|_| unreachable!("the names above are platforms"))
}

fn platform(section: &Section<'_>, default: &Platform) -> Result<Platform, ConfigError> {
    let Some(field) = section.field("platforms") else { return Ok(default.clone()) };
    match field.list()?.as_slice() {
        [one] => one.parse(),
        _ => {
            let mut error = field.error(format!("`{}` must name one platform", field.name));
            error.hint = Some("a box is one image for one platform; declare one box a platform".to_owned());
            Err(error)
        }
    }
}

fn shared(section: &Section<'_>, defaults: &Shared) -> Result<Shared, ConfigError> {
    let network = match section.field("network") {
        Some(field) => Some(field.str()?.to_owned()),
        None => defaults.network.clone(),
    };
    let max_size = match section.field("max-size") {
        Some(field) => Some(bytes(&field)?),
        None => defaults.max_size,
    };
    let timeout = match section.field("timeout") {
        Some(field) => match field.parse()? {
            none if none == Span::default() => {
                return Err(field.error(format!("`{}` must be at least 1s", field.name)));
            }
            span => Some(span),
        },
        None => defaults.timeout,
    };
    Ok(Shared { network, max_size, timeout })
}

/// Reads a size such as `4GiB` or `500MB`.
fn bytes(field: &Field<'_>) -> Result<u64, ConfigError> {
    let text = field.str()?;
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: Option<u64> = match unit.trim() {
        "" | "B" => Some(1),
        "kB" => Some(1000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    let size = factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    size.filter(|size| *size > 0).ok_or_else(|| {
        field.error(format!(
            "`{}` is not a size; expected a number and B, kB, MB, GB, KiB, MiB or GiB",
            field.name
        ))
    })
}

pub(super) fn box_spec(
    name: &str,
    section: &Section<'_>,
    defaults: &Defaults,
) -> Result<BoxSpec, ConfigError> {
    section.allow(&[
        "repository",
        "context",
        "dockerfile",
        "target",
        "platforms",
        "args",
        "contexts",
        "prefix",
        "max-size",
        "timeout",
        "only",
        "network",
        "extra-hosts",
        "shm-size",
        "secrets",
        "ssh",
        "allow",
    ])?;
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if name.is_empty() || !name.chars().all(word) || name.starts_with(['-', '_']) {
        return Err(section.error(format!(
            "box name `{}` may hold lower-case letters, digits, `-` and `_` only",
            crate::model::printable(name, 80)
        )));
    }
    let repository = text_or(section, "repository", name)?;
    Repository::new("registry.invalid", &repository).map_err(|error| {
        place(section, "repository").error(format!("`{}.repository`: {error}", section.name))
    })?;
    let context = section.field("context").map_or(Ok(defaults.context.clone()), |field| inside(&field))?;
    let dockerfile = match section.field("dockerfile") {
        Some(field) => inside(&field)?,
        None => defaults.dockerfile.clone().unwrap_or_else(|| context.join("Dockerfile")),
    };
    let Shared { network, max_size, timeout } = shared(section, &defaults.epoch_fields)?;
    let mut allow = lint::allowed(section)?;
    allow.extend(&defaults.allow);
    let mut args = BTreeMap::new();
    if let Some(table) = optional(section, "args")? {
        for (key, span, field) in table.fields() {
            lint::argument(section, key, span, &allow)?;
            args.insert(key.to_owned(), template(&field)?);
        }
    }
    let mut contexts = BTreeMap::new();
    if let Some(table) = optional(section, "contexts")? {
        for (key, _, field) in table.fields() {
            contexts.insert(key.to_owned(), context_source(&field)?);
        }
    }
    let strings = |key: &str| section.field(key).map_or(Ok(Vec::new()), |field| field.strings());
    Ok(BoxSpec {
        name: name.to_owned(),
        repository,
        context,
        dockerfile,
        target: section.field("target").map(|field| field.str().map(str::to_owned)).transpose()?,
        platform: platform(section, &defaults.platform)?,
        args,
        contexts,
        prefix: section.field("prefix").map(|field| template(&field)).transpose()?,
        max_size,
        timeout,
        only: strings("only")?,
        network,
        extra_hosts: strings("extra-hosts")?,
        shm_size: section.field("shm-size").map(|field| bytes(&field)).transpose()?,
        secrets: secrets::secrets(section)?,
        ssh: secrets::ssh(section)?,
        allow,
    })
}

/// The field if it is there, else its section: where an error about it belongs.
fn template(field: &Field<'_>) -> Result<Template, ConfigError> {
    Template::parse(field.str()?).map_err(|error| field.error(format!("`{}`: {error}", field.name)))
}

fn context_source(field: &Field<'_>) -> Result<ContextSource, ConfigError> {
    let text = field.str()?;
    if let Some(name) = text.strip_prefix("box:") {
        return Ok(ContextSource::Box(name.to_owned()));
    }
    for scheme in ["image:", "docker-image://"] {
        if let Some(image) = text.strip_prefix(scheme) {
            let image = image.parse().map_err(|error| field.error(format!("`{}`: {error}", field.name)))?;
            return Ok(ContextSource::Image(image));
        }
    }
    if let Some(path) = text.strip_prefix("dir:") {
        return inside_at(field, path).map(ContextSource::Directory);
    }
    let mut error = field.error(format!("`{}` names neither a box, an image nor a directory", field.name));
    error.hint = Some("write \"box:NAME\", \"image:REFERENCE\" or \"dir:PATH\"".to_owned());
    Err(error)
}

/// Sorts boxes so that parents come first, by name among equals; a cycle is an error.
pub(super) fn in_order(
    boxes: Vec<BoxSpec>,
    sections: &[(&str, Section<'_>)],
) -> Result<Vec<BoxSpec>, ConfigError> {
    let names: Vec<String> = boxes.iter().map(|spec| spec.name.clone()).collect();
    let mut waiting = boxes;
    let mut ordered: Vec<BoxSpec> = Vec::new();
    while !waiting.is_empty() {
        let is_ready = |spec: &BoxSpec| {
            // An unknown parent is reported later, with its place.
            spec.parents().all(|parent| {
                !names.iter().any(|name| name == parent) || ordered.iter().any(|done| done.name == parent)
            })
        };
        let Some(index) = waiting.iter().position(is_ready) else { break };
        ordered.push(waiting.remove(index));
    }
    let Some(first) = waiting.first() else { return Ok(ordered) };
    // Every box left has a parent that is left: following parents must come round.
    let mut path = vec![first.name.clone()];
    loop {
        let at = path.last().cloned().unwrap_or_default();
        let spec = waiting.iter().find(|spec| spec.name == at);
        let left = |parent: &&str| waiting.iter().any(|spec| spec.name == **parent);
        let Some(next) = spec.and_then(|spec| spec.parents().find(left)) else { break };
        if let Some(start) = path.iter().position(|name| name == next) {
            path.drain(..start);
            path.push(next.to_owned());
            break;
        }
        path.push(next.to_owned());
    }
    let section = sections.iter().find(|(name, _)| Some(*name) == path.first().map(String::as_str));
    let (_, section) = section.unwrap_or(&sections[0]);
    Err(section.error(format!("boxes stand on each other in a circle: {}", path.join(" → "))))
}
