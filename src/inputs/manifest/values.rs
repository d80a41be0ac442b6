//! The values on both sides of a change, for people.

use super::{Change, InputManifest};
use crate::model::{Entry, EntryKind, RelPath};

impl Change {
    /// Returns the value before and the value now, where there is one and it can be told.
    pub fn values(&self, old: &InputManifest, new: &InputManifest) -> (Option<String>, Option<String>) {
        let both = |of: &dyn Fn(&InputManifest) -> Option<String>| (of(old), of(new));
        match self {
            Self::Epoch => both(&|of| Some(of.epoch.clone())),
            Self::Platform { old, new } | Self::Target { old, new } => (Some(old.clone()), Some(new.clone())),
            Self::Directive(name, _) => both(&|of| of.directives.get(name).cloned()),
            Self::Instruction { old, new, .. } => (old.clone(), new.clone()),
            Self::Argument(name, _) => both(&|of| of.arguments.get(name).cloned()),
            Self::Parent(name, _) => both(&|of| of.parents.get(name).map(ToString::to_string)),
            Self::Image(name, _) => both(&|of| of.images.get(name).cloned()),
            Self::Context(name, _) => both(&|of| of.contexts.get(name).map(ToString::to_string)),
            Self::Pin(name, _) => both(&|of| of.pins.get(name).cloned()),
            // Of a secret there is only the name.
            Self::Secret(..) => (None, None),
            Self::Option(name) => both(&|of| option(of, name)),
            Self::Entry(path, _) => both(&|of| find(of, path).map(describe)),
        }
    }
}

fn option(of: &InputManifest, name: &str) -> Option<String> {
    match name {
        "network" => of.options.network.clone(),
        "shm-size" => of.options.shm_size.map(|size| size.to_string()),
        _ => {
            let hosts: Vec<&str> = of.options.extra_hosts.iter().map(String::as_str).collect();
            (!hosts.is_empty()).then(|| hosts.join(", "))
        }
    }
}

/// Entries are sorted by path wherever a manifest comes from.
fn find<'m>(of: &'m InputManifest, path: &RelPath) -> Option<&'m Entry> {
    let at = of.entries.binary_search_by(|entry| entry.path.cmp(path)).ok()?;
    of.entries.get(at)
}

fn describe(entry: &Entry) -> String {
    match &entry.kind {
        EntryKind::File { digest, size, executable } => {
            let kind = if *executable { "executable" } else { "file" };
            format!("{kind}, {size} bytes, {digest}")
        }
        EntryKind::Symlink { target } => format!("symlink to {}", String::from_utf8_lossy(target)),
        EntryKind::Directory => "empty directory".to_owned(),
    }
}
