//! The configuration's grammar: which keys there are, what they mean, what must agree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use regex::Regex;

use super::document::{ConfigError, Field, Section, Source, nearest};
use super::lint;
use super::mirror::Mirrors;
use super::pin::PinFormat;
use super::project::{BoxSpec, Channel, ContextSource, Pin, PinSource, Project, RegistryChoice};
use super::template::Template;
use crate::inputs::FindingKind;
use crate::model::{Generation, Key, Platform, Repository, Span};

/// Reads `boxwright.toml`; `file` is the name errors give it.
pub fn parse(file: &str, text: &str) -> Result<Project, ConfigError> {
    let source = Source { file, text };
    let document = source.parse()?;
    let root = Section::root(source, &document);
    root.allow(&[
        "registry",
        "ledger",
        "mirror",
        "epoch",
        "temporary",
        "clean",
        "protect",
        "lint",
        "defaults",
        "pin",
        "box",
        "channel",
    ])?;
    let registry = registry(&root)?;
    let temporary = optional(&root, "temporary")?;
    let lease = match &temporary {
        Some(section) => {
            section.allow(&["keep"])?;
            span(section, "keep", "2d")?
        }
        None => DEFAULT_LEASE,
    };
    let pins = root
        .sections("pin")?
        .into_iter()
        .map(|(name, section)| pin(name, &section))
        .collect::<Result<_, _>>()?;
    let mut defaults = Defaults::read(optional(&root, "defaults")?.as_ref())?;
    if let Some(section) = optional(&root, "lint")? {
        section.allow(&["allow"])?;
        defaults.allow = lint::allowed(&section)?;
    }
    let sections = root.sections("box")?;
    if sections.is_empty() {
        let mut error = root.error("no box is declared");
        error.hint = Some("add a section such as [box.base], or let `boxwright init` write one".to_owned());
        return Err(error);
    }
    let boxes: Vec<BoxSpec> = sections
        .iter()
        .map(|(name, section)| box_spec(name, section, &defaults))
        .collect::<Result<_, _>>()?;
    let channels: BTreeMap<String, Channel> = root
        .sections("channel")?
        .iter()
        .map(|(name, section)| channel::channel(name, section))
        .collect::<Result<_, _>>()?;
    let project = Project {
        registry,
        ledger: text_or(&root, "ledger", "boxwright-ledger")?,
        mirrors: Mirrors::read(optional(&root, "mirror")?.as_ref())?,
        lease,
        retention: protect::retention(optional(&root, "clean")?.as_ref())?,
        protect: protect::protect(optional(&root, "protect")?.as_ref())?,
        epoch: text_or(&root, "epoch", "")?,
        pins,
        boxes: in_order(boxes, &sections)?,
        channels,
    };
    check_names(&project, &root, &sections)?;
    Ok(project)
}

const DEFAULT_LEASE: Span = Span::from_seconds(2 * 86_400);
/// Longer leases are ignored by every sweep.
const LONGEST_LEASE: Span = Span::from_seconds(30 * 86_400);

fn optional<'a>(root: &Section<'a>, key: &str) -> Result<Option<Section<'a>>, ConfigError> {
    root.field(key).map(|field| field.section()).transpose()
}

fn text_or(section: &Section<'_>, key: &str, default: &str) -> Result<String, ConfigError> {
    section.field(key).map_or(Ok(default.to_owned()), |field| field.str().map(str::to_owned))
}

fn span(section: &Section<'_>, key: &str, default: &str) -> Result<Span, ConfigError> {
    let Some(field) = section.field(key) else {
        return default.parse().map_err(|_| section.error("default"));
    };
    let span: Span = field.parse()?;
    if span == Span::default() || span > LONGEST_LEASE {
        return Err(field.error(format!("`{}` must be between 1s and {LONGEST_LEASE}", field.name)));
    }
    Ok(span)
}

fn registry(root: &Section<'_>) -> Result<RegistryChoice, ConfigError> {
    let field = root.need("registry")?;
    let text = field.str()?;
    if text == "embedded" {
        return Ok(RegistryChoice::Embedded);
    }
    let text = text.strip_suffix('/').unwrap_or(text);
    Repository::new(text, "box").map_err(|error| {
        let mut place = field.error(format!("`registry`: {error}"));
        place.hint = Some("write a host with an optional path, without https://, or \"embedded\"".to_owned());
        place
    })?;
    Ok(RegistryChoice::Remote(text.to_owned()))
}

