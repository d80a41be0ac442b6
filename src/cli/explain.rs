//! `explain`: what a box's key is made of, and what moved it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use super::args::{Boxes, Explain, Format, Global};
use super::computed::compute_keys;
use super::error::{CliError, exit};
use super::json;
use super::session::{self, Session};
use super::steps::short_digests;
use super::terminal::{BOLD, DIM, Terminal, paint};
use crate::exec::{Against, Compared, Difference, Ledger, Parent, ResolvedBox, against, compare};
use crate::inputs::{Change, Reads};
use crate::model::{Entry, EntryKind, printable, size};

pub async fn run(options: &Explain, global: &Global, terminal: Terminal) -> Result<u8, CliError> {
    let loaded = session::load(global)?;
    let names = Boxes { names: vec![options.name.clone()], channel: None };
    let specs = loaded.choose(&names)?;
    let find = |boxes: &[ResolvedBox]| {
        let keyed = boxes.iter().find(|keyed| keyed.wanted.name == options.name).cloned();
        keyed.ok_or_else(|| CliError::Usage(format!("there is no box `{}`", options.name)))
    };
    let Some(text) = &options.against else {
        let boxes = compute_keys(&loaded, specs, &loaded.offline_registry(), global).await?;
        session::look(&loaded, terminal);
        let keyed = find(&boxes)?;
        terminal.result(&match global.format {
            Format::Json => json::text(&Inputs::of(&keyed)),
            Format::Human => inputs(&keyed),
        })?;
        return Ok(exit::DONE);
    };
    let mut session = Session::open(&loaded, global).await?;
    let computed = session.compute(&loaded, specs, global, terminal).await?;
    let keyed = find(&computed.boxes)?;
    let registry = session.ports().registry;
    let older = against(registry, &keyed.wanted.repository, &keyed.spec.platform, text).await?;
    let ledger = Ledger::new(registry, &session.setting.ledger);
    let compared = compare(ledger, &computed.boxes, &keyed, &older.key).await?;
    terminal.result(&match global.format {
        Format::Json => json::text(&Comparison::of(&compared, text, &older)),
        Format::Human => comparison(&compared, text, &older),
    })?;
    session.close(false).await?;
    Ok(exit::DONE)
}

/// The inputs of a box in sections; empty ones are left out.
fn inputs(keyed: &ResolvedBox) -> String {
    let manifest = &keyed.manifest;
    let mut out = format!("{} {}\n", paint(BOLD, &keyed.wanted.name), keyed.wanted.tag);
    let pairs = |pairs: Vec<(String, String)>| -> Vec<String> {
        let width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        pairs.into_iter().map(|(name, value)| format!("{name:width$}  {value}")).collect()
    };
    let table = |map: &BTreeMap<String, String>| {
        pairs(map.iter().map(|(name, value)| (shown(name), shown(value))).collect())
    };
    let mut basics = vec![
        ("repository".to_owned(), keyed.wanted.repository.to_string()),
        ("platform".to_owned(), manifest.platform.to_string()),
        ("target".to_owned(), shown(&manifest.target)),
    ];
    if !manifest.epoch.is_empty() {
        basics.push(("epoch".to_owned(), shown(&manifest.epoch)));
    }
    section(&mut out, "box", pairs(basics));
    section(&mut out, "parser directives", table(&manifest.directives));
    let mut instructions = Vec::new();
    for instruction in &manifest.instructions {
        let line = instruction.line.map(|line| line.to_string()).unwrap_or_default();
        for (at, text) in instruction.text.lines().enumerate() {
            let line = if at == 0 { line.as_str() } else { "" };
            instructions.push(format!("{line:>4}  {}", printable(text, usize::MAX)));
        }
    }
    section(&mut out, &format!("instructions of {}", keyed.dockerfile()), instructions);
    section(&mut out, "arguments", table(&manifest.arguments));
    section(&mut out, "pins", table(&manifest.pins));
    section(&mut out, "images", table(&manifest.images));
    let parents = keyed.named_parents().into_iter().map(|(name, parent, key)| {
        let name = if name == parent { shown(name) } else { format!("{} (box {parent})", shown(name)) };
        (name, key.to_string())
    });
    section(&mut out, "parents", pairs(parents.collect()));
    section(&mut out, "secrets, by name", manifest.secrets.iter().map(|name| shown(name)).collect());
    section(&mut out, "options", pairs(options(keyed)));
    let total: u64 = manifest.entries.iter().map(bytes).sum();
    let count = match manifest.entries.len() {
        1 => "1 entry".to_owned(),
        count => format!("{count} entries"),
    };
    let mut heading = format!("context: {count}, {}", size(total));
    if let Some((reason, line)) = whole(keyed) {
        let _ = write!(heading, "; all of it, because {reason} ({}:{line})", keyed.dockerfile());
    }
    let entry = |entry: &Entry| {
        let (kind, size, content) = describe(entry);
        format!("{kind:<10}  {size:>9}  {content:<12}  {}", entry.path)
    };
    section_always(&mut out, &heading, manifest.entries.iter().map(entry).collect());
    out
}

