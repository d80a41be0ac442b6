//! Writing a manifest.

use super::InputManifest;
use crate::model::{Digest, Entry, EntryKind, Key, KeyHasher};

/// The first line.
pub(super) const HEADER: &[u8] = b"boxwright-inputs 1\n";
/// How many bytes are hashed at a time.
const PIECE: usize = 64 << 10;
/// The last line.
pub(super) const END: &[u8] = b"end\n";

impl InputManifest {
    /// Writes the canonical bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write(&mut out, &mut |_| {});
        out
    }

    /// Computes the key, of the same bytes without holding them all.
    pub fn key(&self) -> Key {
        let mut hasher = KeyHasher::default();
        let mut out = Vec::with_capacity(2 * PIECE);
        self.write(&mut out, &mut |out| {
            if out.len() >= PIECE {
                hasher.update(out);
                out.clear();
            }
        });
        hasher.update(&out);
        hasher.finish()
    }

    /// Writes the canonical bytes behind `out`; `full` is called now and then and may empty it.
    fn write(&self, out: &mut Vec<u8>, full: &mut dyn FnMut(&mut Vec<u8>)) {
        out.extend_from_slice(HEADER);
        record(out, "epoch", &[self.epoch.as_bytes()]);
        record(out, "platform", &[self.platform.as_str().as_bytes()]);
        record(out, "target", &[self.target.as_bytes()]);
        for (name, value) in &self.directives {
            record(out, "directive", &[name.as_bytes(), value.as_bytes()]);
        }
        for instruction in &self.instructions {
            record(out, "instruction", &[instruction.text.as_bytes()]);
        }
        for (name, value) in &self.arguments {
            record(out, "argument", &[name.as_bytes(), value.as_bytes()]);
        }
        for (name, key) in &self.parents {
            record(out, "parent", &[name.as_bytes(), key.as_str().as_bytes()]);
        }
        for (name, reference) in &self.images {
            record(out, "image", &[name.as_bytes(), reference.as_bytes()]);
        }
        for (name, digest) in &self.contexts {
            record(out, "context", &[name.as_bytes(), digest.as_str().as_bytes()]);
        }
        for (name, value) in &self.pins {
            record(out, "pin", &[name.as_bytes(), value.as_bytes()]);
        }
        for name in &self.secrets {
            record(out, "secret", &[name.as_bytes()]);
        }
        for host in &self.options.extra_hosts {
            record(out, "option", &[b"extra-host", host.as_bytes()]);
        }
        if let Some(network) = &self.options.network {
            record(out, "option", &[b"network", network.as_bytes()]);
        }
        if let Some(size) = self.options.shm_size {
            record(out, "option", &[b"shm-size", size.to_string().as_bytes()]);
        }
        write_entries(out, &self.entries, full);
        out.extend_from_slice(END);
    }
}

/// The digest of a directory that is a named context: of its entry records.
pub fn entries_digest(entries: &[Entry]) -> Digest {
    let mut out = Vec::new();
    write_entries(&mut out, entries, &mut |_| {});
    Digest::of(&out)
}

fn write_entries(out: &mut Vec<u8>, entries: &[Entry], full: &mut dyn FnMut(&mut Vec<u8>)) {
    let mut entries: Vec<&Entry> = entries.iter().collect();
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    for entry in entries {
        write_entry(out, entry);
        full(out);
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
        number(out, field.len());
        out.push(b':');
        out.extend_from_slice(field);
    }
    out.push(b'\n');
}

fn number(out: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        self::number(out, number / 10);
    }
    out.push(b'0' + (number % 10) as u8);
}
