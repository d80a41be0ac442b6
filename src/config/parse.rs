//! The configuration's grammar: which keys there are, what they mean, what must agree.

mod boxes;
mod channel;
mod fields;
mod pin;
mod protect;
mod secrets;

use std::collections::BTreeMap;

use self::fields::{Place, optional, place, text_or};
use super::document::{ConfigError, Section, Source, nearest};
use super::lint;
use super::mirror::Mirrors;
use super::project::{BoxSpec, Channel, Project, RegistryChoice};
use crate::model::{Generation, Key, Repository, Span};

pub use boxes::host_platform;

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
        .map(|(name, section)| pin::pin(name, &section))
        .collect::<Result<_, _>>()?;
    let mut defaults = boxes::Defaults::read(optional(&root, "defaults")?.as_ref())?;
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
    let specs: Vec<BoxSpec> = sections
        .iter()
        .map(|(name, section)| boxes::box_spec(name, section, &defaults))
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
        boxes: boxes::in_order(specs, &sections)?,
        channels,
    };
    check_names(&project, &root, &sections)?;
    Ok(project)
}

const DEFAULT_LEASE: Span = Span::from_seconds(2 * 86_400);
/// Longer leases are ignored by every sweep.
const LONGEST_LEASE: Span = Span::from_seconds(30 * 86_400);

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
    field.str()?.parse().map_err(|error| {
        let mut place = field.error(format!("`registry`: {error}"));
        place.hint = Some("write a host with an optional path, without https://, or \"embedded\"".to_owned());
        place
    })
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
    if let Some(ledger) = &project.retention.ledger {
        let clean = optional(root, "clean")?;
        let at = clean.as_ref().map_or_else(|| place(root, "clean"), |section| place(section, "ledger"));
        Repository::new("registry.invalid", ledger)
            .map_err(|error| at.error(format!("`clean.ledger`: {error}")))?;
        if *ledger == project.ledger || project.boxes.iter().any(|spec| spec.repository == *ledger) {
            return Err(at.error(format!(
                "`clean.ledger` is `{ledger}`, which others write to; it is for the cleaning job alone"
            )));
        }
    }
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

#[cfg(test)]
mod tests;