fn section(out: &mut String, heading: &str, lines: Vec<String>) {
    if !lines.is_empty() {
        section_always(out, heading, lines);
    }
}

fn section_always(out: &mut String, heading: &str, lines: Vec<String>) {
    let _ = writeln!(out, "{}", paint(DIM, heading));
    for line in lines {
        let _ = writeln!(out, "  {}", printable(line.trim_end(), usize::MAX));
    }
}

fn shown(text: &str) -> String {
    printable(text, 400)
}

fn options(keyed: &ResolvedBox) -> Vec<(String, String)> {
    let options = &keyed.manifest.options;
    let hosts = options.extra_hosts.iter().map(|host| ("extra-host".to_owned(), shown(host)));
    let network = options.network.iter().map(|network| ("network".to_owned(), shown(network)));
    let memory = options.shm_size.iter().map(|size| ("shm-size".to_owned(), size.to_string()));
    hosts.chain(network).chain(memory).collect()
}

fn whole(keyed: &ResolvedBox) -> Option<(&str, u32)> {
    match keyed.reads() {
        Reads::Whole { reason, line, .. } => Some((reason, *line)),
        Reads::Nothing | Reads::Some(_) => None,
    }
}

fn bytes(entry: &Entry) -> u64 {
    match &entry.kind {
        EntryKind::File { size, .. } => *size,
        EntryKind::Symlink { .. } | EntryKind::Directory => 0,
    }
}

/// Kind, size and short digest; of a link its target.
fn describe(entry: &Entry) -> (&'static str, String, String) {
    match &entry.kind {
        EntryKind::File { digest, size: bytes, executable } => {
            let kind = if *executable { "executable" } else { "file" };
            let short = digest.as_str().strip_prefix("sha256:").and_then(|hex| hex.get(..12));
            (kind, size(*bytes), short.unwrap_or_default().to_owned())
        }
        EntryKind::Symlink { target } => {
            ("symlink", String::new(), format!("→ {}", printable(&String::from_utf8_lossy(target), 200)))
        }
        EntryKind::Directory => ("directory", String::new(), String::new()),
    }
}

/// What differs, parents below their children.
fn comparison(compared: &Compared, text: &str, older: &Against) -> String {
    let what = match &older.digest {
        Some(digest) => format!("{} ({})", shown(text), digest.short()),
        None => shown(text),
    };
    if compared.old == compared.new {
        return format!("{}: nothing differs from {what}: key {}\n", compared.name, compared.new);
    }
    let mut out = format!(
        "{}: key {} against {what}: key {}\n",
        paint(BOLD, &compared.name),
        compared.new.short(),
        compared.old.short()
    );
    differences(&mut out, compared, 1);
    out
}

fn differences(out: &mut String, compared: &Compared, depth: usize) {
    let indent = "  ".repeat(depth);
    for difference in &compared.differences {
        let _ = writeln!(out, "{indent}{}", printable(&difference.text, usize::MAX));
        if matches!(difference.change, Change::Platform { .. } | Change::Target { .. }) {
            continue;
        }
        for (sign, value) in [('-', &difference.old), ('+', &difference.new)] {
            for line in value.iter().flat_map(|value| value.lines()) {
                let line = printable(&short_digests(line), 400);
                let _ = writeln!(out, "{indent}  {}", paint(DIM, format!("{sign} {line}")));
            }
        }
        match &difference.parent {
            None => {}
            Some(Parent::Untold(why)) => {
                let _ = writeln!(out, "{indent}  {}", paint(DIM, why));
            }
            Some(Parent::Compared(parent)) => {
                let _ = writeln!(out, "{indent}  {}:", paint(BOLD, &parent.name));
                differences(out, parent, depth + 2);
            }
        }
    }
}

#[derive(Serialize)]
struct Inputs<'a> {
    schema: u32,
    name: &'a str,
    repository: String,
    key: String,
    tag: String,
    dockerfile: &'a str,
    platform: &'a str,
    target: &'a str,
    epoch: &'a str,
    directives: &'a BTreeMap<String, String>,
    instructions: Vec<InstructionRow<'a>>,
    arguments: &'a BTreeMap<String, String>,
    pins: &'a BTreeMap<String, String>,
    images: &'a BTreeMap<String, String>,
    parents: Vec<ParentRow<'a>>,
    secrets: Vec<&'a str>,
    options: Vec<(String, String)>,
    whole_context: Option<Whole<'a>>,
    entries: Vec<EntryRow>,
}

#[derive(Serialize)]
struct InstructionRow<'a> {
    line: Option<u32>,
    text: &'a str,
}