fn pin(name: &str, section: &Section<'_>) -> Result<(String, Pin), ConfigError> {
    section.allow(&["file", "also", "field", "pattern", "git", "ref", "image", "url"])?;
    let kinds = ["file", "git", "image", "url"];
    let named: Vec<&str> = kinds.into_iter().filter(|key| section.field(key).is_some()).collect();
    let [kind] = named.as_slice() else {
        return Err(section.error(format!("[{}] needs one of file, git, image and url", section.name)));
    };
    let belongs = match *kind {
        "file" => &["file", "also", "field", "pattern"][..],
        "git" => &["git", "ref"],
        other => &[other][..],
    };
    if let Some((key, span, _)) = section.fields().find(|(key, ..)| !belongs.contains(key)) {
        return Err(section.source.error(span, format!("`{key}` does not go with `{kind}`")));
    }
    let source = match *kind {
        "git" => {
            let url = section.need("git")?;
            let reference = section.need("ref")?;
            PinSource::Git { url: argument(&url)?, reference: argument(&reference)? }
        }
        "image" => PinSource::Image(section.need("image")?.parse()?),
        "url" => {
            let url = section.need("url")?;
            let text = argument(&url)?;
            if !text.starts_with("https://") && !text.starts_with("http://") {
                return Err(url.error("expected an http or https address"));
            }
            PinSource::Url(text)
        }
        _ => files(section)?,
    };
    let place = |keys: &[&str]| {
        let field = keys.iter().find_map(|key| section.field(key));
        field.map(|field| field.place()).unwrap_or_default()
    };
    let (file_at, value_at) = (place(&["file"]), place(&["field", "pattern", "file"]));
    Ok((name.to_owned(), Pin { name: name.to_owned(), source, file_at, value_at }))
}

/// A text that is handed to another program: not empty, no option, no control characters.
fn argument(field: &Field<'_>) -> Result<String, ConfigError> {
    let text = field.str()?;
    if text.is_empty() || text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(field.error(format!(
            "`{}` must not be empty, begin with `-` or hold control characters",
            field.name
        )));
    }
    Ok(text.to_owned())
}

fn files(section: &Section<'_>) -> Result<PinSource, ConfigError> {
    let mut files = vec![inside(&section.need("file")?)?];
    if let Some(also) = section.field("also") {
        for item in also.list()? {
            files.push(inside(&item)?);
        }
    }
    let format = match (section.field("field"), section.field("pattern")) {
        (Some(_), Some(pattern)) => {
            return Err(pattern.error("`field` and `pattern` cannot both say where the value stands"));
        }
        (None, Some(pattern)) => PinFormat::Pattern(regex(&pattern)?),
        (None, None) => PinFormat::Text,
        (Some(field), None) => {
            let path: Vec<String> = field.str()?.split('.').map(str::to_owned).collect();
            let extension = files[0].extension().and_then(|extension| extension.to_str());
            match extension {
                Some("toml" | "lock") => PinFormat::Toml(path),
                Some("json") => PinFormat::Json(path),
                Some("yaml" | "yml") => PinFormat::Yaml(path),
                _ => {
                    let mut error = field.error("`field` needs a .toml, .json or .yaml file");
                    error.hint = Some("for other files say `pattern = '…'`, a regular expression".to_owned());
                    return Err(error);
                }
            }
        }
    };
    Ok(PinSource::Files { files, format })
}

fn regex(field: &Field<'_>) -> Result<Regex, ConfigError> {
    Regex::new(field.str()?).map_err(|error| {
        let reason = error.to_string();
        field.error(format!("`{}`: {}", field.name, reason.lines().last().unwrap_or_default()))
    })
}

/// A path in or below the directory of the configuration.
fn inside(field: &Field<'_>) -> Result<PathBuf, ConfigError> {
    inside_at(field, field.str()?)
}

fn inside_at(field: &Field<'_>, path: &str) -> Result<PathBuf, ConfigError> {
    let path = Path::new(path);
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => clean.push(part),
            Component::ParentDir if clean.pop() => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let mut error = field.error(format!("`{}` leads out of the repository", field.name));
                error.hint = Some(
                    "paths are relative to boxwright.toml and stay in or below its directory".to_owned(),
                );
                return Err(error);
            }
        }
    }
    Ok(clean)
}

