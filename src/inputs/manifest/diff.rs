//! What moved between two manifests, for people.

use std::collections::BTreeMap;
use std::fmt;

use super::{InputManifest, Instruction};
use crate::model::{Entry, RelPath, printable};

/// Whether something is only in the newer manifest, only in the older, or in both but different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Only in the newer one.
    Added,
    /// Only in the older one.
    Removed,
    /// In both, with another value.
    Changed,
}

/// One input that moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The user's salt.
    Epoch,
    Platform {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// The target stage.
    Target {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// A parser directive.
    Directive(String, Side),
    Instruction {
        /// The older text, unless it was added.
        old: Option<String>,
        /// The newer text, unless it was removed.
        new: Option<String>,
        /// Its line in the newer Dockerfile, if known.
        line: Option<u32>,
        /// How it moved.
        side: Side,
    },
    /// A build argument.
    Argument(String, Side),
    /// A parent box: its key is another one.
    Parent(String, Side),
    /// An outside image.
    Image(String, Side),
    /// A named context that is a directory.
    Context(String, Side),
    Pin(String, Side),
    /// A secret's name.
    Secret(String, Side),
    /// A build option.
    Option(&'static str),
    /// A context entry.
    Entry(RelPath, Side),
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |text: &str| printable(text, 120);
        let moved = |side: &Side| if *side == Side::Changed { "moved".to_owned() } else { side.to_string() };
        match self {
            Self::Epoch => f.write_str("epoch changed"),
            Self::Platform { old, new } => write!(f, "platform changed: {} is now {}", name(old), name(new)),
            Self::Target { old, new } => write!(f, "target changed: {} is now {}", name(old), name(new)),
            Self::Directive(text, side) => write!(f, "parser directive {} {side}", name(text)),
            Self::Instruction { old, new, line, side } => {
                let text = new.as_ref().or(old.as_ref()).map_or("", String::as_str);
                let text = text.split('\n').next().unwrap_or_default();
                write!(f, "Dockerfile instruction {side}: {}", printable(text, 80))?;
                line.map_or(Ok(()), |line| write!(f, " (line {line})"))
            }
            Self::Argument(text, side) => write!(f, "argument {} {side}", name(text)),
            Self::Parent(text, side) => write!(f, "parent {} {}", name(text), moved(side)),
            Self::Image(text, side) => write!(f, "image {} {}", name(text), moved(side)),
            Self::Context(text, side) => write!(f, "context {} {side}", name(text)),
            Self::Pin(text, side) => write!(f, "pin {} {}", name(text), moved(side)),
            Self::Secret(text, side) => write!(f, "secret {} {side}", name(text)),
            Self::Option(text) => write!(f, "build option {text} changed"),
            Self::Entry(path, side) => write!(f, "{path} {side}"),
        }
    }
}

/// Names what differs, in the order of the manifest's sections.
pub fn diff(old: &InputManifest, new: &InputManifest) -> Vec<Change> {
    let mut out = Vec::new();
    if old.epoch != new.epoch {
        out.push(Change::Epoch);
    }
    if old.platform != new.platform {
        out.push(Change::Platform { old: old.platform.to_string(), new: new.platform.to_string() });
    }
    if old.target != new.target {
        out.push(Change::Target { old: old.target.clone(), new: new.target.clone() });
    }
    maps(&old.directives, &new.directives, Change::Directive, &mut out);
    instructions(old, new, &mut out);
    maps(&old.arguments, &new.arguments, Change::Argument, &mut out);
    maps(&old.parents, &new.parents, Change::Parent, &mut out);
    maps(&old.images, &new.images, Change::Image, &mut out);
    maps(&old.contexts, &new.contexts, Change::Context, &mut out);
    maps(&old.pins, &new.pins, Change::Pin, &mut out);
    out.extend(old.secrets.difference(&new.secrets).map(|name| Change::Secret(name.clone(), Side::Removed)));
    out.extend(new.secrets.difference(&old.secrets).map(|name| Change::Secret(name.clone(), Side::Added)));
    let (before, after) = (&old.options, &new.options);
    let options = [
        ("extra-host", before.extra_hosts != after.extra_hosts),
        ("network", before.network != after.network),
        ("shm-size", before.shm_size != after.shm_size),
    ];
    out.extend(options.into_iter().filter(|(_, moved)| *moved).map(|(name, _)| Change::Option(name)));
    let by_path = |entries: &[Entry]| -> BTreeMap<RelPath, Entry> {
        entries.iter().map(|entry| (entry.path.clone(), entry.clone())).collect()
    };
    maps(&by_path(&old.entries), &by_path(&new.entries), Change::Entry, &mut out);
    out
}

fn maps<K: Ord + Clone, V: PartialEq>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    change: impl Fn(K, Side) -> Change,
    out: &mut Vec<Change>,
) {
    let mut sides: BTreeMap<&K, Side> = BTreeMap::new();
    for (key, value) in old {
        match new.get(key) {
            None => drop(sides.insert(key, Side::Removed)),
            Some(now) if now != value => drop(sides.insert(key, Side::Changed)),
            Some(_) => {}
        }
    }
    sides.extend(new.keys().filter(|key| !old.contains_key(*key)).map(|key| (key, Side::Added)));
    out.extend(sides.into_iter().map(|(key, side)| change(key.clone(), side)));
}

