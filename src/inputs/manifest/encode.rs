//! Writing a manifest.

use super::InputManifest;
use crate::model::{Digest, Entry, EntryKind};

/// The first line.
pub(super) const HEADER: &[u8] = b"boxwright-inputs 1\n";
/// The last line.
pub(super) const END: &[u8] = b"end\n";

impl InputManifest {
    /// Writes the canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = HEADER.to_vec();
        record(&mut out, "epoch", &[self.epoch.as_bytes()]);
        record(&mut out, "platform", &[self.platform.as_str().as_bytes()]);
        record(&mut out, "target", &[self.target.as_bytes()]);
        for (name, value) in &self.directives {
            record(&mut out, "directive", &[name.as_bytes(), value.as_bytes()]);
        }
        for instruction in &self.instructions {
            record(&mut out, "instruction", &[instruction.text.as_bytes()]);
        }
        for (name, value) in &self.arguments {
            record(&mut out, "argument", &[name.as_bytes(), value.as_bytes()]);
        }
        for (name, key) in &self.parents {
            record(&mut out, "parent", &[name.as_bytes(), key.as_str().as_bytes()]);
        }
        for (name, reference) in &self.images {
            record(&mut out, "image", &[name.as_bytes(), reference.as_bytes()]);
        }
        for (name, digest) in &self.contexts {
            record(&mut out, "context", &[name.as_bytes(), digest.as_str().as_bytes()]);
        }
        for (name, value) in &self.pins {
            record(&mut out, "pin", &[name.as_bytes(), value.as_bytes()]);
        }
        for name in &self.secrets {
            record(&mut out, "secret", &[name.as_bytes()]);
        }
        for host in &self.options.extra_hosts {
            record(&mut out, "option", &[b"extra-host", host.as_bytes()]);
        }
        if let Some(network) = &self.options.network {
            record(&mut out, "option", &[b"network", network.as_bytes()]);
        }
        if let Some(size) = self.options.shm_size {
            record(&mut out, "option", &[b"shm-size", size.to_string().as_bytes()]);
        }
        write_entries(&mut out, &self.entries);
        out.extend_from_slice(END);
        out
    }
}

/// The digest of a directory that is a named context: of its entry records.
pub fn entries_digest(entries: &[Entry]) -> Digest {
    let mut out = Vec::new();
    write_entries(&mut out, entries);
    Digest::of(&out)
}

fn write_entries(out: &mut Vec<u8>, entries: &[Entry]) {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    for entry in entries {
        write_entry(out, entry);
    }
}

fn write_entry(out: &mut Vec<u8>, entry: &Entry) {
    let path = entry.path.as_bytes();
    match &entry.kind {
        EntryKind::File { digest, size, executable } => {
            let kind: &[u8] = if *executable { b"executable" } else { b"file" };
            record(out, "entry", &[path, kind, digest.as_str().as_bytes(), size.to_string().as_bytes()]);
        }
        EntryKind::Symlink { target } => record(out, "entry", &[path, b"symlink", target]),
        EntryKind::Directory => record(out, "entry", &[path, b"directory"]),
    }
}

/// Writes `kind LENGTH:BYTES LENGTH:BYTES…` and a line end.
fn record(out: &mut Vec<u8>, kind: &str, fields: &[&[u8]]) {
    out.extend_from_slice(kind.as_bytes());
    for field in fields {
        out.push(b' ');
        out.extend_from_slice(field.len().to_string().as_bytes());
        out.push(b':');
        out.extend_from_slice(field);
    }
    out.push(b'\n');
}