struct Defaults {
    context: PathBuf,
    dockerfile: Option<PathBuf>,
    platform: Platform,
    epoch_fields: Shared,
    allow: BTreeSet<FindingKind>,
}

/// What a box inherits as it stands.
#[derive(Clone, Default)]
struct Shared {
    network: Option<String>,
    max_size: Option<u64>,
    timeout: Option<Span>,
}

impl Defaults {
    fn read(section: Option<&Section<'_>>) -> Result<Self, ConfigError> {
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

fn box_spec(name: &str, section: &Section<'_>, defaults: &Defaults) -> Result<BoxSpec, ConfigError> {
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
fn place<'s, 'a>(section: &'s Section<'a>, key: &str) -> Place<'s, 'a> {
    Place { field: section.field(key), section }
}

struct Place<'s, 'a> {
    field: Option<Field<'a>>,
    section: &'s Section<'a>,
}

impl Place<'_, '_> {
    fn error(&self, message: String) -> ConfigError {
        self.field
            .as_ref()
            .map_or_else(|| self.section.error(message.clone()), |field| field.error(message.clone()))
    }
}

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
fn in_order(boxes: Vec<BoxSpec>, sections: &[(&str, Section<'_>)]) -> Result<Vec<BoxSpec>, ConfigError> {
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

/// Checks that every name that is used is declared, and that no two boxes would write one tag.
fn check_names(
    project: &Project,
    root: &Section<'_>,
    sections: &[(&str, Section<'_>)],
) -> Result<(), ConfigError> {
    let names: Vec<&str> = project.boxes.iter().map(|spec| spec.name.as_str()).collect();
    let channels: Vec<&str> = project.channels.keys().map(String::as_str).collect();
    let pins: Vec<&str> = project.pins.keys().map(String::as_str).collect();
    Repository::new("registry.invalid", &project.ledger)
        .map_err(|error| place(root, "ledger").error(format!("`ledger`: {error}")))?;
    for (name, section) in sections {
        let Some(spec) = project.find(name) else { continue };
        let unknown = |kind: &str, word: &str, known: &[&str], place: Place<'_, '_>| {
            let mut error =
                place.error(format!("there is no {kind} `{}`", crate::model::printable(word, 80)));
            error.hint = nearest(word, known)
                .map(|near| format!("did you mean `{near}`?"))
                .or_else(|| (!known.is_empty()).then(|| format!("declared are {}", known.join(", "))));
            error
        };
        if let Some(parent) = spec.parents().find(|parent| !names.contains(parent)) {
            return Err(unknown("box", parent, &names, place(section, "contexts")));
        }
        if let Some(pin) = spec.pins().find(|pin| !pins.contains(pin)) {
            return Err(unknown("pin", pin, &pins, place(section, "args")));
        }
        if let Some(only) = spec.only.iter().find(|only| !channels.contains(&only.as_str())) {
            return Err(unknown("channel", only, &channels, place(section, "only")));
        }
        if spec.repository == project.ledger {
            return Err(place(section, "repository")
                .error(format!("`{}` is the ledger's repository", spec.repository)));
        }
        if let Some(prefix) = &spec.prefix
            && prefix.pins().next().is_none()
        {
            let key = Key::of(b"");
            crate::model::ContentTag::new(Some(&prefix.fill(&BTreeMap::new())), key, Generation(0)).map_err(
                |error| place(section, "prefix").error(format!("`{}.prefix`: {error}", section.name)),
            )?;
        }
    }
    for channel in &channels {
        let boxes = project.boxes_of(channel);
        for (index, spec) in boxes.iter().enumerate() {
            let Some(twin) = boxes[..index].iter().find(|other| other.repository == spec.repository) else {
                continue;
            };
            let section = sections.iter().find(|(name, _)| *name == spec.name);
            let (_, section) = section.unwrap_or(&sections[0]);
            return Err(place(section, "repository").error(format!(
                "boxes `{}` and `{}` share repository `{}`, so channel `{channel}` would give both the same tag",
                twin.name, spec.name, spec.repository
            )));
        }
    }
    Ok(())
}

mod channel;
mod protect;
mod secrets;
#[cfg(test)]
mod tests;