/// The longest common subsequence tells which instructions stayed; what stands between two
/// of those is paired in order.
fn instructions(old: &InputManifest, new: &InputManifest, out: &mut Vec<Change>) {
    let (old, new) = (&old.instructions, &new.instructions);
    let same = |a: usize, b: usize| old[a].text == new[b].text;
    let head = (0..old.len().min(new.len())).take_while(|at| same(*at, *at)).count();
    let tail = (0..old.len().min(new.len()) - head)
        .take_while(|at| same(old.len() - 1 - at, new.len() - 1 - at))
        .count();
    let (rows, columns) = (old.len() - head - tail, new.len() - head - tail);
    // UnmetRequirements this size a table is not worth it: everything in between counts as changed.
    let small = rows.saturating_mul(columns) <= 1 << 20;
    let mut table = vec![vec![0_u32; if small { columns + 1 } else { 0 }]; if small { rows + 1 } else { 0 }];
    if small {
        for a in (0..rows).rev() {
            for b in (0..columns).rev() {
                table[a][b] = if same(head + a, head + b) {
                    table[a + 1][b + 1] + 1
                } else {
                    table[a + 1][b].max(table[a][b + 1])
                };
            }
        }
    }
    let (mut a, mut b) = (0, 0);
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    let mut flush = |removed: &mut Vec<usize>, added: &mut Vec<usize>| {
        let pairs = removed.len().min(added.len());
        for (at, index) in added.drain(..).enumerate() {
            let before = removed.get(at).map(|index| old[*index].text.clone());
            let side = if before.is_some() { Side::Changed } else { Side::Added };
            let Instruction { text, line } = &new[index];
            out.push(Change::Instruction { old: before, new: Some(text.clone()), line: *line, side });
        }
        for index in removed.drain(..).skip(pairs) {
            let before = Some(old[index].text.clone());
            out.push(Change::Instruction { old: before, new: None, line: None, side: Side::Removed });
        }
    };
    while a < rows || b < columns {
        if small && a < rows && b < columns && same(head + a, head + b) {
            flush(&mut removed, &mut added);
            (a, b) = (a + 1, b + 1);
        } else if b == columns || (a < rows && small && table[a + 1][b] >= table[a][b + 1]) {
            removed.push(head + a);
            a += 1;
        } else {
            added.push(head + b);
            b += 1;
        }
    }
    flush(&mut removed, &mut added);
}
