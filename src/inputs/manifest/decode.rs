//! Reading a manifest back, strictly: only bytes that writing would make again are accepted.

use std::collections::{BTreeMap, BTreeSet};

use super::encode::{END, HEADER};
use super::{BuildOptions, InputManifest, Instruction};
use crate::model::{Entry, EntryKind, Platform, RelPath, printable};

/// Why bytes are not an input manifest of format 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestFormatError {
    /// Another format, or none at all.
    #[error("not an input manifest of format 1")]
    Header,
    /// The bytes do not have the form of records.
    #[error("the input manifest is damaged at byte {offset}")]
    Damaged {
        /// The first byte that cannot be read.
        offset: usize,
    },
    /// A record that this format does not have, or with an impossible value.
    #[error("the input manifest has a bad record at byte {offset}: {kind}")]
    Record {
        /// Where it starts.
        offset: usize,
        /// Its kind, made printable.
        kind: String,
    },
    /// Readable, but not what writing it would give.
    #[error("the input manifest is not in canonical form")]
    NotCanonical,
}

/// One record: where it starts, its kind and its fields.
struct Record<'a> {
    offset: usize,
    kind: &'a str,
    fields: Vec<&'a [u8]>,
}

impl InputManifest {
    /// Reads a manifest back.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestFormatError> {
        let mut at = HEADER.len();
        if !bytes.starts_with(HEADER) {
            return Err(ManifestFormatError::Header);
        }
        let mut found = Parts::default();
        while bytes.get(at..).is_some_and(|rest| rest != END) {
            let record = record(bytes, at)?;
            at = record.1;
            let Record { offset, kind, fields } = record.0;
            let bad = || ManifestFormatError::Record { offset, kind: printable(kind, 40) };
            found.add(kind, &fields).ok_or_else(bad)?;
        }
        let manifest = found.finish().ok_or(ManifestFormatError::NotCanonical)?;
        if manifest.to_bytes() == bytes { Ok(manifest) } else { Err(ManifestFormatError::NotCanonical) }
    }
}

/// Reads the record at `start`; returns it and where the next one starts.
fn record(bytes: &[u8], start: usize) -> Result<(Record<'_>, usize), ManifestFormatError> {
    let mut at = start;
    let damaged = |offset: usize| ManifestFormatError::Damaged { offset };
    while bytes.get(at).is_some_and(u8::is_ascii_lowercase) {
        at += 1;
    }
    let kind = std::str::from_utf8(&bytes[start..at]).map_err(|_| damaged(start))?;
    let mut fields = Vec::new();
    loop {
        match bytes.get(at) {
            Some(b'\n') => return Ok((Record { offset: start, kind, fields }, at + 1)),
            Some(b' ') => at += 1,
            _ => return Err(damaged(at)),
        }
        let digits = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        let length =
            std::str::from_utf8(&bytes[at..at + digits]).ok().and_then(|text| text.parse::<usize>().ok());
        let (Some(length), Some(b':')) = (length, bytes.get(at + digits)) else { return Err(damaged(at)) };
        at += digits + 1;
        let end = at.checked_add(length).ok_or_else(|| damaged(at))?;
        fields.push(bytes.get(at..end).ok_or_else(|| damaged(at))?);
        at = end;
    }
}

/// A manifest while it is read.
#[derive(Default)]
struct Parts {
    epoch: Option<String>,
    platform: Option<Platform>,
    target: Option<String>,
    directives: BTreeMap<String, String>,
    instructions: Vec<Instruction>,
    arguments: BTreeMap<String, String>,
    parents: BTreeMap<String, crate::model::Key>,
    images: BTreeMap<String, String>,
    contexts: BTreeMap<String, crate::model::Digest>,
    pins: BTreeMap<String, String>,
    secrets: BTreeSet<String>,
    options: BuildOptions,
    entries: Vec<Entry>,
}

impl Parts {
    /// Takes a record in; nothing if it cannot be one. What is given twice shows when the
    /// whole is written again.
    fn add(&mut self, kind: &str, fields: &[&[u8]]) -> Option<()> {
        if kind == "entry" {
            self.entries.push(entry(fields)?);
            return Some(());
        }
        let text = |field: &[u8]| std::str::from_utf8(field).ok().map(str::to_owned);
        let texts = fields.iter().map(|field| text(field)).collect::<Option<Vec<String>>>()?;
        match (kind, <[String; 2]>::try_from(texts)) {
            ("directive", Ok([name, value])) => drop(self.directives.insert(name, value)),
            ("argument", Ok([name, value])) => drop(self.arguments.insert(name, value)),
            ("parent", Ok([name, value])) => drop(self.parents.insert(name, value.parse().ok()?)),
            ("image", Ok([name, value])) => drop(self.images.insert(name, value)),
            ("context", Ok([name, value])) => drop(self.contexts.insert(name, value.parse().ok()?)),
            ("pin", Ok([name, value])) => drop(self.pins.insert(name, value)),
            ("option", Ok([name, value])) => match name.as_str() {
                "extra-host" => drop(self.options.extra_hosts.insert(value)),
                "network" => self.options.network = Some(value),
                "shm-size" => self.options.shm_size = Some(value.parse().ok()?),
                _ => return None,
            },
            (_, Ok(_)) => return None,
            (kind, Err(texts)) => {
                let [value] = <[String; 1]>::try_from(texts).ok()?;
                match kind {
                    "epoch" => self.epoch = Some(value),
                    "platform" => self.platform = Some(value.parse().ok()?),
                    "target" => self.target = Some(value),
                    "instruction" => self.instructions.push(Instruction { text: value, line: None }),
                    "secret" => drop(self.secrets.insert(value)),
                    _ => return None,
                }
            }
        }
        Some(())
    }

    fn finish(self) -> Option<InputManifest> {
        Some(InputManifest {
            epoch: self.epoch?,
            platform: self.platform?,
            target: self.target?,
            directives: self.directives,
            instructions: self.instructions,
            arguments: self.arguments,
            parents: self.parents,
            images: self.images,
            contexts: self.contexts,
            pins: self.pins,
            secrets: self.secrets,
            options: self.options,
            entries: self.entries,
        })
        .filter(|manifest| manifest.entries.is_sorted_by(|a, b| a.path < b.path))
    }
}

fn entry(fields: &[&[u8]]) -> Option<Entry> {
    let text = |field: &[u8]| std::str::from_utf8(field).ok().map(str::to_owned);
    let (path, kind) = match fields {
        [path, kind @ (b"file" | b"executable"), digest, size] => {
            let (digest, size) = (text(digest)?.parse().ok()?, text(size)?.parse().ok()?);
            (path, EntryKind::File { digest, size, executable: *kind == b"executable" })
        }
        [path, b"symlink", target] => (path, EntryKind::Symlink { target: (*target).into() }),
        [path, b"directory"] => (path, EntryKind::Directory),
        _ => return None,
    };
    Some(Entry { path: RelPath::new(*path).ok()?, kind })
}