#[derive(Serialize)]
struct ParentRow<'a> {
    context: &'a str,
    #[serde(rename = "box")]
    name: &'a str,
    key: String,
}

#[derive(Serialize)]
struct Whole<'a> {
    reason: &'a str,
    line: u32,
}

#[derive(Serialize)]
struct EntryRow {
    path: String,
    kind: &'static str,
    size: Option<u64>,
    digest: Option<String>,
    target: Option<String>,
}

impl<'a> Inputs<'a> {
    fn of(keyed: &'a ResolvedBox) -> Self {
        let manifest = &keyed.manifest;
        let instructions =
            manifest.instructions.iter().map(|one| InstructionRow { line: one.line, text: &one.text });
        let parents = keyed.named_parents().into_iter();
        Self {
            schema: 1,
            name: &keyed.wanted.name,
            repository: keyed.wanted.repository.to_string(),
            key: keyed.wanted.key().to_string(),
            tag: keyed.wanted.tag.to_string(),
            dockerfile: keyed.dockerfile(),
            platform: manifest.platform.as_str(),
            target: &manifest.target,
            epoch: &manifest.epoch,
            directives: &manifest.directives,
            instructions: instructions.collect(),
            arguments: &manifest.arguments,
            pins: &manifest.pins,
            images: &manifest.images,
            parents: parents
                .map(|(context, name, key)| ParentRow { context, name, key: key.to_string() })
                .collect(),
            secrets: manifest.secrets.iter().map(String::as_str).collect(),
            options: options(keyed),
            whole_context: whole(keyed).map(|(reason, line)| Whole { reason, line }),
            entries: manifest.entries.iter().map(EntryRow::of).collect(),
        }
    }
}

impl EntryRow {
    fn of(entry: &Entry) -> Self {
        let (kind, _, _) = describe(entry);
        let (size, digest, target) = match &entry.kind {
            EntryKind::File { digest, size, .. } => (Some(*size), Some(digest.to_string()), None),
            EntryKind::Symlink { target } => (None, None, Some(String::from_utf8_lossy(target).into_owned())),
            EntryKind::Directory => (None, None, None),
        };
        Self { path: entry.path.to_string(), kind, size, digest, target }
    }
}

#[derive(Serialize)]
struct Comparison<'a> {
    schema: u32,
    against: AgainstRow<'a>,
    #[serde(flatten)]
    compared: ComparedRow<'a>,
}

#[derive(Serialize)]
struct AgainstRow<'a> {
    name: &'a str,
    key: String,
    digest: Option<String>,
}

#[derive(Serialize)]
struct ComparedRow<'a> {
    name: &'a str,
    key: String,
    old_key: String,
    changes: Vec<ChangeRow<'a>>,
}

#[derive(Serialize)]
struct ChangeRow<'a> {
    kind: &'static str,
    text: &'a str,
    line: Option<u32>,
    old: Option<&'a str>,
    new: Option<&'a str>,
    /// What differs in a parent that moved.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Box<ComparedRow<'a>>>,
    /// Why that is not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    untold: Option<&'a str>,
}

impl<'a> Comparison<'a> {
    fn of(compared: &'a Compared, text: &'a str, older: &Against) -> Self {
        let digest = older.digest.as_ref().map(ToString::to_string);
        let against = AgainstRow { name: text, key: older.key.to_string(), digest };
        Self { schema: 1, against, compared: ComparedRow::of(compared) }
    }
}

impl<'a> ComparedRow<'a> {
    fn of(compared: &'a Compared) -> Self {
        Self {
            name: &compared.name,
            key: compared.new.to_string(),
            old_key: compared.old.to_string(),
            changes: compared.differences.iter().map(ChangeRow::of).collect(),
        }
    }
}

impl<'a> ChangeRow<'a> {
    fn of(difference: &'a Difference) -> Self {
        let kind = match &difference.change {
            Change::Epoch => "epoch",
            Change::Platform { .. } => "platform",
            Change::Target { .. } => "target",
            Change::Directive(..) => "directive",
            Change::Instruction { .. } => "instruction",
            Change::Argument(..) => "argument",
            Change::Parent(..) => "parent",
            Change::Image(..) => "image",
            Change::Context(..) => "context",
            Change::Pin(..) => "pin",
            Change::Secret(..) => "secret",
            Change::Option(_) => "option",
            Change::Entry(..) => "entry",
        };
        let line = match &difference.change {
            Change::Instruction { line, .. } => *line,
            _ => None,
        };
        let (parent, untold) = match &difference.parent {
            None => (None, None),
            Some(Parent::Compared(parent)) => (Some(Box::new(ComparedRow::of(parent))), None),
            Some(Parent::Untold(why)) => (None, Some(why.as_str())),
        };
        Self {
            kind,
            text: &difference.text,
            line,
            old: difference.old.as_deref(),
            new: difference.new.as_deref(),
            parent,
            untold,
        }
    }
}
